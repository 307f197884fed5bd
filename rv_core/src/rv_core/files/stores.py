"""What a store of a scheme can do, the store of local files, and how long one is asked again."""

from __future__ import annotations

import os
import re
import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol

from rv_core.errors import EXIT_ENVIRONMENT, ConfigError, StorageError
from rv_core.files import local, uris
from rv_core.files.local import FileInfo
from rv_core.files.problems import explained, open_no_stream
from rv_core.machine.folders import text_digest

#: A claim that stays as it is for so long was left by a process that was killed while it held it.
_ABANDONED_S = 10.0
_CLAIM_PAUSE_S = 0.1
_MAX_DELAY_S = 8.0
#: Answers of web servers after which asking again may help.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_DEFAULT_RETRY_S = 30.0


class StoreAccessError(StorageError):
    """A store cannot be used from here at all: its library or the credentials for it are missing."""

    exit_code = EXIT_ENVIRONMENT


class SignatureRefusedError(StoreAccessError):
    """A server refuses the signature that a plugin gave an address: it has expired, or was never good."""


class Store(Protocol):
    """What serves the files of a scheme. Inherit it; what is not abstract need not be implemented.

    The class is called with the scheme when the first URI of it is opened; an `ImportError` or a `ValueError` of that
    says why it cannot be used here. One store is used for a process and scheme, by several threads at once. Its methods
    get whole URIs, their variables filled in.

    Errors are the library's own, told apart by their types: `FileNotFoundError` where a file that is to be read is not
    there, `PermissionError` where the store refuses, `ConnectionError` or `TimeoutError` where it cannot be reached. A
    `StorageError` is shown as it is. What could not be asked is never answered with None, False or {}.
    """

    @abstractmethod
    def stat(self, uri: str) -> FileInfo | None:
        """Size and identity of a file without reading it; None if there is none (a folder is none)."""

    @abstractmethod
    def read(self, uri: str) -> bytes:
        """The whole file."""

    @abstractmethod
    def write(self, uri: str, data: bytes) -> str | None:
        """Puts a whole file, replacing what is there: whoever reads meanwhile gets the old one or the new one.

        Returns:
            The ETag that `stat` and `list_files` show for as long as it is what was put; None where that is not known.
        """

    @abstractmethod
    def write_once(self, uri: str, data: bytes) -> bool:
        """Puts a whole file if there is none, else changes nothing; of several writers at once one alone gets True."""

    @abstractmethod
    def delete(self, uri: str) -> None:
        """Removes a file; one that is not there is fine."""

    @abstractmethod
    def list_files(self, uri: str) -> dict[str, FileInfo]:
        """Every file below a folder by its path relative to it, `/` between the parts; {} if there is none.

        `a/b` lies below `a`, `ab` does not. What is being written is left out.
        """

    @abstractmethod
    def upload(self, path: str, uri: str) -> None:
        """Puts a local file, as `write` does."""

    @abstractmethod
    def download(self, uri: str, path: str) -> FileInfo:
        """Streams a file to a new local path; the size and identity of exactly what was written there."""

    def read_range(self, uri: str, start: int, end: int) -> bytes | None:
        """The bytes of a file from `start` to before `end`: fewer where it ends before, b"" behind its end.

        None where the store cannot read a part of a file (this one).
        """
        return None

    def copy(self, source: str, target: str) -> bool:
        """Puts a copy of a file of this store, as `write` does, without its bytes passing through here.

        False, and nothing is changed, where the store cannot do so (with these two): the file is then uploaded.
        """
        return False

    def swap(self, uri: str, old: bytes, new: bytes | None) -> bool:
        """Replaces a file whose content is `old` by `new`, else changes nothing; of several at once one alone gets True.

        None for `new` removes the file; a store that cannot do so on a condition leaves an empty line in its place.
        Unless it is overridden a file beside it, made by `write_once`, keeps the others out meanwhile: as safe as that.
        """
        return _swap_by_claim(self, uri, old, new)

    def is_transient(self, error: Exception) -> bool:
        """Whether asking again may help (and the library has not done so itself)."""
        return isinstance(error, (ConnectionError, TimeoutError))

    def explain(self, error: Exception, what: str, uri: str) -> StorageError | None:
        """A final error in your own words; None for those of its type.

        Args:
            error: what was raised.
            what: what could not be done, for instance `cannot read 'a.json'`.
            uri: the file or folder.
        """
        return None


