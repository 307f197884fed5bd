"""Files over http(s), read-only, with the standard library: HEAD for identity, GET for content.

Plugins sign addresses here (`rv_sign_uri`), request by request: nothing above this module knows a signature.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import socket
import ssl
import threading
from collections import defaultdict
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, getproxies, proxy_bypass

from rv_core.errors import PluginError, StorageError
from rv_core.files.local import FileInfo
from rv_core.files.stores import TRANSIENT_STATUSES, SignatureRefusedError, Store, StoreAccessError
from rv_core.plugins.signing import signed

_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 20
_MISSING = (404, 410)
_PARTIAL = 206
_BEHIND_THE_END = 416
_HEAD_IS_REFUSED = (403, 405, 501)  # links that are signed for GET alone answer 403
_REFUSED = (401, 403)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/", re.ASCII)


class HttpStore(Store):
    """Reads files from web servers."""

    def __init__(self, scheme: str = "https") -> None:
        """`http` or `https`: the URIs say it themselves."""
        self._connections = _Connections()

    def stat(self, uri: str) -> FileInfo | None:
        """Size, ETag and Last-Modified by HEAD, or by a GET of one byte where HEAD is refused; None for 404."""
        try:
            with _open(uri, "HEAD") as answer:
                return _info_of(answer)
        except HTTPError as err:
            if err.code in _MISSING:
                return None
            if err.code not in _HEAD_IS_REFUSED:
                raise
        try:
            with _open(uri, "GET", {"Range": "bytes=0-0"}) as answer:
                return _info_of(answer)
        except HTTPError as err:
            if err.code in _MISSING:
                return None
            raise

    def read(self, uri: str) -> bytes:
        """The whole body of a GET."""
        try:
            with _open(uri, "GET") as answer:
                return bytes(answer.read())
        except HTTPError as err:
            raise _or_missing(err) from err

    def read_range(self, uri: str, start: int, end: int) -> bytes | None:
        """A part of the body of a GET, on a connection that stays open.

        From a server that knows no ranges the beginning of a file is read, and no other part.
        """
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if (part := self._connections.read(uri, headers, start, end)) is not None:
            return part
        try:
            with _open(uri, "GET", headers) as answer:
                if answer.status != _PARTIAL:
                    return None if start else bytes(answer.read(end))
                return _part_of(answer, start, end)
        except HTTPError as err:
            if err.code == _BEHIND_THE_END:
                return b""
            raise _or_missing(err) from err

    def download(self, uri: str, path: str) -> FileInfo:
        """Streams the body of a GET to a new file.

        Raises:
            ConnectionError: if fewer bytes came than the server announced.
        """
        try:
            with _open(uri, "GET") as answer, open(path, "wb") as file:
                shutil.copyfileobj(answer, file, _CHUNK_BYTES)
                info = _info_of(answer)
                num_bytes = file.tell()
        except HTTPError as err:
            raise _or_missing(err) from err
        if info.size not in (-1, num_bytes):
            raise ConnectionError(f"the connection ended after {num_bytes} of {info.size} bytes")
        return info._replace(size=num_bytes)

    def write(self, uri: str, data: bytes) -> None:
        """Raises a `StorageError`: http is read-only."""
        raise _read_only(uri)

    def write_once(self, uri: str, data: bytes) -> bool:
        """Raises a `StorageError`: http is read-only."""
        raise _read_only(uri)

    def delete(self, uri: str) -> None:
        """Raises a `StorageError`: http is read-only."""
        raise _read_only(uri)

    def upload(self, path: str, uri: str) -> None:
        """Raises a `StorageError`: http is read-only."""
        raise _read_only(uri)

    def list_files(self, uri: str) -> dict[str, FileInfo]:
        """Raises a `StorageError`: web servers have no listings."""
        raise StorageError("cannot list a folder over http", where=uri, fix="name the files one by one")

    def is_transient(self, error: Exception) -> bool:
        """Whether asking again may help."""
        if isinstance(error, HTTPError):
            return error.code in TRANSIENT_STATUSES
        if isinstance(error, URLError):
            return _is_transient_reason(error.reason)
        if isinstance(error, http.client.InvalidURL):
            return False
        return isinstance(error, (ConnectionError, TimeoutError, http.client.HTTPException))

    def explain(self, error: Exception, what: str, uri: str) -> StorageError | None:
        """A signature that is refused, in words of its own."""
        signer = getattr(error, "signer", "")
        return signature_refused(signer, what, uri, str(error)) if signer else None


def signature_refused(signer: str, what: str, uri: str, why: str) -> SignatureRefusedError:
    """The error for a signature that a server refuses.

    Args:
        signer: the plugin that signed, as messages name it.
        what: what could not be done.
        uri: the file, unsigned.
        why: what the server answered.
    """
    return SignatureRefusedError(
        what,
        where=uri,
        why=f"the server refuses the signature that {signer} gave the address ({why})",
        fix="it may have expired, or the plugin may lack credentials: renew what it signs with, then run the same "
        "command again",
    )


def _is_transient_reason(reason: object) -> bool:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return False
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    return isinstance(reason, OSError)


class _RefusedSignatureError(HTTPError):
    """What a server answers that does not take a signature."""

    signer = ""


class _SameHostRedirects(HTTPRedirectHandler):
    """Follows a redirect within a host, also to https; another host is not what the config names."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if not _is_same_host(req.full_url, newurl):
            fp.close()
            asked, told = urlsplit(req.full_url), urlsplit(newurl)
            raise StorageError(
                "a web server sends us on to another host, which is not followed",
                where=f"{asked.scheme}://{asked.netloc}{asked.path}",  # a query may hold a secret
                why=f"it answers that the file is on {told.scheme}://{told.netloc.rpartition('@')[2]}",
                fix="where you trust it, name the file by its address there",
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_same_host(old_url: str, new_url: str) -> bool:
    old, new = urlsplit(old_url), urlsplit(new_url)
    if (old.hostname or "").lower() != (new.hostname or "").lower():
        return False
    ports = [parts.port or {"http": 80, "https": 443}.get(parts.scheme) for parts in (old, new)]
    return ports == [80, 443] or (ports[0] == ports[1] and old.scheme == new.scheme)


class _Connections:
    """Connections to web servers that stay open, used by one thread at a time each."""

    def __init__(self) -> None:
        self._idle: dict[tuple[int, str, str], list[http.client.HTTPConnection]] = defaultdict(list)
        self._lock = threading.Lock()

    def read(self, uri: str, headers: dict[str, str], start: int, end: int) -> bytes | None:
        """The part that a server answers to a GET; None for any other answer, and where a proxy has to be asked."""
        asked = _asked(uri)
        parts = urlsplit(asked.url)
        if not _is_plain_host(parts.netloc):
            return None  # told without its password by who asks next
        if parts.scheme in getproxies() and not proxy_bypass(parts.netloc):
            return None
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        place = (os.getpid(), parts.scheme, parts.netloc)  # a process that was forked makes its own
        with self._lock:
            idle = self._idle[place].pop() if self._idle[place] else None
        for connection in (idle, _new_connection(parts.scheme, parts.netloc)):
            if connection is None:
                continue
            try:
                connection.request("GET", target or "/", headers={"User-Agent": "rv", **asked.headers, **headers})
                answer = connection.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                connection.close()
                if connection is idle:
                    continue  # the server has closed it meanwhile
                raise
            except OSError as err:
                connection.close()
                if isinstance(err, TimeoutError):
                    raise
                raise URLError(err) from err  # as the other requests tell it: a network that is gone may come back
            if answer.status != _PARTIAL:
                connection.close()
                return None
            part = _part_of(answer, start, end)
            if answer.isclosed():  # else it sends more than it was asked for
                with self._lock:
                    self._idle[place].append(connection)
            else:
                connection.close()
            return part
        return None


def _is_plain_host(netloc: str) -> bool:
    host, _, port = netloc.rpartition(":")
    return not host or port.endswith("]") or port.isdigit()


def _new_connection(scheme: str, netloc: str) -> http.client.HTTPConnection:
    """One that connects when it is asked."""
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    return kind(netloc, timeout=_TIMEOUT_S)


class _Asked(NamedTuple):
    url: str
    headers: dict[str, str]
    signer: str


def _asked(uri: str) -> _Asked:
    """The address as it is asked for: signed, and without a user and password, which are a header."""
    try:
        its = signed(uri)
    except PluginError as err:
        block = err.block
        raise StoreAccessError(block.what, where=block.where, why=block.why, fix=block.fix) from err
    # Characters that a path in a config may hold and a request line may not; what is encoded already stays so.
    url, user_info = _without_user_info(quote(its.uri, safe="%/:=&?~#+!$,;'@()*[]"))
    credentials = base64.b64encode(unquote(user_info).encode()).decode()
    return _Asked(url, {"Authorization": f"Basic {credentials}"} if user_info else {}, its.signer)


def _open(uri: str, method: str, headers: dict[str, str] | None = None) -> Any:
    asked = _asked(uri)
    request = Request(asked.url, headers={"User-Agent": "rv", **(headers or {})}, method=method)
    for name, value in asked.headers.items():
        # Unredirected: where a server sends us on to another one, that one must not see them.
        request.add_unredirected_header(name, value)
    try:
        return build_opener(_SameHostRedirects).open(request, timeout=_TIMEOUT_S)
    except HTTPError as err:
        err.close()  # it holds the connection; code and headers stay
        if asked.signer and err.code in _REFUSED:
            refused = _RefusedSignatureError(uri, err.code, err.msg, err.headers, None)
            refused.signer = asked.signer
            raise refused from None  # the other one holds the signature
        raise
    except http.client.InvalidURL:
        # Its message quotes what stands after the host, which may be a part of a password.
        raise http.client.InvalidURL("the host and port of this address cannot be read") from None


def _without_user_info(url: str) -> tuple[str, str]:
    """The URL as the standard library takes it, and the `user:password` that it held, which is "" mostly."""
    user_info, at, _ = urlsplit(url).netloc.rpartition("@")
    return (url.replace(f"{user_info}@", "", 1), user_info) if at else (url, "")


def _part_of(answer: Any, start: int, end: int) -> bytes | None:
    """The bytes that a server answers to a range, no more than were asked for; None where it answers another part."""
    told = _CONTENT_RANGE.match(answer.headers.get("Content-Range") or "")
    if told is None or int(told[1]) != start:
        return None
    count = min(end, int(told[2]) + 1) - start
    part = bytes(answer.read(count))
    if len(part) < count:
        raise ConnectionError(f"the connection ended after {len(part)} of {count} bytes")
    return part


def _info_of(answer: Any) -> FileInfo:
    total = (answer.headers.get("Content-Range") or "").rpartition("/")[2]
    length = total if answer.status == 206 else answer.headers.get("Content-Length")
    modified = answer.headers.get("Last-Modified")
    return FileInfo(
        int(length) if length and length.isdigit() else -1,
        _nanoseconds(modified) if modified else None,
        answer.headers.get("ETag"),
    )


def _nanoseconds(http_date: str) -> int | None:
    try:
        return int(parsedate_to_datetime(http_date).timestamp()) * 1_000_000_000
    except ValueError:
        return None


def _or_missing(err: HTTPError) -> Exception:
    return FileNotFoundError(str(err)) if err.code in _MISSING else err


def _read_only(uri: str) -> StorageError:
    return StorageError("cannot write over http", where=uri, fix="use a local folder or an object store as root_uri")
