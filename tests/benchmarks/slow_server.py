"""A web server as far away as real ones: `slow_server.py FOLDER LATENCY_MS BYTES_PER_S` prints its port.

Every request is answered after the latency, a new connection costs one more, and all bodies share the bandwidth.
`GET /requests` gives what was asked for since the last such question, as JSON: [method, path, first byte, last byte].
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path

_CHUNK_BYTES = 64 * 1024
_Request = tuple[str, str, int, int]


class SlowServer:
    """Files of a folder, whole or by one range, over HTTP/1.1 with connections that stay open.

    Who takes it for S3 can read the files of its folders, which then are buckets.

    Args:
        folder: what is served.
        latency_s: of a request.
        bytes_per_s: of all bodies together.
    """

    def __init__(self, folder: Path, latency_s: float, bytes_per_s: float) -> None:
        self._folder, self._latency_s, self._bytes_per_s = folder, latency_s, bytes_per_s
        self._files: dict[str, bytes] = {}
        self._requests: list[_Request] = []
        self._free_at_s = 0.0

    async def serve(self) -> None:
        """Serve until the process ends."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        async with server:
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(self._latency_s)
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        line, *fields = head.split("\r\n")
        method, path, _ = line.split(" ")
        if path == "/requests":
            data, self._requests = json.dumps(self._requests).encode(), []
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
            return
        data = self._content(path)
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        first, last = _span(headers.get("range", ""), len(data or b""))
        self._requests.append((method, path, first, last))
        await asyncio.sleep(self._latency_s)
        if data is None:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(_head_of(data, first, last, is_part="range" in headers))
        if method == "GET":
            await self._send(memoryview(data)[first : last + 1], writer)

    def _content(self, path: str) -> bytes | None:
        if path not in self._files:
            file = self._folder / path.lstrip("/")
            if not file.is_file():
                return None
            self._files[path] = file.read_bytes()
        return self._files[path]

    async def _send(self, body: memoryview, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        for begin in range(0, len(body), _CHUNK_BYTES):
            chunk = body[begin : begin + _CHUNK_BYTES]
            self._free_at_s = max(self._free_at_s, loop.time()) + len(chunk) / self._bytes_per_s
            if (wait_s := self._free_at_s - loop.time()) > 0.002:
                await asyncio.sleep(wait_s)
            writer.write(chunk)
            await writer.drain()


def _span(text: str, size: int) -> tuple[int, int]:
    begin, _, end = text.removeprefix("bytes=").partition("-")
    return int(begin or 0), min(int(end or size - 1), size - 1)


def _head_of(data: bytes, first: int, last: int, *, is_part: bool) -> bytes:
    lines = ["HTTP/1.1 206 Partial Content" if is_part else "HTTP/1.1 200 OK", "Accept-Ranges: bytes"]
    if is_part:
        lines.append(f"Content-Range: bytes {first}-{last}/{len(data)}")
    lines += ["Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", f"Content-Length: {last + 1 - first}"]
    lines += [f'ETag: "{hashlib.sha256(data[:4096]).hexdigest()[:12]}"']
    return "\r\n".join([*lines, "", ""]).encode()


if __name__ == "__main__":
    asyncio.run(SlowServer(Path(sys.argv[1]), float(sys.argv[2]) / 1000, float(sys.argv[3])).serve())
