"""What 1,000 items of `hello` cost on a root in S3 where each request takes 20 ms, and a plan that finds all of it done.

The server is moto's in a process of its own. The reference puts the same objects, outputs and manifests, with the same
bytes from one process, 32 at a time.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measurement import Report, main

NUM_ITEMS, NUM_SPLITS, PAUSE_S, NUM_THREADS = 1000, 4, 0.02, 32
LIMIT, LIMIT_REQUESTS = 3.0, 20
ROOT, COUNT = "s3://bench/root", "/requests-so-far"


def serve(port: int) -> None:
    """S3 on loopback: each request waits first, and is counted."""
    from moto import backends
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    modules = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules  # else listed twice a request, which is most of what one costs
    application = DomainDispatcherApplication(create_backend_app)
    num_requests, one_write = 0, threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        nonlocal num_requests
        if environ["PATH_INFO"] == COUNT:
            start_response("200 OK", [])
            return [str(num_requests).encode()]
        num_requests += 1
        time.sleep(PAUSE_S)
        if environ["REQUEST_METHOD"] == "GET":
            return application(environ, start_response)
        with one_write:
            return application(environ, start_response)

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None:
            """Nothing."""

    make_server("127.0.0.1", port, answer, threaded=True, request_handler=Quiet).serve_forever()


@contextmanager
def server() -> Iterator[str]:
    """The address of a server with an empty bucket, in the environment too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(port)])
    address = f"http://127.0.0.1:{port}"
    os.environ.update(
        AWS_ENDPOINT_URL=address,
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/bench", method="PUT")).close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


def num_requests(address: str) -> int:
    """How many requests the server has had."""
    with urllib.request.urlopen(f"{address}{COUNT}") as answer:
        return int(answer.read())


def run_hello() -> float:
    """Wall seconds of the whole command."""
    argv = [sys.executable, "-m", "rv_core", "-q", "run", "local", "rv_core.hello", "-a", f"root_uri={ROOT}"]
    started = time.perf_counter()
    subprocess.run(
        [*argv, "-a", f"num_items={NUM_ITEMS}", "--splits", str(NUM_SPLITS)], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def put_again() -> float:
    """Wall seconds to put what the run has left of its items under another prefix, many at a time."""
    from rv_core.files import by_uri

    names = [
        f"{folder}/{name}" for folder in ("cpu_task", ".rv/done") for name in by_uri.list_files(f"{ROOT}/{folder}")
    ]
    files = by_uri.read_many([f"{ROOT}/{name}" for name in names])
    started = time.perf_counter()
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        list(pool.map(lambda uri: by_uri.write_bytes(uri.replace("/root/", "/bare/"), files[uri]), files))
    return time.perf_counter() - started


def run(report: Report) -> None:
    """Measure the run, the bare puts and a plan that does nothing."""
    with tempfile.TemporaryDirectory() as name, server() as address:
        os.environ["RV_CACHE_DIR"] = str(Path(name) / "cache")
        run_s = run_hello()
        before = num_requests(address)
        run_hello()
        again = num_requests(address) - before
        bare_s = put_again()
        note = f"{run_s:.1f} s against {bare_s:.1f} s; {before} requests"
        report(
            f"hello, {NUM_ITEMS} items on S3 of {PAUSE_S * 1000:.0f} ms, over bare puts",
            run_s / bare_s,
            LIMIT,
            note=note,
        )
        report("requests of a plan that finds all of it done", again, LIMIT_REQUESTS, unit="")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(int(sys.argv[2]))
    else:
        sys.exit(main(run))
