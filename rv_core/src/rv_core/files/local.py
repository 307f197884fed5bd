"""Files on this machine's file systems: whole or not at all, listed fast, with errors that say what to do.

Writing goes to a temporary file beside the target, `.<name>.<tag>.tmp`, which is synced and then renamed. The tag
carries the attempt, this machine, the process and a counter, so no two writers share one. `by_uri` is the usual
caller; everybody else names files by URI.
"""

import errno
import hashlib
import os
import stat as stat_module
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from rv_core.files.problems import explained, open_no_endless, open_no_stream
from rv_core.machine.folders import is_temporary, temporary_name

_READ_BYTES = 1 << 20
#: Removed meanwhile, or a link to nowhere or to itself.
_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class FileInfo(NamedTuple):
    """What a store says about a file without reading it.

    Args:
        size: bytes.
        mtime_ns: time of the last change in nanoseconds since 1970, where the store has one.
        etag: the store's own mark of this content, where it has one.
    """

    size: int
    mtime_ns: int | None = None
    etag: str | None = None


def stat(path: str) -> FileInfo | None:
    """Size and time of a file, following links; None if there is no file (a folder is none).

    Raises:
        StorageError: if it cannot be looked at.
    """
    with explained("look at", path):
        try:
            status = os.stat(path)
        except OSError as err:
            if err.errno in _NO_FILE:
                return None
            raise
    return FileInfo(status.st_size, status.st_mtime_ns) if stat_module.S_ISREG(status.st_mode) else None


def read(path: str, *, may_be_pipe: bool = False) -> bytes:
    """The whole file.

    Args:
        path: the file; a device or a socket is none.
        may_be_pipe: whether a pipe is one: the user has named it.

    Raises:
        MissingFileError: if it is not there.
        StorageError: if it cannot be read.
    """
    opener = open_no_endless if may_be_pipe else open_no_stream
    with explained("read", path), open(path, "rb", buffering=0, opener=opener) as file:
        return file.read()


def write(path: str, data: bytes, *, attempt_tag: str = "", is_synced: bool = True) -> None:
    """Puts a file in place, whole; folders are created.

    Args:
        path: the target.
        data: its content.
        attempt_tag: enters the name of the temporary file.
        is_synced: wait until it is on the disk. Only for what may be lost in a power cut can this be left out.

    Raises:
        StorageError: if it cannot be written. The target is then what it was before.
    """
    with explained("write", path), temporary_file(path, attempt_tag) as temporary:
        _write_new(temporary, data, is_synced)
        publish(temporary, path, is_synced=is_synced)


def write_once(path: str, data: bytes, *, attempt_tag: str = "") -> bool:
    """Creates a file that nobody has created yet, whole; False (and nothing changed) if it is there.

    Of any number of processes that do so at once, also on a network file system, exactly one gets True.

    Raises:
        StorageError: if it cannot be written.
    """
    with explained("write", path), temporary_file(path, attempt_tag) as temporary:
        _write_new(temporary, data, is_synced=True)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as err:
            if err.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            return _create_exclusively(path, data)
        _sync_folder(os.path.dirname(path))
    return True


def _create_exclusively(path: str, data: bytes) -> bool:
    # For file systems without hard links: still one winner, but a crash half-way leaves a part of the file.
    try:
        _write_new(path, data, is_synced=True)
    except FileExistsError:
        return False
    except OSError:
        with suppress(OSError):
            os.unlink(path)
        raise
    return True


def swap(path: str, old: bytes, new: bytes | None) -> bool:
    """Replaces a file whose content is `old` by `new` (None removes it); False if it holds something else by now.

    The lock is on the very file that goes: whoever waits for it finds another file under the name afterwards. No file
    is needed for it, and none is left where the process is killed.

    Raises:
        StorageError: if it cannot be read or written.
    """
    with explained("replace", path):
        try:
            descriptor = _open_to_lock(path)
        except FileNotFoundError:
            return False
        try:
            _lock(descriptor)
            if not _is_still(path, descriptor, old):
                return False
            if new is None:
                os.unlink(path)
                _sync_folder(os.path.dirname(path))
                return True
            with temporary_file(path) as temporary:
                _write_new(temporary, new, is_synced=True)
                publish(temporary, path)
        finally:
            os.close(descriptor)
    return True


