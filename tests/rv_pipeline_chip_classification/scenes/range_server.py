"""An HTTP server with range requests: `range_server.py FOLDER LOG` prints its port and logs the size of every body."""

from __future__ import annotations

import http.server
import re
import sys
from pathlib import Path
from typing import Any


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder, whole or by one range."""

    log: Path

    def do_HEAD(self) -> None:
        if not self._is_sent_on():
            super().do_HEAD()

    def _is_sent_on(self) -> bool:
        """`/to/PORT/PATH` is on another server."""
        match = re.fullmatch(r"/to/(\d+)(/.*)", self.path)
        if match:
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{match[1]}{match[2]}")
            self.end_headers()
        return match is not None

    def do_GET(self) -> None:
        if self._is_sent_on():
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, wanted = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        begin, end = (int(wanted[1]), int(wanted[2] or len(data) - 1) + 1) if wanted else (0, len(data))
        body = data[begin:end]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        with self.log.open("a") as file:
            file.write(f"{len(body)}\n")

    def log_message(self, *_: Any) -> None:
        pass


def main(folder: str, log: str) -> None:
    RangeHandler.log = Path(log)

    def handler(*arguments: Any) -> RangeHandler:
        return RangeHandler(*arguments, directory=folder)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
