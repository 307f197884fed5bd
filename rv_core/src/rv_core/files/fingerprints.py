"""URI → fingerprint: the mark of a content that enters keys, found without reading what has been read before.

Local files: the SHA-256 of the content, so that a touch or a copy changes nothing. A cache per root remembers it
together with size and times, and an unchanged file is not read again. Object stores: ETag and size. http: ETag, else
Last-Modified, and size. A folder: the hash of its listing.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat as stat_module
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rv_core.errors import StorageError
from rv_core.files import asking, by_uri, local, problems, uris
from rv_core.files.local import FileInfo
from rv_core.files.problems import MissingFileError
from rv_core.machine.folders import cache_folder, text_digest

MISSING = "missing"

_FORMAT = 1
_MAX_ENTRIES = 200_000
_RACY_NS = 2_000_000_000
_MAX_PASSES = 3
_MAX_HASHED_BYTES = 16 << 20
_THREADED_BYTES = 8 << 20
_MAX_READERS = 8


@dataclass(slots=True)
class Fingerprint:
    """The mark of a content.

    Args:
        token: enters keys; two contents with the same token are taken for equal. `"missing"` if there is no file.
        detail: what it was made from, as plain JSON values, for explanations.
        state: `state_of` the file at that moment; None where there is none.
    """

    token: str
    detail: dict[str, Any] = field(default_factory=dict)
    state: list[Any] | None = None

    @property
    def is_missing(self) -> bool:
        """Whether there was no file."""
        return self.token == MISSING


MISSING_FINGERPRINT = Fingerprint(MISSING, {"kind": "missing"})


class ContentHashes:
    """The cache of content hashes of local files: path → (size, mtime_ns, ctime_ns, SHA-256).

    Args:
        path: its JSON file, or None for one that is not kept.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self._known: dict[str, list[Any]] = _load(path) if path else {}
        self._used: dict[str, list[Any]] = {}
        self._has_changed = False

    @classmethod
    def of_root(cls, root_uri: str) -> ContentHashes:
        """The cache that belongs to a root, in the user's cache folder."""
        return cls(str(cache_folder() / "fingerprints" / f"{text_digest(root_uri)}.json"))

    def get(self, path: str, status: os.stat_result) -> str | None:
        """The hash of the content, if the file is still the one that was hashed."""
        entry = self._known.get(path)
        if entry is None or entry[:3] != [status.st_size, status.st_mtime_ns, status.st_ctime_ns]:
            return None
        self._used[path] = entry
        return str(entry[3])

    def put(self, path: str, status: os.stat_result, sha256: str, hashed_at_ns: int) -> None:
        """Remembers a hash – unless the file is so young that a later change could leave its times as they are."""
        if hashed_at_ns - max(status.st_mtime_ns, 0) < _RACY_NS:
            return
        entry = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, sha256]
        self._known[path] = self._used[path] = entry
        self._has_changed = True

    def save(self) -> bool:
        """Writes the cache if it has changed; False if that is not possible, which costs time and nothing else."""
        if self.path is None or not self._has_changed:
            return True
        files = self._known if len(self._known) <= _MAX_ENTRIES else self._used
        text = json.dumps({"format": _FORMAT, "files": files}, separators=(",", ":"))
        try:
            local.write(self.path, text.encode("utf-8", "surrogateescape"), is_synced=False)
        except StorageError:
            return False
        self._has_changed = False
        return True


def _load(path: str) -> dict[str, list[Any]]:
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read())
        files = content["files"] if content["format"] == _FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    is_sound = isinstance(files, dict) and all(isinstance(entry, list) and len(entry) == 4 for entry in files.values())
    return files if is_sound else {}


def state_of(uri: str) -> list[Any] | None:
    """What tells cheaply that a file is still the one that was fingerprinted; None for a folder and what is not there.

    Returns:
        Of a local file [size in bytes, mtime_ns, ctime_ns], of any other [size in bytes, mtime_ns, ETag].

    Raises:
        StorageError: if the file cannot be looked at.
    """
    opened = uris.expand(uris.container_of(uri))
    if uris.is_local(opened):
        status = _status(uris.local_path(opened))
        return None if status is None or not stat_module.S_ISREG(status.st_mode) else _times(status)
    info = by_uri.stat(uri)
    return None if info is None else _state_of_remote(info)


def _state_of_remote(info: FileInfo) -> list[Any]:
    return [info.size, info.mtime_ns, info.etag]


def fingerprint_many(wanted: Iterable[str], cache: ContentHashes | None = None) -> dict[str, Fingerprint]:
    """The fingerprints of files and folders, by URI; variables in the URIs are filled in. The cache is saved.

    What is not there has the token `"missing"`.

    Raises:
        StorageError: if a file cannot be read or a store cannot be asked; several are named at once.
        ConfigError: if a URI names a variable that is not set.
    """
    hashes = ContentHashes() if cache is None else cache
    places = {uri: uris.container_of(uri) for uri in dict.fromkeys(wanted)}
    paths, remote = _by_place(places)
    found = _local_fingerprints(paths, hashes)
    hashes.save()
    if remote:
        found.update(asking.ask_many(lambda uri: _remote_fingerprint(places[uri]), remote))
    return {uri: found[uri] for uri in places}