def _open_to_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)  # network file systems lock only what may be written to
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _lock(descriptor: int) -> None:
    """Wait for the lock; a file system without locks has none to wait for."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as err:
        if err.errno not in (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL, errno.EBADF):
            raise


def _is_still(path: str, descriptor: int, content: bytes) -> bool:
    """Whether the path still names the opened file, with this content. Opened again: that asks a file server anew."""
    try:
        with open(path, "rb", buffering=0, opener=open_no_stream) as file:
            return os.path.samestat(os.fstat(file.fileno()), os.fstat(descriptor)) and file.readall() == content
    except FileNotFoundError:
        return False


def copy(source: str, path: str) -> FileInfo:
    """Puts a copy of a file in place, whole; what was copied.

    Raises:
        MissingFileError: if there is no such file.
        StorageError: if it cannot be copied.
    """
    import shutil

    with (
        explained("read", source),
        open(source, "rb", opener=open_no_stream) as file,
        temporary_file(path) as temporary,
    ):
        status = os.fstat(file.fileno())
        with explained("write", path):
            with open(temporary, "xb") as target:
                shutil.copyfileobj(file, target, _READ_BYTES)
            sync(temporary)
            publish(temporary, path)
    return FileInfo(status.st_size, status.st_mtime_ns)


def delete(path: str) -> None:
    """Removes a file; one that is not there is fine.

    Raises:
        StorageError: if it cannot be removed.
    """
    with explained("delete", path), suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def list_files(folder: str) -> dict[str, FileInfo]:
    """Every file below a folder by relative path, `/` between the parts; {} if there is no such folder.

    Temporary files are left out. Links are followed, but not from what is done under a root to what lies outside of it;
    a folder that contains itself is entered once.

    Raises:
        StorageError: if a folder cannot be listed.
    """
    found: dict[str, FileInfo] = {}
    linked: set[str] = set()
    pending = [] if _leads_out_of_root(folder) else [(folder, "")]
    while pending:
        path, prefix = pending.pop()
        gone = (FileNotFoundError, NotADirectoryError)
        with explained("list", path), suppress(*gone), os.scandir(path) as entries:
            for entry in entries:
                _take_entry(entry, prefix, found, pending, linked)
    return found


def _take_entry(
    entry: os.DirEntry[str], prefix: str, found: dict[str, FileInfo], pending: list[tuple[str, str]], linked: set[str]
) -> None:
    name = entry.name
    if is_temporary(name):
        return
    try:
        status = entry.stat()
    except OSError as err:
        if err.errno in _NO_FILE:
            return
        raise
    if stat_module.S_ISDIR(status.st_mode):
        if not entry.is_symlink() or _is_new_folder(entry.path, linked):
            pending.append((entry.path, f"{prefix}{name}/"))
    elif stat_module.S_ISREG(status.st_mode):
        found[prefix + name] = FileInfo(status.st_size, status.st_mtime_ns)


def _leads_out_of_root(path: str) -> bool:
    root, is_of_state, name = f"{path}/".partition("/.rv/done/")
    return bool(is_of_state) and leaves_folder(root, [".rv", "done", *filter(None, name.split("/"))])


def _is_new_folder(link: str, linked: set[str]) -> bool:
    target = os.path.realpath(link)
    parent = os.path.realpath(os.path.dirname(link))
    if target in linked or (parent + "/").startswith(target.rstrip("/") + "/") or _leads_out_of_root(link):
        return False
    linked.add(target)
    return True


@contextmanager
def temporary_file(path: str, attempt_tag: str = "") -> Iterator[str]:
    """A path beside the target to write to. What is left there at the end is removed.

    The folder of the target is created.

    Raises:
        StorageError: if it cannot be created.
    """
    folder = os.path.dirname(path)
    with explained("write", path):
        os.makedirs(folder or ".", exist_ok=True)
    name = temporary_name(os.path.basename(path), attempt_tag)
    try:
        yield os.path.join(folder, name)
    finally:
        # The usual ends: renamed away (nothing is left), or one file left after an error or beside a link.
        with suppress(OSError):
            os.unlink(os.path.join(folder, name))


def publish(temporary: str, path: str, *, is_synced: bool = True) -> None:
    """Renames a written (and synced) temporary file to its target."""
    os.replace(temporary, path)
    if is_synced:
        _sync_folder(os.path.dirname(path))


def sync(path: str) -> None:
    """Waits until the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: str) -> None:
    # Some network file systems refuse to sync a folder; the rename itself has been made.
    with suppress(OSError):
        sync(folder or ".")


def _write_new(path: str, data: bytes, is_synced: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if is_synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(path: str) -> tuple[int, str]:
    """(bytes, SHA-256 in hexadecimal) of a file, read in one pass."""
    total = hashlib.sha256()
    size = 0
    buffer = memoryview(bytearray(_READ_BYTES))
    with open(path, "rb", buffering=0, opener=open_no_stream) as file:
        while num_read := file.readinto(buffer):
            total.update(buffer[:num_read])
            size += num_read
    return size, total.hexdigest()


def leaves_folder(root: str, parts: Sequence[str]) -> bool:
    """Whether a path below a folder passes a link that leads out of it. Costs one look per part."""
    path = root
    for part in parts:
        path = f"{path}/{part}"
        try:
            is_link = stat_module.S_ISLNK(os.lstat(path).st_mode)
        except OSError:
            return False
        if is_link and not (os.path.realpath(path) + "/").startswith(os.path.realpath(root).rstrip("/") + "/"):
            return True
    return False
