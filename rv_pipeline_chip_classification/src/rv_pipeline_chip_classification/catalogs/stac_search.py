"""A search of a STAC API, asked once: what it finds is a file of items, which later calls read and no server sees.

STAC API 1.0.0, item search: the landing page names the address of the search, and each answer that of the next page.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit

from rv_core.errors import ConfigError
from rv_core.files import by_uri, uris
from rv_core.files.stores import TRANSIENT_STATUSES, retry_delays

_TIMEOUT_S = 60
_MAX_PAGES, _PAGE_ITEMS = 1000, 100
_MAX_ANSWER_BYTES = 64 * 1024**2
_MARK = "rv:search"


def search_stac(api: str, search: Mapping[str, Any], *, saved: str, max_items: int = 1000) -> str:
    """Search a STAC API once, and save what it finds for `scenes_from_stac`.

    Where the file holds the answer to the same search nothing is asked: runs, resumed runs and colleagues get the same
    scenes. Delete it to search again.

    Args:
        api: the address of the API, its landing page; `${NAME}` in it is filled in and not saved.
        search: what is searched for, in the words of the STAC API: `{"collections": ["sentinel-2-l2a"], "bbox": [west,
            south, east, north], "datetime": "2024-05-01/2024-06-01"}`, `intersects`, `ids`, `query`, `filter`, `sortby`.
        saved: where the ItemCollection goes, a path or URI.
        max_items: more than these are an error.

    Returns:
        The address of the file, absolute.

    Raises:
        ConfigError: if nothing is found, too much, or the API cannot be asked.
    """
    file = uris.absolute(saved, os.getcwd()) if uris.is_relative(saved) else saved
    asked = {"api": api, "search": json.loads(json.dumps(dict(search)))}
    if _searched_for(file) == asked:
        return file
    if problem := uris.problem_with(api):
        raise ConfigError("the address of a STAC API cannot be used", where=uris.name_of(api), why=f"it {problem}")
    items = []
    for item in _found(api, asked["search"]):
        items.append(item)
        if len(items) > max_items:
            fix = "search for less, or give a larger max_items"
            raise ConfigError(f"the search finds more than {max_items:,} items", where=api, fix=fix)
    if not items:
        why = f"it searched for {json.dumps(asked['search'])[:500]}"
        raise ConfigError("the search found no item", where=api, why=why, fix="search for another time or place")
    document = {"type": "FeatureCollection", "features": items, _MARK: asked}
    by_uri.write_bytes(file, json.dumps(document, indent=1).encode())
    return file


def _searched_for(file: str) -> Any:
    """What the items of a file were the answer to; None for no such file."""
    try:
        document = json.loads(by_uri.read_bytes(file)) if by_uri.exists(file) else None
    except ValueError:
        return None
    return document.get(_MARK) if isinstance(document, dict) else None


def _found(api: str, search: Mapping[str, Any]) -> Iterator[Any]:
    """The items of all pages."""
    landing = uris.expand(api)
    link = _search_link(_asked(landing, api), api)
    url = _address(landing, link["href"], api)
    body: dict[str, Any] | None = {"limit": _PAGE_ITEMS, **search}
    if str(link.get("method", "GET")).upper() != "POST":
        url, body = f"{url}{'&' if '?' in url else '?'}{urlencode(_as_query(body or {}))}", None
    for _ in range(_MAX_PAGES):
        page = _asked(url, api, body)
        features = page.get("features")
        if not isinstance(features, list):
            raise _refused(api, "its answer to the search holds no features")
        yield from (_with_whole_addresses(item, url) for item in features)
        following = _link(page, "next")
        if following is None:
            return
        url = _address(url, following["href"], api)
        if urlsplit(url)[:2] != urlsplit(landing)[:2]:
            raise _refused(api, "its next page is on another server")
        if str(following.get("method", "GET")).upper() == "POST":
            more = following.get("body") or {}
            body = {**(body or {}), **more} if following.get("merge") or not more else dict(more)
        else:
            body = None
    raise _refused(api, f"its answer has more than {_MAX_PAGES} pages")


def _with_whole_addresses(item: Any, page_url: str) -> Any:
    """An item whose assets are no longer relative to where it came from, since it is saved elsewhere."""
    if not isinstance(item, dict) or not isinstance(item.get("assets"), dict):
        return item  # who reads it says what is wrong
    own = _link(item, "self")
    base = urljoin(page_url, own["href"]) if own is not None else page_url

    def whole(asset: Any) -> Any:
        href = asset.get("href") if isinstance(asset, dict) else None
        is_relative = isinstance(href, str) and href != "" and "://" not in href and not href.startswith("/")
        return {**asset, "href": urljoin(base, href)} if is_relative else asset

    return {**item, "assets": {name: whole(asset) for name, asset in item["assets"].items()}}


def _address(base: str, href: str, api: str) -> str:
    """Where a link leads: a server, and no file of this machine."""
    try:
        url = urljoin(base, href)
        is_web = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        is_web = False
    if not is_web:
        raise _refused(api, f"it links to {href[:100]!r}, which is no address of a server")
    return url


def _search_link(page: Mapping[str, Any], api: str) -> Mapping[str, Any]:
    """Where the landing page says to search, by POST where that is offered."""
    links = page.get("links")
    searches = [link for link in links if _is_link(link, "search")] if isinstance(links, list) else []
    if not searches:
        raise _refused(api, "its landing page names no search: it is no STAC API, or a static catalogue")
    return next((link for link in searches if str(link.get("method")).upper() == "POST"), searches[0])


def _link(page: Mapping[str, Any], rel: str) -> Mapping[str, Any] | None:
    links = page.get("links")
    return next((link for link in links if _is_link(link, rel)), None) if isinstance(links, list) else None


def _is_link(link: Any, rel: str) -> bool:
    return isinstance(link, dict) and link.get("rel") == rel and isinstance(link.get("href"), str)


def _as_query(search: Mapping[str, Any]) -> dict[str, str]:
    """A search as the query of a GET: lists with commas, other values as JSON."""

    def text(value: Any) -> str:
        if isinstance(value, list) and all(isinstance(part, str | int | float) for part in value):
            return ",".join(map(str, value))
        return value if isinstance(value, str) else json.dumps(value)

    return {name: text(value) for name, value in search.items()}


def _asked(url: str, api: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object that an API answers; asked again where that may help."""
    if os.environ.get("RV_OFFLINE", "0") not in ("", "0"):
        fix = "unset RV_OFFLINE once: what is found is saved"
        raise ConfigError("a search needs the network, and RV_OFFLINE is set", where=api, fix=fix)
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": "application/geo+json, application/json", "Content-Type": "application/json"}
    delays = retry_delays()
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=_TIMEOUT_S) as answer:
                document = json.loads(answer.read(_MAX_ANSWER_BYTES))
            break
        except HTTPError as err:
            said = err.read(300).decode("utf-8", "replace").strip()
            if err.code not in TRANSIENT_STATUSES or (delay := next(delays, None)) is None:
                raise _refused(api, f"it answers {err.code} {err.reason}: {said}") from None
        except (URLError, OSError, HTTPException) as err:
            if (delay := next(delays, None)) is None:
                raise _refused(api, f"it cannot be reached: {getattr(err, 'reason', err)}") from None
        except (ValueError, RecursionError) as err:
            raise _refused(api, f"its answer is no JSON: {str(err)[:200]}") from None
        time.sleep(delay)
    if not isinstance(document, dict):
        raise _refused(api, "its answer is no JSON object")
    return document


def _refused(api: str, why: str) -> ConfigError:
    fix = "give the address of the landing page of a STAC API, or save the items by other means"
    return ConfigError("a STAC API could not be searched", where=api, why=why, fix=fix)
