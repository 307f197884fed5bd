"""Outputs that a library writes by path: aside first, then checked, hashed and put in place – or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rv_core.errors import RvError, StorageError
from rv_core.files import local, problems
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
