"""Files over http(s), read-only, with the standard library: HEAD for identity, GET for content.

Plugins sign addresses here (`rv_sign_uri`), request by request: nothing above this module knows a signature.
"""

from __future__ import annotations

import base64
import http.client
import shutil
import socket
import ssl
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from rv_core.errors import PluginError, StorageError
from rv_core.files.local import FileInfo
from rv_core.files.stores import SignatureRefusedError, Store, StoreAccessError
from rv_core.plugins.signing import SignedUri, signed

_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 20
_MISSING = (404, 410)
_PARTIAL = 206
_BEHIND_THE_END = 416
_HEAD_IS_REFUSED = (403, 405, 501)  # links that are signed for GET alone answer 403
_REFUSED = (401, 403)
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpStore(Store):
    """Reads files from web servers."""

    def __init__(self, scheme: str = "https") -> None:
        """`http` or `https`: the URIs say it themselves."""

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
        """A part of the body of a GET; from a server that knows no ranges what comes before it is read too."""
        try:
            with _open(uri, "GET", {"Range": f"bytes={start}-{end - 1}"}) as answer:
                if answer.status != _PARTIAL:
                    return bytes(answer.read(end)[start:])
                return bytes(answer.read(end - start))
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
            return error.code in _TRANSIENT
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


def _signed(uri: str) -> SignedUri:
    try:
        return signed(uri)
    except PluginError as err:
        block = err.block
        raise StoreAccessError(block.what, where=block.where, why=block.why, fix=block.fix) from err


def _open(uri: str, method: str, headers: dict[str, str] | None = None) -> Any:
    asked = _signed(uri)
    # Characters that a path in a config may hold and a request line may not; what is encoded already stays so.
    url, user_info = _without_user_info(quote(asked.uri, safe="%/:=&?~#+!$,;'@()*[]"))
    request = Request(url, headers={"User-Agent": "rv", **(headers or {})}, method=method)
    if user_info:
        credentials = base64.b64encode(unquote(user_info).encode()).decode()
        # Unredirected: where a server sends us on to another one, that one must not see them.
        request.add_unredirected_header("Authorization", f"Basic {credentials}")
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
