"""Local copies of remote files: compared with the store on every use, fetched once by parallel processes, bounded.

Layout, below `<cache>/inputs/`: `<key>/<file name>` and `<key>/entry.json` (what the store said about the copy),
`<key>.lock` (held while an entry is looked at, filled or removed), and `leases/<host>-<pid>-….txt`: the keys that a
living process uses. A lease is locked as long as its process lives, so what is in use is never evicted, also after a
crash. `RV_CACHE_MAX_GIB` bounds the bytes; the entries that were used longest ago go first. A file that is larger than
the whole cache goes to the scratch folder of the process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rv_core.errors import ConfigError, StorageError
from rv_core.files import asking, local, problems, uris
from rv_core.files.local import FileInfo
from rv_core.files.stores import Store
from rv_core.machine.folders import cache_subfolder, host_label, scratch_folder, text_digest

_DEFAULT_MAX_GIB = 20.0
_GIB = 1 << 30
_leases: dict[tuple[int, str], int] = {}


def fetch(uri: str) -> Path:
    """A local path with the present content of a remote file.

    Args:
        uri: a remote URI, variables filled in.

    Raises:
        MissingFileError: if the file is not there.
        StorageError: if it cannot be read or there is no room for it.
    """
    info = asking.ask("look at", uri, lambda store: store.stat(uri))
    if info is None:
        raise problems.missing(uri)
    limit_bytes = max_bytes()
    is_cached = info.size <= limit_bytes
    folder = cache_subfolder("inputs") if is_cached else _made(scratch_folder() / "inputs")
    entry = _Entry(folder, uri)
    _lease(folder, entry.key)
    with _locked(folder / f"{entry.key}.lock"):
        if not entry.holds(info):
            if is_cached:
                _make_room(folder, limit_bytes - max(info.size, 0))
            entry.fill(uri)
        entry.mark_used()
    return entry.path


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def max_bytes() -> int:
    """The most that the cache may hold: `RV_CACHE_MAX_GIB`, in bytes.

    Raises:
        ConfigError: if it is not a number.
    """
    text = os.environ.get("RV_CACHE_MAX_GIB", "")
    if not text:
        return int(_DEFAULT_MAX_GIB * _GIB)
    if not re.fullmatch(r"\d{1,7}(\.\d*)?|\.\d+", text):
        raise ConfigError(f"{text!r} is not a number of GiB", where="environment variable RV_CACHE_MAX_GIB")
    return int(float(text) * _GIB)


class _Entry:
    """One cached file. Its lock is held by whoever calls `holds`, `fill` or `mark_used`."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.key = text_digest(uri)
        self.folder = folder / self.key
        # The ending stays: libraries choose their reader by it.
        name = re.sub(r"[^A-Za-z0-9._-]", "_", uris.name_of(uri))[-80:].lstrip(".") or "file"
        self.path = self.folder / name
        self._record = self.folder / "entry.json"

    def holds(self, info: FileInfo) -> bool:
        """Whether the copy is what the store has now, and nobody has touched it since."""
        if info.etag is None and info.mtime_ns is None:
            return False
        try:
            record = json.loads(self._record.read_bytes())
            status = self.path.stat()
        except (OSError, ValueError):
            return False
        return bool(record == {"remote": list(info), "local": [status.st_size, status.st_mtime_ns]})

    def fill(self, uri: str) -> None:
        """Downloads the file aside, then puts it and its record in place."""
        path = str(self.path)
        with suppress(FileNotFoundError):
            self._record.unlink()
        with local.temporary_file(path) as temporary:
            info = _download(uri, temporary)
            with problems.explained("write", path):
                os.chmod(temporary, 0o444)
                status = os.stat(temporary)
                local.publish(temporary, path, is_synced=False)
        # Without a sync: after a power cut the record may be there without the bytes, but then the size differs.
        record = {"remote": list(info), "local": [status.st_size, status.st_mtime_ns]}
        local.write(str(self._record), json.dumps(record).encode(), is_synced=False)

    def mark_used(self) -> None:
        """Makes this entry the last to be evicted."""
        with suppress(OSError):
            os.utime(self._record)


def _download(uri: str, path: str) -> FileInfo:
    def stream(store: Store) -> FileInfo:
        try:
            return store.download(uri, path)
        except OSError as err:
            if err.errno not in problems.FULL:
                raise
            why = problems.explain(err, "write", path).block.why
            fix = "free some space, or set RV_CACHE_DIR (and TMPDIR) to a folder on a larger disk"
            what = f"no room for a local copy of {uris.name_of(uri)!r}"
            raise StorageError(what, where=uri, why=why, fix=fix) from err

    return asking.ask("read", uri, stream)


def _make_room(folder: Path, limit_bytes: int) -> None:
    """Removes the entries that were used longest ago until the rest fits, except those in use."""
    sizes = {entry.name: _size_of(Path(entry)) for entry in os.scandir(folder) if _is_entry(entry)}
    total = sum(sizes.values())
    for key in sorted(sizes, key=lambda key: _last_used_ns(folder / key)):
        if total <= limit_bytes:
            return
        if _remove(folder, key):
            total -= sizes[key]


def _is_entry(entry: os.DirEntry[str]) -> bool:
    return entry.name != "leases" and entry.is_dir(follow_symlinks=False)


def _size_of(entry: Path) -> int:
    with suppress(OSError):
        return sum(file.stat().st_size for file in os.scandir(entry))
    return 0


def _last_used_ns(entry: Path) -> int:
    for path in (entry / "entry.json", entry):
        with suppress(OSError):
            return path.stat().st_mtime_ns
    return 0


def _remove(folder: Path, key: str) -> bool:
    with _locked(folder / f"{key}.lock", is_blocking=False) as has_lock:
        # In this order: who takes an entry leases it first and locks it then.
        if not has_lock or key in _leased_keys(folder):
            return False
        shutil.rmtree(folder / key, ignore_errors=True)
        with suppress(OSError):
            os.unlink(folder / f"{key}.lock")
    return True


def _lease(folder: Path, key: str) -> None:
    """Notes that this process uses an entry, until it ends."""
    place = (os.getpid(), str(folder))
    if place not in _leases:
        _leases[place] = _new_lease(folder / "leases")
    os.write(_leases[place], f"{key}\n".encode())


def _new_lease(leases: Path) -> int:
    leases.mkdir(mode=0o700, exist_ok=True)
    while True:
        path = leases / f"{host_label()}-{os.getpid()}-{os.urandom(4).hex()}.txt"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Before it was locked it may have been taken for that of a dead process.
        if _is_same_file(descriptor, path):
            return descriptor
        os.close(descriptor)


def _leased_keys(folder: Path) -> set[str]:
    """The keys that living processes use; leases of dead ones are removed."""
    keys: set[str] = set()
    for path in (folder / "leases").glob("*.txt"):
        with suppress(FileNotFoundError), open(path, encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                keys.update(file.read().split())
            else:
                path.unlink()
    return keys


@contextmanager
def _locked(path: Path, *, is_blocking: bool = True) -> Iterator[bool]:
    """Holds a lock file; yields False at once if it is held elsewhere and `is_blocking` is not set."""
    flags = fcntl.LOCK_EX | (0 if is_blocking else fcntl.LOCK_NB)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, flags)
            except BlockingIOError:
                yield False
                return
            if _is_same_file(descriptor, path):
                yield True
                return
        finally:
            os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    # Whoever evicts an entry removes its lock file while others wait for it.
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False
