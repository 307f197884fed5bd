"""Google Cloud Storage and Azure Blob Storage as far as obstore asks them, on loopback.

They hold what is put, keep to the conditions of a put and answer in the words of the services' documentation. No real
service was asked: what they cannot show is whether the services do what they document.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_MOMENT = 1_700_000_000


class _Handler(BaseHTTPRequestHandler):
    objects: dict[str, bytes]
    parts: dict[tuple[str, str], bytes]
    lock: threading.Lock
    buckets: tuple[str, ...]

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def route(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        query = {
            name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
        }
        bucket = path.strip("/").partition("/")[0]
        with self.lock:
            if bucket not in self.buckets:
                self.answer(404, b"<Error><Code>NoSuchBucket</Code><Message>no bucket</Message></Error>")
            elif query.get("list-type") == "2":
                self.answer(200, self.google_listing(bucket, query.get("prefix", "")))
            elif query.get("comp") == "list":
                self.answer(200, self.azure_listing(bucket, query.get("prefix", "")))
            elif query.get("comp") == "batch":
                self.batch(body)
            elif "uploads" in query:
                self.start_upload(path)
            elif "partNumber" in query or query.get("comp") == "block":
                self.put_part(path, query.get("partNumber") or query["blockid"], body)
            elif "uploadId" in query and self.command == "POST":
                self.end_upload(path, re.findall(r"<PartNumber>(\d+)<", body.decode()))
            elif query.get("comp") == "blocklist":
                self.end_upload(path, re.findall(r"<(?:Uncommitted|Latest)>([^<]+)<", body.decode()))
            else:
                getattr(self, self.command.lower())(path, body)

    def do_GET(self) -> None:
        self.route()

    def do_HEAD(self) -> None:
        self.route()

    def do_PUT(self) -> None:
        self.route()

    def do_DELETE(self) -> None:
        self.route()

    def do_POST(self) -> None:
        self.route()

    def start_upload(self, path: str) -> None:
        upload = (
            f"<InitiateMultipartUploadResult><UploadId>{len(self.parts)}</UploadId></InitiateMultipartUploadResult>"
        )
        self.answer(200, upload.encode())

    def put_part(self, path: str, number: str, body: bytes) -> None:
        self.parts[path, number] = body
        self.answer(201, ETag=_etag(body))

    def end_upload(self, path: str, numbers: list[str]) -> None:
        data = b"".join(self.parts.pop((path, number)) for number in numbers)
        self.objects[path] = data
        etag = f"<CompleteMultipartUploadResult><ETag>{_etag(data)}</ETag></CompleteMultipartUploadResult>"
        self.answer(201 if self.command == "PUT" else 200, etag.encode(), ETag=_etag(data))

    def put(self, path: str, body: bytes) -> None:
        if path in self.objects and self.headers.get("x-goog-if-generation-match") == "0":
            self.answer(412)
        elif path in self.objects and self.headers.get("If-None-Match") == "*":
            self.answer(409, x_ms_error_code="BlobAlreadyExists")
        else:
            self.objects[path] = body
            self.answer(201, ETag=_etag(body))

    def get(self, path: str, _: bytes) -> None:
        data = self.objects.get(path)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or self.headers.get("x-ms-range") or "")
        if data is None:
            self.answer(404)
        elif span and int(span[1]) >= len(data):
            self.answer(416)
        elif span:
            first, last = int(span[1]), min(int(span[2]), len(data) - 1)
            whole = {"ETag": _etag(data), "Content_Range": f"bytes {first}-{last}/{len(data)}"}
            self.answer(206, data[first : last + 1], **whole, Last_Modified=formatdate(_MOMENT, usegmt=True))
        else:
            self.answer(200, data, ETag=_etag(data), Last_Modified=formatdate(_MOMENT, usegmt=True))

    head = get

    def delete(self, path: str, _: bytes) -> None:
        self.answer(404 if self.objects.pop(path, None) is None else 204)

    def batch(self, body: bytes) -> None:
        parts = []
        for number, path in enumerate(re.findall(r"DELETE (\S+) HTTP", body.decode())):
            is_there = self.objects.pop(unquote(urlsplit(path).path), None) is not None
            status = "202 Accepted" if is_there else "404 The specified blob does not exist."
            code = "" if is_there else "x-ms-error-code: BlobNotFound\r\n"
            head = f"--part\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            parts.append(f"{head}HTTP/1.1 {status}\r\n{code}x-ms-version: 2018-11-09\r\n\r\n")
        text = "".join(parts) + "--part--"
        self.answer(202, text.encode(), Content_Type="multipart/mixed; boundary=part")

    def found(self, bucket: str, prefix: str) -> Iterator[tuple[str, bytes]]:
        for path, data in sorted(self.objects.items()):
            if path.startswith(f"/{bucket}/{prefix}"):
                yield escape(path.removeprefix(f"/{bucket}/")), data

    def google_listing(self, bucket: str, prefix: str) -> bytes:
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>2023-11-14T22:13:20Z</LastModified>"
            f"<ETag>{_etag(data)}</ETag><Size>{len(data)}</Size></Contents>"
            for key, data in self.found(bucket, prefix)
        )
        return f"<ListBucketResult>{entries}</ListBucketResult>".encode()

    def azure_listing(self, bucket: str, prefix: str) -> bytes:
        entries = "".join(
            f"<Blob><Name>{key}</Name><Properties><Last-Modified>{formatdate(_MOMENT, usegmt=True)}</Last-Modified>"
            f"<Etag>{_etag(data)}</Etag><Content-Length>{len(data)}</Content-Length>"
            f"<Content-Type>x/y</Content-Type></Properties></Blob>"
            for key, data in self.found(bucket, prefix)
        )
        return f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>".encode()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:12]}"'


@contextmanager
def blob_server(*buckets: str) -> Iterator[str]:
    """A server with these buckets, which are empty; its address."""
    own = {"objects": {}, "parts": {}, "lock": threading.Lock(), "buckets": buckets}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), own))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
