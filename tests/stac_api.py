"""A STAC API on loopback: a landing page, and an item search that pages."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class StacApi:
    """A STAC API: a landing page, and an item search by POST or by GET that pages by a token, as its spec says."""

    def __init__(self, folder: Path) -> None:
        self.items = [
            {
                "type": "Feature", "stac_version": "1.0.0", "id": f"S2_{number}", "collection": f"c{number % 2}",
                "properties": {"updated": "2024-05-01T00:00:00Z"}, "links": [], "geometry": None,
                "assets": {"B04": {"href": str(folder / f"{number}.tif")}},
            }
            for number in range(8)
        ]  # fmt: skip
        self.is_post, self.page_items, self.requests, self.failures = True, 3, 0, list[int]()
        self.next_host = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def found(self, search: dict[str, Any]) -> dict[str, Any]:
        """A page of what is searched for."""
        wanted = [item for item in self.items if item["collection"] in search.get("collections", ["c0", "c1"])]
        first = int(search.get("token", 0))
        last = first + min(self.page_items, int(search["limit"]))
        links: list[dict[str, Any]] = [{"rel": "self", "href": self.url}]
        if last < len(wanted):
            href = f"{self.next_host or self.url}search"
            if self.is_post:
                links.append({"rel": "next", "method": "POST", "href": href, "body": {"token": last}, "merge": True})
            else:
                query = f"?limit={search['limit']}&collections={','.join(search['collections'])}&token={last}"
                links.append({"rel": "next", "href": href + query})
        return {"type": "FeatureCollection", "features": wanted[first:last], "links": links}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    api: StacApi

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/search":
            query: dict[str, Any] = {name: value[0] for name, value in parse_qs(parts.query).items()}
            query["collections"] = query["collections"].split(",")
            self._send(self.api.found(query))
        else:
            link = {"rel": "search", "type": "application/geo+json", "href": "./search"}
            links = [link, {**link, "method": "POST"}] if self.api.is_post else [link]
            self._send({"type": "Catalog", "stac_version": "1.0.0", "id": "api", "links": links})

    def do_POST(self) -> None:
        self._send(self.api.found(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

    def _send(self, document: dict[str, Any]) -> None:
        self.api.requests += 1
        data = json.dumps(document).encode()
        self.send_response(self.api.failures.pop(0) if self.api.failures else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