class LocalStore(Store):
    """The file systems of this machine: paths and `file://`. Its errors are `StorageError`s already."""

    def __init__(self, scheme: str = "file") -> None:
        """Any scheme will do."""

    def stat(self, uri: str) -> FileInfo | None:
        """Size and time, following links."""
        return local.stat(path_of(uri))

    def read(self, uri: str) -> bytes:
        """The whole file."""
        return local.read(path_of(uri))

    def read_range(self, uri: str, start: int, end: int) -> bytes | None:
        """A part of the file."""
        path = path_of(uri)
        with explained("read", path), open(path, "rb", opener=open_no_stream) as file:
            file.seek(start)
            return file.read(end - start)

    def write(self, uri: str, data: bytes) -> None:
        """Written aside, synced and renamed."""
        local.write(path_of(uri), data)

    def write_once(self, uri: str, data: bytes) -> bool:
        """Written aside, synced and linked."""
        return local.write_once(path_of(uri), data)

    def delete(self, uri: str) -> None:
        """Removes a file."""
        local.delete(path_of(uri))

    def list_files(self, uri: str) -> dict[str, FileInfo]:
        """Every file below a folder, following links."""
        return local.list_files(path_of(uri))

    def upload(self, path: str, uri: str) -> None:
        """Copies a file."""
        local.copy(path, path_of(uri))

    def download(self, uri: str, path: str) -> FileInfo:
        """Copies a file."""
        return local.copy(path_of(uri), path)

    def swap(self, uri: str, old: bytes, new: bytes | None) -> bool:
        """Under a lock of the very file that is replaced."""
        return local.swap(path_of(uri), old, new)

    def is_transient(self, error: Exception) -> bool:
        """Never."""
        return False


def _swap_by_claim(store: Store, uri: str, old: bytes, new: bytes | None) -> bool:
    """`swap` for a store that can do no more than create a file once: a claim beside the file keeps the others out."""
    import secrets

    folder, _, name = uri.rpartition("/")
    # Named by what is to be replaced: whoever wants to replace something else has no business with it.
    claim = f"{folder}/.{name}.{text_digest(old.decode('utf-8', 'surrogateescape'))}.claim.tmp"
    if not _claimed(store, claim, secrets.token_bytes(8).hex().encode(), uri, old):
        return False
    try:
        if _content(store, uri) != old:
            return False
        if new is None:
            store.delete(uri)
            return True
        store.write(uri, new)
        return _content(store, uri) == new
    finally:
        store.delete(claim)


def _claimed(store: Store, claim: str, token: bytes, uri: str, old: bytes) -> bool:
    """Whether this process got the claim; False once there is nothing left to claim."""
    seen, since = None, time.monotonic()
    while not store.write_once(claim, token):
        if _content(store, uri) != old:
            return False
        holder = _content(store, claim)
        if holder != seen:
            seen, since = holder, time.monotonic()
        elif holder is not None and time.monotonic() - since > _ABANDONED_S:
            store.delete(claim)
        time.sleep(_CLAIM_PAUSE_S)
    return True


def _content(store: Store, uri: str) -> bytes | None:
    try:
        return store.read(uri)
    except FileNotFoundError:
        return None


def refuse_links_out(path: str, *, is_followed: bool = False) -> None:
    """Refuse to change a file of the state of a local root, `…/.rv/…`, behind a link that leads out of the root.

    A root may come from somebody else; what such a link names is not the root's to change.

    Args:
        path: of the file.
        is_followed: whether a file that is itself a link would be followed, and not replaced.

    Raises:
        StorageError: if it lies behind such a link.
    """
    root, marks, name = path.rpartition("/.rv/")
    parts = name.split("/") if is_followed else name.split("/")[:-1]
    if marks and local.leaves_folder(root, [".rv", *parts]):
        why, fix = "a link on the way leaves the root", "put the real file or folder there"
        raise StorageError("refused to write the state of a root", where=path, why=why, fix=fix)


def path_of(uri: str) -> str:
    """The path of a local URI.

    Raises:
        StorageError: if it is that of another machine.
    """
    try:
        return uris.local_path(uri)
    except ValueError as err:
        raise StorageError("not a file on this machine", where=uri, fix="write file:///folder/name") from err


def retry_delays() -> Iterator[float]:
    """Growing pauses in seconds (with jitter) that add up to at most `RV_RETRY_S` seconds from now.

    Raises:
        ConfigError: if `RV_RETRY_S` is not a number.
    """
    import random

    end = time.monotonic() + retry_time_s()
    delay_s = 0.2
    while (left_s := end - time.monotonic()) > 0:
        yield min(delay_s * random.uniform(0.5, 1.0), left_s)
        delay_s = min(2 * delay_s, _MAX_DELAY_S)


def retry_time_s() -> float:
    """For how long a transient failure of a store is asked again: `RV_RETRY_S` seconds.

    Raises:
        ConfigError: if it is not a number of seconds.
    """
    text = os.environ.get("RV_RETRY_S", "")
    if not text:
        return _DEFAULT_RETRY_S
    if not re.fullmatch(r"\d{1,6}(\.\d*)?", text):
        raise ConfigError(f"{text!r} is not a number of seconds", where="environment variable RV_RETRY_S")
    return float(text)
