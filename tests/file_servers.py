"""Servers on loopback that tests read files from: a web server that can misbehave, and S3.

A test module that wants them has `pytest_plugins = ("tests.file_servers",)`.
"""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class WebServer:
    """Serves `files` by path, with ETag, Last-Modified and ranges; counts requests; fails when told to.

    `failures` is used up one request at a time: a status code, "cut" (half the body) or "reset" (no answer).
    `redirects` sends a path elsewhere; `authorizations` are the headers of that name that have come. Where there is a
    `signature`, what comes without `sig=` and it in its query is answered 403.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.failures: list[int | str] = []
        self.redirects: dict[str, str] = {}
        self.authorizations: list[str] = []
        self.signature = ""
        self.knows_ranges = True
        self.range_offset, self.sends_too_much = 0, False
        self.has_etag = True
        self.has_last_modified = True
        self.refused_methods: set[str] = set()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, method: str) -> int:
        """How many requests of a method have come."""
        return sum(1 for seen, _ in self.requests if seen == method)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with fewer, many clients at once wait a second for their connection


class _Handler(BaseHTTPRequestHandler):
    web: WebServer

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        web = self.web
        web.requests.append((self.command, self.path))
        web.authorizations += self.headers.get_all("Authorization") or []
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        failure = web.failures.pop(0) if web.failures else 200
        path, _, query = self.path.partition("?")
        data = web.files.get(path if web.signature else self.path)
        if web.signature and f"sig={web.signature}" not in query.split("&"):
            failure = 403
        if self.command in web.refused_methods:
            self._answer(405)
        elif failure == "reset":
            self.close_connection = True
        elif isinstance(failure, int) and failure != 200:
            self._answer(failure)
        elif self.path in web.redirects:
            self._answer(302, Location=web.redirects[self.path])
        elif data is None:
            self._answer(404)
        else:
            self._send(data, is_cut=failure == "cut")

    def _send(self, data: bytes, *, is_cut: bool) -> None:
        span = self.headers.get("Range") if self.web.knows_ranges else None
        first, last = 0, len(data) - 1
        if span:
            start, _, end = span.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
            if first >= len(data):
                return self._answer(416)
        last = len(data) - 1 if self.web.sends_too_much else last
        body = data[first + (self.web.range_offset if span else 0) : last + 1]
        self.send_response(206 if span else 200)
        if span:
            first = first + self.web.range_offset
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        if self.web.has_etag:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:12]}"')
        if self.web.has_last_modified:
            self.send_header("Last-Modified", formatdate(1_700_000_000, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
        return None

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    """An empty web server."""
    server = WebServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _s3_endpoint() -> Iterator[str]:
    moto_server = pytest.importorskip("moto.server", reason="the local S3 server (moto[server]) is not installed")
    _list_modules_once()
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _one_write_at_a_time(server._server)
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def _list_modules_once() -> None:
    """Moto lists the folders of its own code at every request, twice, which is two thirds of what a request costs."""
    from moto import backends

    modules = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules


def _one_write_at_a_time(server: Any) -> None:
    """Between moto's look at `If-Match` and its write there is time for another thread's: in S3 there is none."""
    lock, serve = threading.Lock(), server.app

    def serve_in_turn(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "GET":
            return serve(environ, start_response)
        with lock:
            return serve(environ, start_response)

    server.app = serve_in_turn


@pytest.fixture
def s3_root(_s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://rv-test/root` on an S3 server that is empty; the environment holds its address and credentials."""
    pytest.importorskip("rv_store_s3.hooks", reason="the store of s3:// (rv-store-s3) is not installed")
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for method, path in (("POST", "moto-api/reset"), ("PUT", "rv-test")):
        urllib.request.urlopen(urllib.request.Request(f"{_s3_endpoint}/{path}", method=method)).close()
    return "s3://rv-test/root"