def _by_place(places: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    paths: dict[str, str] = {}
    remote: list[str] = []
    for uri, place in places.items():
        opened = uris.expand(place)
        if uris.is_local(opened):
            paths[uri] = uris.local_path(opened)
        else:
            remote.append(uri)
    return paths, remote


def _local_fingerprints(paths: dict[str, str], hashes: ContentHashes) -> dict[str, Fingerprint]:
    """Known hashes first, in one pass of `stat`; what has to be read is then read at the same time."""
    found: dict[str, Fingerprint] = {}
    unread: dict[str, str] = {}
    errors: dict[str, StorageError] = {}
    unread_bytes = 0
    for uri, path in paths.items():
        try:
            status = _status(path)
            fingerprint = MISSING_FINGERPRINT if status is None else _known(path, status, hashes)
        except StorageError as err:
            errors[uri] = err
            continue
        if fingerprint is None:
            unread[uri] = path
            unread_bytes += status.st_size if status is not None else 0
        else:
            found[uri] = fingerprint
    for uri, answer in _read_all(unread, hashes, is_threaded=unread_bytes >= _THREADED_BYTES):
        if isinstance(answer, StorageError):
            errors[uri] = answer
        else:
            found[uri] = answer
    if errors:
        raise asking.all_of(errors)
    return found


def _read_all(
    paths: dict[str, str], hashes: ContentHashes, *, is_threaded: bool
) -> Iterator[tuple[str, Fingerprint | StorageError]]:
    def read(path: str) -> Fingerprint | StorageError:
        try:
            return _fresh(path, hashes)
        except MissingFileError:  # removed since it was looked at
            return MISSING_FINGERPRINT
        except StorageError as err:
            return err

    if not is_threaded or len(paths) < 2:
        yield from ((uri, read(path)) for uri, path in paths.items())
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_MAX_READERS, os.cpu_count() or 1)) as pool:
        yield from zip(paths, pool.map(read, paths.values()), strict=True)


def _status(path: str) -> os.stat_result | None:
    with problems.explained("look at", path):
        try:
            return os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None


def _known(path: str, status: os.stat_result, hashes: ContentHashes) -> Fingerprint | None:
    if not stat_module.S_ISREG(status.st_mode):
        return None
    sha256 = hashes.get(path, status)
    return None if sha256 is None else _of_content(status, sha256)


def _fresh(path: str, hashes: ContentHashes) -> Fingerprint:
    status = _status(path)
    if status is None:
        return MISSING_FINGERPRINT
    if stat_module.S_ISDIR(status.st_mode):
        return _of_local_folder(path, hashes)
    if not stat_module.S_ISREG(status.st_mode):
        raise StorageError("neither a file nor a folder", where=path)
    return _hashed(path, hashes)


def _hashed(path: str, hashes: ContentHashes) -> Fingerprint:
    """Reads a file; again if it changes meanwhile. What keeps changing is not remembered."""
    with problems.explained("read", path):
        for _ in range(_MAX_PASSES):
            before = os.stat(path)
            hashed_at_ns = time.time_ns()
            _, sha256 = local.digest(path)
            if _times(before) == _times(os.stat(path)):
                hashes.put(path, before, sha256, hashed_at_ns)
                break
    return _of_content(before, sha256)


def _times(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _of_content(status: os.stat_result, sha256: str) -> Fingerprint:
    detail = {"kind": "file", "bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256}
    return Fingerprint(f"sha256:{sha256}", detail, _times(status))


def _of_local_folder(path: str, hashes: ContentHashes) -> Fingerprint:
    tokens: dict[str, str] = {}
    num_bytes = 0
    for name, info in local.list_files(path).items():
        file = f"{path.rstrip('/')}/{name}"
        status = _status(file)
        known = None if status is None else _known(file, status, hashes)
        tokens[name] = (known or _fresh(file, hashes)).token
        num_bytes += info.size
    return _of_listing(tokens, num_bytes)


def _of_listing(tokens: dict[str, str], num_bytes: int) -> Fingerprint:
    listing = "".join(f"{name}\0{token}\n" for name, token in sorted(tokens.items()))
    digest = hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
    return Fingerprint(f"folder:{digest}", {"kind": "folder", "files": len(tokens), "bytes": num_bytes})


def _remote_fingerprint(uri: str) -> Fingerprint:
    info = by_uri.stat(uri)
    if info is not None:
        return _of_remote(uri, info)
    if uris.scheme_of(uris.expand(uri)) in ("http", "https"):
        return MISSING_FINGERPRINT
    listing = by_uri.list_files(uri)
    if not listing:
        return MISSING_FINGERPRINT
    tokens = {name: _identity(info) for name, info in listing.items()}
    return _of_listing(tokens, sum(info.size for info in listing.values()))


def _of_remote(uri: str, info: FileInfo) -> Fingerprint:
    detail = {"kind": "file", "bytes": info.size, "etag": info.etag, "mtime_ns": info.mtime_ns}
    if info.etag is not None or info.mtime_ns is not None:
        return Fingerprint(_identity(info), detail, _state_of_remote(info))
    # A server that gives no mark of the content: small files are read; of large ones only the size is known.
    if 0 <= info.size <= _MAX_HASHED_BYTES:
        sha256 = hashlib.sha256(by_uri.read_bytes(uri)).hexdigest()
        return Fingerprint(f"sha256:{sha256}", {**detail, "sha256": sha256})
    return Fingerprint(_identity(info), {**detail, "note": "no ETag and no time: a change of equal size is not seen"})


def _identity(info: FileInfo) -> str:
    if info.etag is not None:
        return f"etag:{info.etag}:{info.size}"
    return f"size:{info.size}" if info.mtime_ns is None else f"modified:{info.mtime_ns}:{info.size}"
