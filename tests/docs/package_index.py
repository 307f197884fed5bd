"""A package index on this machine: takes what twine uploads and offers it to pip."""

from __future__ import annotations

import html
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


class _Handler(BaseHTTPRequestHandler):
    """`POST /upload/` keeps a file, `GET /simple/NAME/` lists those of a project, `GET /files/FILE` sends one."""

    folder: Path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(header + body)
        for part in message.iter_parts():
            if part.get_filename():
                (self.folder / Path(part.get_filename()).name).write_bytes(part.get_payload(decode=True))
        self._answer(200, b"")

    def do_GET(self) -> None:
        kind, _, name = unquote(self.path).strip("/").partition("/")
        if kind == "simple":
            files = [f for f in sorted(self.folder.iterdir()) if _project(f.name) == _normalised(name)]
            links = "".join(f'<a href="/files/{html.escape(f.name)}">{html.escape(f.name)}</a>\n' for f in files)
            self._answer(200 if files else 404, links.encode(), "text/html")
        else:
            self._answer(200, (self.folder / Path(name).name).read_bytes())

    def _answer(self, status: int, body: bytes, content_type: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _project(file_name: str) -> str:
    return _normalised(re.split(r"-\d", file_name, maxsplit=1)[0])


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """Serve a folder as an index; its URL."""
    handler = type("Handler", (_Handler,), {"folder": folder})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
