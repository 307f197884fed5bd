"""What went wrong with a local file, said so that the user can mend it: what, where, how much is free, what next."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rv_core.errors import StorageError

#: What `OSError.errno` is when nothing more can be written here.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
#: What it is when this process, or the machine, has as many files open as it may.
TOO_MANY = (errno.EMFILE, errno.ENFILE)

_GIVEN_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_NO_FILE = "it is a pipe, a device or a socket, and no file"

#: With less than this free, an event or a line of a log may not find room.
_SMALL_FILE_BYTES = 64 * 1024


class MissingFileError(StorageError, FileNotFoundError):
    """The file was asked for and is not there – as against a store that could not be asked."""


@contextmanager
def explained(action: str, path: str, shown: str = "") -> Iterator[None]:
    """Turns an `OSError` into a `StorageError` that says what, where, why and what to do.

    Args:
        action: a verb for the message, such as "read" or "write".
        path: the local path that was worked on.
        shown: what to call it in the message, if not by its path.
    """
    try:
        yield
    except OSError as err:
        if isinstance(err, StorageError):
            raise
        raise explain(err, action, path, shown) from err
    except UnicodeEncodeError as err:
        raise _no_file_name(err, action, shown or path) from err


def open_no_stream(path: str, flags: int) -> int:
    """The `opener` that `open` is given for a file that is read whole.

    A pipe, a device or a socket that lies in its place is neither waited for nor read without an end. What this process
    was given as a stream (`/dev/stdin`, the `/dev/fd/63` of a shell's `<(…)`) is opened as it is.
    """
    if path.startswith(_GIVEN_STREAMS):
        return os.open(path, flags)
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
    except OSError as err:
        if err.errno == errno.ENXIO:  # what a socket says, and a device that is not there
            raise OSError(errno.EINVAL, _NO_FILE, path) from err
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # what is wrong with a folder Python says
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, _NO_FILE, path)


def open_no_endless(path: str, flags: int) -> int:
    """`open_no_stream` for a file that the user has named: a pipe is one too."""
    is_pipe = stat.S_ISFIFO(os.stat(path).st_mode)
    return os.open(path, flags) if is_pipe else open_no_stream(path, flags)


def explain(err: OSError, action: str, path: str, shown: str = "") -> StorageError:
    """The `StorageError` for an `OSError` of a local file."""
    shown = shown or path
    if err.errno == errno.ENOENT and action == "read":
        return missing(shown)
    why, fix = _reason(err, path)
    return StorageError(f"cannot {action} {os.path.basename(shown) or shown!r}", where=shown, why=why, fix=fix)


def _no_file_name(err: UnicodeEncodeError, action: str, shown: str) -> StorageError:
    """The error for a name that this process cannot give to a file: its locale is C, and nothing makes up for it."""
    is_locale = err.encoding.lower().replace("-", "") != "utf8"
    return StorageError(
        f"cannot {action} {os.path.basename(shown) or shown!r}",
        where=shown,
        why=f"the names of files are {err.encoding} here, which has no {err.object[err.start]!r}",
        fix="set LC_ALL=C.UTF-8 (or PYTHONUTF8=1)" if is_locale else "choose another name",
    )


def missing(shown: str, path: str = "") -> MissingFileError:
    """The error for a file that is not there, or where something else lies at its local path."""
    is_else = bool(path) and os.path.exists(path)
    what = "is no plain file" if is_else else "does not exist"
    return MissingFileError(f"{os.path.basename(shown.rstrip('/')) or shown!r} {what}", where=shown)


def expect_free_files(num_files: int) -> None:
    """Refuse to begin what would fail half-way, at whatever happens to open one file too many.

    Raises:
        StorageError: if this process may not open so many more files now.
    """
    try:
        with ExitStack() as stack:
            for _ in range(num_files):
                stack.enter_context(open(os.devnull, "rb"))
    except OSError as err:
        if err.errno in TOO_MANY:
            raise too_many_files(OSError(err.errno, err.strerror)) from err


def too_many_files(err: OSError) -> StorageError:
    """The error for an `OSError` that says that no more files can be opened."""
    why, fix = _reason(err, "")
    what = "this machine" if err.errno == errno.ENFILE else "this process"
    return StorageError(f"{what} cannot open enough files", where=str(err.filename or ""), why=why, fix=fix)


def _reason(err: OSError, path: str) -> tuple[str, str]:
    if err.errno == errno.EMFILE:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return (
            f"a process may have no more than {limit} files open here",
            "allow more, such as `ulimit -n 1024`, then run the same command again",
        )
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return describe_space(path, is_quota=err.errno == errno.EDQUOT), (
            "free some space or use a folder on a larger disk, then run the same command again: it goes on from there"
        )
    if err.errno == errno.EROFS:
        return "the file system is mounted read-only", "use a folder that can be written to"
    if err.errno in (errno.EACCES, errno.EPERM):
        return "permission denied", f"change the permissions of {_existing_folder(path)} or use another folder"
    return _what_is_in_the_way(err, path)


def _what_is_in_the_way(err: OSError, path: str) -> tuple[str, str]:
    if err.errno == errno.EISDIR:
        return "it is a folder", "name a file; where rv itself needs the name, move the folder away and run it again"
    if err.errno == errno.ENOTDIR:
        return f"{_file_in_the_way(path)} is a file, and no folder", "move that file away, or use another folder"
    return err.strerror or str(err), ""


def describe_space(path: str, *, is_quota: bool = False) -> str:
    """How much is free where a path is, as a sentence."""
    folder = _existing_folder(path)
    free_bytes, total_bytes, free_files = free_space(folder)
    if is_quota:
        return f"the disk quota is used up; the file system of {folder} has {_in_units(free_bytes)} free"
    if free_bytes > 0 and free_files == 0:
        return f"the file system of {folder} has no room for another file (no inodes left)"
    return f"the disk is full: {_in_units(free_bytes)} of {_in_units(total_bytes)} free in {folder}"


def full_disk(folder: str) -> str:
    """That the disk of a folder is full, as a sentence; "" if there is still room for a small file."""
    path = os.path.join(folder, "file")
    free_bytes, _, free_files = free_space(_existing_folder(path))
    return describe_space(path) if free_bytes < _SMALL_FILE_BYTES or free_files == 0 else ""


def free_space(folder: str) -> tuple[int, int, int]:
    """(free bytes, bytes in all, free inodes or -1 where the file system does not count them), for this user."""
    status = os.statvfs(folder)
    return (
        status.f_bavail * status.f_frsize,
        status.f_blocks * status.f_frsize,
        status.f_favail if status.f_files else -1,
    )


def _existing_folder(path: str) -> str:
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _file_in_the_way(path: str) -> str:
    """The part of a path that should be a folder, and is a file."""
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    return folder


def _in_units(num_bytes: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes} bytes"
