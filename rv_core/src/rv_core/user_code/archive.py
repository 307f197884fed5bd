"""Code that travels, as a deterministic zip that tasks import from.

It holds the config module that was given by path, and more where the user asks for it (`shipping`).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rv_core.errors import ConfigError

if TYPE_CHECKING:
    from zipfile import ZipFile

#: The oldest time that a zip can hold, so that equal code gives equal bytes.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_REGULAR_FILE = 0o100644 << 16
_FOLDER = (0o040755 << 16) | 0x10
#: Folders and archives that this module has put on the path.
_ON_PATH: list[str] = []


def archive_name(sha256: str) -> str:
    """Where the zip lies, relative to the root."""
    return f".rv/code/{sha256}.zip"


def pack_module(path: str | os.PathLike[str], module: str = "") -> tuple[str, bytes]:
    """The zip of one `.py` file; equal text gives equal bytes, on every machine.

    Args:
        path: the file.
        module: the name under which it is imported; that of the file when "".

    Returns:
        (SHA-256 of the zip in hexadecimal, its bytes).
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    return pack_files({f"{module or stem}.py": path})


def pack_files(paths: Mapping[str, str | os.PathLike[str]]) -> tuple[str, bytes]:
    """The zip of some files; equal content gives equal bytes, on every machine.

    Args:
        paths: name in the zip -> file.

    Returns:
        (SHA-256 of the zip in hexadecimal, its bytes).
    """
    import io
    import zipfile

    buffer = io.BytesIO()
    # Stored, not deflated: the output of deflate differs between builds of zlib.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted({**_bare_folders(paths), **paths}.items()):
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.external_attr = _REGULAR_FILE if path else _FOLDER
            entry.create_system = 3
            archive.writestr(entry, _read(path) if path else b"")
    data = buffer.getvalue()
    return hashlib.sha256(data).hexdigest(), data


def _bare_folders(names: Iterable[str]) -> dict[str, str]:
    """Folders without `__init__.py`: packages too, but Python finds them in a zip by an entry of their own alone."""
    known = set(names)
    parts = [name.split("/")[:-1] for name in known]
    folders = {"/".join(above[:depth]) for above in parts for depth in range(1, len(above) + 1)}
    return {f"{folder}/": "" for folder in folders if f"{folder}/__init__.py" not in known}


