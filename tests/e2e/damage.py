"""Everything that can happen to a file of a root: what lies in its place afterwards."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], object]


def _put(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def _edit(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: _put(path, change(path.read_bytes()))


def _replaced(make: Callable[[Path], object]) -> Damage:
    def put(path: Path) -> None:
        path.unlink()
        make(path)

    return put


def _filled_folder(path: Path) -> None:
    path.mkdir()
    (path / "x.json").write_text("{}")


def _link_to_copy(path: Path) -> None:
    outside = path.parent.parent / f"{path.name}.elsewhere"
    shutil.move(path, outside)
    path.symlink_to(outside)


_NUMBER = re.compile(rb"(?<=[:\[,]) ?-?\d+(?:\.\d+)?(?=[,}\]\s])")

#: Name -> what does it to a file. Texts of other files and tables of bytes are damaged by them too.
DAMAGES: dict[str, Damage] = {
    "missing": lambda path: path.unlink(),
    "empty": _edit(lambda data: b""),
    "blank": _edit(lambda data: b"\n"),
    "cut in half": _edit(lambda data: data[: len(data) // 2]),
    "cut at the end": _edit(lambda data: data[:-2]),
    "a list": _edit(lambda data: b"[]"),
    "a number": _edit(lambda data: b"5"),
    "null": _edit(lambda data: b"null"),
    "an empty object": _edit(lambda data: b"{}"),
    "a list of text": _edit(lambda data: b'["x"]'),
    "nested lists": _edit(lambda data: b"[" * 100_000),
    "nested objects": _edit(lambda data: b'{"a":' * 100_000),
    "nested inside": _edit(lambda data: data.rstrip()[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}\n"),
    "huge numbers": _edit(lambda data: _NUMBER.sub(b"1" + b"0" * 30, data)),
    "infinite numbers": _edit(lambda data: _NUMBER.sub(b"1e999", data)),
    "endless numbers": _edit(lambda data: _NUMBER.sub(b"9" * 5000, data)),
    "negative numbers": _edit(lambda data: _NUMBER.sub(b"-7", data)),
    "numbers as text": _edit(lambda data: _NUMBER.sub(b'"x"', data)),
    "texts as numbers": _edit(lambda data: re.sub(rb': ?"[^"]*"', b":7", data)),
    "texts as null": _edit(lambda data: re.sub(rb': ?"[^"]*"', b":null", data)),
    "texts as lists": _edit(lambda data: re.sub(rb': ?"[^"]*"', b":[1]", data)),
    "names of fields changed": _edit(lambda data: re.sub(rb'"(\w+)":', rb'"x\1":', data)),
    "half a character": _edit(lambda data: re.sub(rb': ?"[^"]*"', rb':"\\ud800"', data)),
    "no UTF-8": _edit(lambda data: data[:20] + b"\xff\xfe\x80" + data[20:]),
    "a control character": _edit(lambda data: re.sub(rb': ?"[^"]*"', rb':"\\u001b]0;x\\u0007"', data)),
    "noise": _edit(lambda data: os.urandom(300)),
    "a folder": _replaced(lambda path: path.mkdir()),
    "a filled folder": _replaced(_filled_folder),
    "a link to nowhere": _replaced(lambda path: path.symlink_to("/nonexistent/x")),
    "a link to itself": _replaced(lambda path: path.symlink_to(path.name)),
    "a link to a folder": _replaced(lambda path: path.symlink_to("/dev/fd")),
    "a link to a device": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to a copy": _link_to_copy,
    "a pipe": _replaced(os.mkfifo),
}
