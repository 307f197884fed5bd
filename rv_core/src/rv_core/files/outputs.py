"""Outputs that a library writes by path, or that are taken from elsewhere: made aside, checked, hashed, put in place.

Or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from rv_core.errors import RvError, StorageError
from rv_core.files import by_uri, local, problems, uris
from rv_core.files.local import FileInfo
from rv_core.files.stores import path_of
from rv_core.machine.folders import scratch_folder

# Libraries such as GDAL report a full disk without an error number: with less than this free we say so for them.
_NEARLY_NOTHING_BYTES = 1 << 20


@dataclass
class PendingOutput:
    """An output on its way.

    Args:
        path: where to write it.
        bytes: its size, known at the end.
        sha256: the hash of its content in hexadecimal, known at the end.
    """

    path: Path
    bytes: int = 0
    sha256: str = ""


@contextmanager
def local_output(path: str, attempt_tag: str) -> Iterator[PendingOutput]:
    """Writes a local file aside and renames it at the end of the block.

    Args:
        path: the target.
        attempt_tag: enters the name of the temporary file.

    Raises:
        StorageError: if nothing was written, or it cannot be put in place, or the disk is full.
    """
    with local.temporary_file(path, attempt_tag) as temporary:
        with problems.explained("write", path):
            _check_writable(os.path.dirname(path))
        output = PendingOutput(Path(temporary))
        with _watched(output, path):
            yield output
        with problems.explained("write", path):
            local.sync(temporary)
            local.publish(temporary, path)


@contextmanager
def remote_output(uri: str) -> Iterator[PendingOutput]:
    """Writes a file to the scratch folder and uploads it at the end of the block.

    Raises:
        StorageError: if nothing was written, or it cannot be uploaded, or the local disk is full.
    """
    from rv_core.files import asking

    target = str(scratch_folder() / uri.rpartition("/")[2])
    with local.temporary_file(target, "upload") as temporary:
        output = PendingOutput(Path(temporary))
        with _watched(output, uri):
            yield output
        asking.ask("write", uri, lambda store: store.upload(temporary, uri))


def _check_writable(folder: str) -> None:
    # Said before a library says it in words of its own.
    if not os.access(folder or ".", os.W_OK | os.X_OK):
        is_read_only = os.statvfs(folder or ".").f_flag & os.ST_RDONLY
        raise OSError(errno.EROFS if is_read_only else errno.EACCES, "cannot create files here")


@contextmanager
def _watched(output: PendingOutput, shown: str) -> Iterator[None]:
    temporary = str(output.path)
    side_files: list[str] = []
    try:
        yield
    except Exception as err:
        if explained := _full_disk(err, temporary, shown):
            raise explained from err
        raise
    finally:
        side_files = _remove_side_files(temporary)
    if not os.path.isfile(temporary):
        raise _nothing_written(temporary, shown, side_files)
    with problems.explained("write", shown):
        output.bytes, output.sha256 = local.digest(temporary)


def _remove_side_files(temporary: str) -> list[str]:
    """Removes what a library has put beside a temporary file (`<name>.aux.xml`, `<name>.npy`); their names."""
    folder, name = os.path.split(temporary)
    with os.scandir(folder or ".") as entries:
        left = [entry.name for entry in entries if entry.name.startswith(name) and entry.name != name]
    for side in left:
        with suppress(OSError):
            os.unlink(os.path.join(folder, side))
    return left


def _full_disk(err: Exception, temporary: str, shown: str) -> StorageError | None:
    if isinstance(err, RvError):
        return None
    if isinstance(err, OSError) and err.errno in problems.FULL:
        return problems.explain(err, "write", temporary, shown)
    free_bytes, _, free_files = problems.free_space(os.path.dirname(temporary))
    if free_bytes >= _NEARLY_NOTHING_BYTES and free_files != 0:
        return None
    full = OSError(errno.ENOSPC, f"{type(err).__name__}: {err}")
    return problems.explain(full, "write", temporary, shown)


def _nothing_written(temporary: str, shown: str, side_files: list[str]) -> StorageError:
    name = os.path.basename(shown)
    if not side_files:
        return StorageError(f"nothing was written to the path of output {name!r}", where=shown)
    endings = ", ".join(sorted(side[len(os.path.basename(temporary)) :] for side in side_files))
    return StorageError(
        f"nothing was written to the path of output {name!r}",
        where=shown,
        why=f"the library that wrote it has added {endings} to the name",
        fix="open the path yourself and hand over the file object, for instance numpy.save(open(path, 'wb'), array)",
    )


class UnusableSourceError(StorageError):
    """A file that was to be taken from elsewhere is missing, unreadable, or not what is recorded of it."""


#: (bytes, SHA-256 in hexadecimal).
Digest = tuple[int, str]
_CHUNK_BYTES = 1 << 20


@contextmanager
def checked_copy(
    source_uri: str, target_uri: str, expected: Digest | None, attempt_tag: str
) -> Iterator[Callable[[], Digest]]:
    """Makes a copy of a file aside and gives what puts it in place. Nothing is ever written where the source lies.

    On one file system the copy is a hard link: outputs are replaced and never written into, so neither root notices the
    other. Within a store that can copy by itself no byte of it passes through here but for the check.

    Args:
        source_uri: the file.
        target_uri: where it is to be.
        expected: what is recorded of it; None for a file that others may write into, which is always copied.
        attempt_tag: enters the name of the temporary file.

    Raises:
        UnusableSourceError: if it cannot be read, or is not as recorded.
        StorageError: if the copy cannot be written.
    """
    with by_uri.opened_uri(source_uri) as source, by_uri.opened_uri(target_uri) as target:
        is_local = uris.is_local(target)
        aside = path_of(target) if is_local else str(scratch_folder() / uris.name_of(target))
        with local.temporary_file(aside, attempt_tag) as temporary:
            found, info = _fetched(source, temporary, may_link=is_local and expected is not None)
            if expected not in (None, found):
                raise _not_as_recorded(source, found, expected)

            def place() -> Digest:
                if is_local:
                    with problems.explained("write", target):
                        local.publish(temporary, aside)
                else:
                    _put(source, info, temporary, target)
                return found

            yield place


def _fetched(source: str, temporary: str, *, may_link: bool) -> tuple[Digest, FileInfo | None]:
    """A file as it is now, under a temporary name: linked, copied, or downloaded; then with what its store says of it."""
    if not uris.is_local(source):
        from rv_core.files import asking

        with _of_source():
            info = asking.ask("read", source, lambda store: asking.download_anew(store, source, temporary))
        return local.digest(temporary), info
    path = path_of(source)
    if may_link:
        with suppress(OSError):  # another file system, one without links, a file of somebody else's: it is copied
            os.link(os.path.realpath(path), temporary)
            with _of_source(), problems.explained("read", source):
                return local.digest(temporary), None
    return _copied(path, temporary), None


def _copied(path: str, temporary: str) -> Digest:
    total, size = hashlib.sha256(), 0
    with _of_source(), problems.explained("read", path):
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below, where other errors are explained
    with file, problems.explained("write", temporary), open(temporary, "xb") as target:
        while data := _chunk(file):
            target.write(data)
            total.update(data)
            size += len(data)
        target.flush()
        os.fsync(target.fileno())
    return size, total.hexdigest()


def _chunk(file: FileIO) -> bytes:
    with _of_source(), problems.explained("read", str(file.name)):
        return file.read(_CHUNK_BYTES)


def _put(source: str, fetched: FileInfo | None, temporary: str, target: str) -> None:
    """Puts a fetched file into a store: by the store itself where that can, and the file still is the one fetched."""
    from rv_core.files import asking

    if fetched is not None and uris.scheme_of(source) == uris.scheme_of(target):
        is_copied = asking.ask("write", target, lambda store: store.copy(source, target))
        if is_copied and asking.ask("look at", source, lambda store: store.stat(source)) == fetched:
            return
    asking.ask("write", target, lambda store: store.upload(temporary, target))


@contextmanager
def _of_source() -> Iterator[None]:
    try:
        yield
    except StorageError as err:
        block = err.block
        raise UnusableSourceError(block.what, where=block.where, why=block.why, fix=block.fix) from err


def _not_as_recorded(source: str, found: Digest, expected: Digest | None) -> UnusableSourceError:
    size = expected[0] if expected else 0
    differs = "other bytes than" if found[0] == size else f"{found[0]} bytes instead of {size} as"
    return UnusableSourceError(f"{uris.name_of(source)} has {differs} recorded", where=source)