def _read(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def describe_code(module: str, sha256: str, folder: str) -> dict[str, str]:
    """The `code` of a saved config.

    Args:
        module: the module's name.
        sha256: the hash of its zip.
        folder: the folder that the file was in; what it imports from there works on this machine.
    """
    return {"module": module, "sha256": sha256, "archive": archive_name(sha256), "folder": folder}


def activate_code(code: Mapping[str, Any], local_zip_path: str | os.PathLike[str], original_dir: str | None) -> None:
    """Make the module of a saved config importable in this process, from its zip.

    The zip goes to the end of `sys.path`, the original folder after it; the module itself is always taken from the
    zip, even if a file of its name lies in the working directory. So are the other top-level `names` that travel, even
    if they are installed. A module of the same name that came from another place is forgotten.

    Args:
        code: `code` of the saved config. Where it names no archive, only the folder goes on the path.
        local_zip_path: the zip, on this machine.
        original_dir: the folder that the module was loaded from, or None. One that is not here is left out.

    Raises:
        ConfigError: if the zip is not the one that was saved.
        DataError: if it holds what no zip of ours holds.
    """
    if not code.get("archive"):
        if original_dir and os.path.isdir(original_dir):
            add_folder(original_dir)
        return
    zip_path = os.fspath(local_zip_path)
    check_code(code, _read(zip_path), source=zip_path)
    _forget_path()
    for place in (zip_path, original_dir):
        if place and os.path.exists(place) and place not in sys.path:
            sys.path.append(place)
            _ON_PATH.append(place)
    names = frozenset(code.get("names") or [str(code["module"])])
    _forget_others(names, zip_path)
    sys.meta_path.insert(0, _CodeFinder(names, zip_path))


def check_code(code: Mapping[str, Any], data: bytes, *, source: str) -> None:
    """Refuse a zip that is not the one that was saved, or that holds more than Python files of sane size.

    Raises:
        ConfigError: if the hash is another one.
        DataError: if it holds what no zip of ours holds.
    """
    found = hashlib.sha256(data).hexdigest()
    if found != code.get("sha256"):
        raise ConfigError(
            "the code that travels with this config was changed or damaged",
            where=source,
            why=f"its SHA-256 is {found[:16]}…, the config names {str(code.get('sha256'))[:16]}…",
            fix="start the run again from the module",
        )
    if not _is_one_stored_module(data):
        from rv_core.files.zips import CODE_LIMITS, check_zip

        check_zip(data, CODE_LIMITS, source=source)


def _is_one_stored_module(data: bytes) -> bool:
    """Whether a zip is laid out as `pack_module` does it: nothing in it to refuse, and no `zipfile` to import.

    The offsets are those of the ZIP specification (APPNOTE 4.3.12 and 4.3.16): one central header of 46 bytes and a
    name, and the end record of 22 bytes behind it.
    """
    import struct

    if len(data) < 46 + 22 or data[-22:-18] != b"PK\x05\x06":
        return False
    num_entries, size, offset, comment = struct.unpack("<HIIH", data[-12:])
    header = data[offset : offset + size]
    if num_entries != 1 or comment or offset + size + 22 != len(data) or header[:4] != b"PK\x01\x02" or size < 46:
        return False
    flags, method = struct.unpack("<HH", header[8:12])
    packed_bytes, plain_bytes = struct.unpack("<II", header[20:28])
    (attributes,) = struct.unpack("<I", header[38:42])
    name = header[46:].decode("ascii", "replace")
    is_plain = flags == 0 and method == 0 and packed_bytes == plain_bytes and attributes == _REGULAR_FILE
    return is_plain and name.endswith(".py") and name[:-3].isidentifier()


def add_folder(folder: str) -> None:
    """Put the folder of a config module last on the path, in place of that of the one before."""
    _forget_path()
    if folder not in sys.path:
        sys.path.append(folder)
        _ON_PATH.append(folder)


def _forget_path() -> None:
    """Undo what an earlier call has put on the path: only one config module is in use at a time."""
    for place in _ON_PATH:
        if place in sys.path:
            sys.path.remove(place)
    _ON_PATH.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _CodeFinder)]


def _forget_others(names: Collection[str], zip_path: str) -> None:
    """Forget modules of these top-level names whose text is not the one in the zip.

    In the process that packed it they are the same, and must not be loaded twice.
    """
    loaded = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}
    if not loaded:
        return
    import zipfile

    with zipfile.ZipFile(zip_path) as archive:
        others = {
            name.partition(".")[0] for name, module in loaded.items() if not _is_same_code(module, zip_path, archive)
        }
    for name in loaded:
        if name.partition(".")[0] in others:
            del sys.modules[name]


def _is_same_code(module: ModuleType, zip_path: str, archive: ZipFile) -> bool:
    origin = getattr(module, "__file__", None) or ""
    if not origin:
        return hasattr(module, "__path__")  # a package without text
    if origin.startswith(zip_path):
        return True
    path = module.__name__.replace(".", "/")
    try:
        return archive.read(f"{path}/__init__.py" if hasattr(module, "__path__") else f"{path}.py") == _read(origin)
    except (OSError, KeyError):
        return False


class _CodeFinder:
    """Finds some top-level modules, in one zip, before anything else is asked."""

    # Not a MetaPathFinder: importing importlib.abc would cost a task 10 ms.

    def __init__(self, names: frozenset[str], zip_path: str) -> None:
        self._names = names
        self._zip_path = zip_path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        from zipimport import zipimporter

        return zipimporter(self._zip_path).find_spec(fullname, target)
