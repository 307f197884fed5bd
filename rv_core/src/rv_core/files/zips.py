"""Zips that came from elsewhere: what is refused before anything in them is opened."""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rv_core.errors import DataError, Finding

_DRIVE = re.compile(r"[A-Za-z]:")
_ENCRYPTED = 0x1
#: Files below this size may be compressed to any ratio: a few zeros are no bomb.
_RATIO_FREE_BYTES = 1_000_000


class ZipLimits(NamedTuple):
    """What a zip may hold at most.

    Args:
        max_files: number of entries.
        max_file_bytes: size of one entry when it is unpacked.
        max_total_bytes: size of all entries when they are unpacked.
        max_ratio: unpacked size of an entry over its size in the zip, above a megabyte.
    """

    max_files: int = 1_000
    max_file_bytes: int = 4 * 1024**3
    max_total_bytes: int = 8 * 1024**3
    max_ratio: float = 200.0


#: Limits of the code that travels with a run.
CODE_LIMITS = ZipLimits(max_files=2_000, max_file_bytes=16 * 1024**2, max_total_bytes=64 * 1024**2)


def check_zip(
    archive: str | os.PathLike[str] | bytes, limits: ZipLimits | None = None, *, source: str = ""
) -> list[str]:
    """The names of the files in a zip, after looking at its directory only.

    Refused are links and other special files, absolute names, drive letters, backslashes, `..`, names that occur
    twice or are both file and folder, encrypted entries, and what exceeds the limits.

    Args:
        archive: its path, or its bytes.
        limits: the limits; those of `ZipLimits()` when None.
        source: what to call it in messages; its path when "".

    Raises:
        DataError: if it is no zip, or with everything in it that is refused.
    """
    place = source or ("a zip" if isinstance(archive, bytes) else os.fspath(archive))
    try:
        with zipfile.ZipFile(io.BytesIO(archive) if isinstance(archive, bytes) else Path(archive)) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        raise DataError("not a readable zip", where=place, why=str(err)) from err
    findings = list(_problems(entries, limits or ZipLimits()))
    if findings:
        raise DataError("this zip is refused; nothing of it was opened", where=place, findings=findings[:20])
    return [entry.filename for entry in entries if not entry.is_dir()]


def _problems(entries: list[zipfile.ZipInfo], limits: ZipLimits) -> Iterator[Finding]:
    if len(entries) > limits.max_files:
        yield Finding("", f"{len(entries)} entries are above the limit of {limits.max_files}")
        return
    seen: set[str] = set()
    files = {entry.filename for entry in entries if not entry.is_dir()}
    for entry in entries:
        problem = problem_with_name(entry.orig_filename) or _problem_with_entry(entry, limits)
        if problem is None and entry.filename.rstrip("/") in seen:
            problem = "occurs twice"
        if problem is None and any(parent in files for parent in _parents(entry.filename)):
            problem = "lies in a folder that is also a file"
        seen.add(entry.filename.rstrip("/"))
        if problem:
            yield Finding(repr(entry.orig_filename)[:100], problem)
    total_bytes = sum(entry.file_size for entry in entries)
    if total_bytes > limits.max_total_bytes:
        yield Finding("", f"{total_bytes} bytes unpacked are above the limit of {limits.max_total_bytes}")


def problem_with_name(name: str) -> str | None:
    """What is wrong with the name of an entry, or None: it must stay below the folder that it is unpacked in."""
    if not name or "\x00" in name or any(ord(character) < 32 for character in name):
        return "has no usable name"
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute name"
    if "\\" in name:
        return "has a backslash in its name"
    if any(part in ("..", ".", "") for part in name.removesuffix("/").split("/")):
        return "has '..', '.' or an empty part in its name"
    return None


def _problem_with_entry(entry: zipfile.ZipInfo, limits: ZipLimits) -> str | None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link" if kind == stat.S_IFLNK else "is a special file"
    if entry.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if entry.file_size > limits.max_file_bytes:
        return f"has {entry.file_size} bytes unpacked, above the limit of {limits.max_file_bytes}"
    if entry.file_size > _RATIO_FREE_BYTES and entry.file_size > limits.max_ratio * max(entry.compress_size, 1):
        return f"unpacks to more than {limits.max_ratio:g} times its size"
    return None


def _parents(name: str) -> Iterator[str]:
    parts = name.rstrip("/").split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
