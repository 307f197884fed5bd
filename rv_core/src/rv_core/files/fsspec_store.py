"""Files in any store that has an fsspec plugin (`memory`, Google, Azure, SFTP, …)."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import datetime
from typing import Any

from rv_core.files.local import FileInfo
from rv_core.files.stores import Store
from rv_core.machine.folders import is_temporary, temporary_name

_ETAG_KEYS = ("ETag", "etag", "e_tag", "md5Hash", "crc32c", "generation")
_TIME_KEYS = ("LastModified", "last_modified", "mtime", "updated", "modified", "created")
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# In these a put is seen whole or not at all; elsewhere (SFTP, SMB, …) we write aside and rename.
_PUTS_WHOLE = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "hf", "r2"})
_MAX_DOWNLOADS = 3


class FsspecStore(Store):
    """Reads and writes through one fsspec file system.

    Args:
        scheme: the protocol as fsspec knows it.

    Raises:
        ValueError: if there is no plugin of this name.
        ImportError: if its library is not installed.
    """

    def __init__(self, scheme: str) -> None:
        import fsspec

        self._files = fsspec.filesystem(scheme)
        self._scheme = scheme
        self._once = threading.Lock()

    def stat(self, uri: str) -> FileInfo | None:
        """Size and identity; None if there is no file."""
        self._files.invalidate_cache()
        try:
            info = self._files.info(uri)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return _info_of(info) if info.get("type", "file") == "file" else None

    def read(self, uri: str) -> bytes:
        """The whole file."""
        return bytes(self._files.cat_file(uri))

    def read_range(self, uri: str, start: int, end: int) -> bytes | None:
        """A part of the file."""
        return bytes(self._files.cat_file(uri, start=start, end=end))

    def write(self, uri: str, data: bytes) -> None:
        """Puts a whole file."""
        if self._scheme in _PUTS_WHOLE:
            self._files.pipe_file(uri, data)
            return
        temporary = self._beside(uri)
        self._files.pipe_file(temporary, data)
        self._files.mv(temporary, uri)

    def write_once(self, uri: str, data: bytes) -> bool:
        """Puts a file if there is none. Atomic where the plugin knows `mode="create"` or can open a file as new."""
        with self._once:
            if self.stat(uri) is not None:
                return False
            self._make_folder(uri)
            try:
                self._create(uri, data)
            except FileExistsError:
                return False
        return True

    def _create(self, uri: str, data: bytes) -> None:
        from fsspec import AbstractFileSystem

        # What fsspec does for a plugin that has no way of its own is a look, then a put: two may see nothing there.
        if type(self._files).pipe_file is AbstractFileSystem.pipe_file:
            try:
                with self._files.open(uri, "xb") as file:
                    file.write(data)
                return
            except (ValueError, NotImplementedError):
                pass  # it opens files in no such mode
        self._files.pipe_file(uri, data, mode="create")

    def delete(self, uri: str) -> None:
        """Removes a file."""
        with suppress(FileNotFoundError):
            self._files.rm_file(uri)

    def list_files(self, uri: str) -> dict[str, FileInfo]:
        """Every file below the URI by relative path."""
        self._files.invalidate_cache()
        root = self._files._strip_protocol(uri).rstrip("/") + "/"
        try:
            found = self._files.find(uri, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        files = {path[len(root) :]: _info_of(info) for path, info in found.items() if path.startswith(root)}
        return {name: info for name, info in files.items() if not is_temporary(name.rpartition("/")[2])}

    def upload(self, path: str, uri: str) -> None:
        """Puts a local file."""
        if self._scheme in _PUTS_WHOLE:
            self._files.put_file(path, uri)
            return
        temporary = self._beside(uri)
        self._files.put_file(path, temporary)
        self._files.mv(temporary, uri)

    def download(self, uri: str, path: str) -> FileInfo:
        """Copies a file to a local path.

        Raises:
            ConnectionError: if the file kept changing meanwhile.
        """
        for _ in range(_MAX_DOWNLOADS):
            before = self.stat(uri)
            if before is None:
                raise FileNotFoundError(uri)
            self._files.get_file(uri, path)
            if before == self.stat(uri) and before.size == os.stat(path).st_size:
                return before
        raise ConnectionError("the file changed while it was downloaded")

    def is_transient(self, error: Exception) -> bool:
        """Whether asking again may help."""
        if isinstance(error, (ConnectionError, TimeoutError)):
            return True
        codes = (getattr(error, name, None) for name in ("status", "code", "status_code"))
        return any(isinstance(code, int) and code in _TRANSIENT for code in codes)

    def _beside(self, uri: str) -> str:
        self._make_folder(uri)
        folder, _, name = uri.rpartition("/")
        return f"{folder}/{temporary_name(name)}"

    def _make_folder(self, uri: str) -> None:
        if self._scheme not in _PUTS_WHOLE:
            self._files.makedirs(uri.rpartition("/")[0], exist_ok=True)


def _info_of(info: dict[str, Any]) -> FileInfo:
    etag = next((info[key] for key in _ETAG_KEYS if info.get(key)), None)
    moment = next((info[key] for key in _TIME_KEYS if info.get(key)), None)
    return FileInfo(int(info.get("size") or 0), _nanoseconds(moment), None if etag is None else str(etag))


def _nanoseconds(moment: object) -> int | None:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    return int(seconds * 1_000_000_000) if isinstance(seconds, (int, float)) else None
