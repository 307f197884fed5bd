"""Zips that are refused before anything in them is opened."""

from __future__ import annotations

import io
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from rv_core import DataError
from rv_core.files.zips import ZipLimits, check_zip


def zip_of(*names: str, data: bytes = b"x", mode: int | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # zipfile warns of names that occur twice
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename = name  # as it is: the constructor would mend it
            entry.compress_type = compression
            if mode is not None:
                entry.external_attr = mode << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def test_a_plain_zip_lists_its_files(tmp_path: Path) -> None:
    data = zip_of("model.bin", "folder/", "folder/stats.json")
    assert check_zip(data) == ["model.bin", "folder/stats.json"]
    path = tmp_path / "bundle.zip"
    path.write_bytes(data)
    assert check_zip(path) == check_zip(str(path)) == ["model.bin", "folder/stats.json"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (zip_of("/etc/passwd"), "absolute name"),
        (zip_of("C:/windows/x"), "absolute name"),
        (zip_of("../x"), "'..'"),
        (zip_of("a/../../x"), "'..'"),
        (zip_of("a//b"), "empty part"),
        (zip_of("a/./b"), "'.'"),
        (zip_of("a\\b"), "backslash"),
        (zip_of("a\nb"), "no usable name"),
        (zip_of("x", "x"), "occurs twice"),
        (zip_of("x", "x/y"), "also a file"),
        (zip_of("link", mode=stat.S_IFLNK | 0o777), "is a link"),
        (zip_of("pipe", mode=stat.S_IFIFO | 0o600), "special file"),
        (zip_of("zeros", data=bytes(5_000_000), compression=zipfile.ZIP_DEFLATED), "times its size"),
    ],
)
def test_hostile_entries_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        check_zip(data, source="bundle.zip")
    assert problem in str(caught.value)
    assert "bundle.zip" in str(caught.value)


def test_limits_are_kept() -> None:
    data = zip_of("a", "b", "c", data=b"12345")
    for limits in (ZipLimits(max_files=2), ZipLimits(max_file_bytes=4), ZipLimits(max_total_bytes=14)):
        with pytest.raises(DataError, match="above the limit"):
            check_zip(data, limits)
    assert len(check_zip(data, ZipLimits(max_files=3, max_file_bytes=5, max_total_bytes=15))) == 3


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(DataError) as caught:
        check_zip(zip_of("/a", "../b", "ok"))
    assert len(caught.value.findings) == 2


def test_an_encrypted_entry_is_refused() -> None:
    data = bytearray(zip_of("secret"))
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<H", data, central + 8, 1)
    with pytest.raises(DataError, match="is encrypted"):
        check_zip(bytes(data))


@pytest.mark.parametrize("data", [b"", b"no zip", zip_of("x")[:20]])
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="not a readable zip"):
        check_zip(data)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable zip"):
        check_zip(tmp_path / "none.zip")
