"""What `--ship-code` sends along: the user's module, what that imports from its own folder, and packages by name.

Only what is named or imported, never a whole working directory; and only pure Python, since what is compiled belongs
into the image.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from rv_core.errors import DataError, Finding, UsageError, nearest
from rv_core.files.zips import CODE_LIMITS, check_zip
from rv_core.user_code.archive import describe_code, pack_files

_COMPILED = (".so", ".pyd", ".dylib", ".dll")
_LEFT_OUT = (".pyc", ".pyo")
_INSTALLED = ("site-packages", "dist-packages")
#: What runs before code that travels is on the path.
_NEVER = ("rv_core",)


class _Place(NamedTuple):
    """Where a top-level module or package is: a file, or a folder."""

    name: str
    path: str


def siblings_of(module: ModuleType) -> tuple[str, ...]:
    """Top-level modules and packages that a module, or what it imports, has imported from its own folder.

    Args:
        module: the user's module, loaded by path.
    """
    folder = os.path.realpath(os.path.dirname(module.__file__ or ""))
    own = module.__name__.partition(".")[0]
    return tuple(sorted(place.name for place in _loaded_from(folder) if place.name != own))


def _loaded_from(folder: str) -> Iterator[_Place]:
    for name, loaded in list(sys.modules.items()):
        if "." in name or name == "__main__":
            continue
        path = path_of(getattr(loaded, "__file__", None), getattr(loaded, "__path__", None))
        if path and os.path.dirname(os.path.realpath(path)) == folder:
            yield _Place(name, path)


def path_of(file: str | None, package_path: Any) -> str:
    """The file of a module, or the folder of a package (one without `__init__.py` included); "" if it has none."""
    folders = [str(folder) for folder in package_path] if package_path is not None else []
    path = folders[0] if folders else file or ""
    return path if os.path.exists(path) else ""


def ship(module: ModuleType, code: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """The zip of the user's module with all that is to travel with it.

    Args:
        module: the user's module.
        code: the `code` of a saved config that comes from it; with an `archive` if it was loaded by path.
        names: packages or modules to send besides, by the name that is imported or that of the distribution.

    Returns:
        (the `code` of the saved config, the zip).

    Raises:
        UsageError: if a name is not found here, or cannot travel.
    """
    places = {place.name: place for place in _own_places(module, by_path=bool(code.get("archive")))}
    findings: list[Finding] = []
    for name in names:
        found = _named_place(name)
        if isinstance(found, Finding):
            findings.append(found)
        else:
            places[found.name] = found
    entries: dict[str, str] = {}
    for place in places.values():
        files = dict(_files_of(place))
        findings += _problems_with(place, files)
        entries.update(files)
    if findings:
        raise UsageError("this code cannot travel", findings=findings, fix="build it into the image instead")
    sha256, data = pack_files(entries)
    try:
        check_zip(data, CODE_LIMITS, source="the code to send")
    except DataError as error:
        raise UsageError("this code is too much to travel", findings=error.findings) from error
    described = describe_code(code.get("module") or module.__name__, sha256, str(code.get("folder", "")))
    return {**described, "names": sorted(places)}, data


def _own_places(module: ModuleType, *, by_path: bool) -> Iterator[_Place]:
    """The user's module, or for a dotted one its whole top-level package, and what lies beside it and was imported."""
    top_name = module.__name__.partition(".")[0]
    top = module if by_path else sys.modules[top_name]
    path = path_of(top.__file__, getattr(top, "__path__", None))
    yield _Place(top_name, path)
    folder = os.path.realpath(os.path.dirname(path))
    if not any(part in folder.split(os.sep) for part in _INSTALLED):
        yield from (place for place in _loaded_from(folder) if place.name != top_name)


def _named_place(name: str) -> _Place | Finding:
    package = name.replace("-", "_")
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    path = path_of(spec.origin, spec.submodule_search_locations) if spec else ""
    if not path or package in sys.stdlib_module_names:
        near = nearest(package, [known for known in sys.modules if "." not in known and not known.startswith("_")])
        return Finding(
            f"--ship-code={name}",
            "no package of this name is installed here",
            f"did you mean {near!r}?" if near else "",
        )
    return _Place(package, path)


def _files_of(place: _Place) -> Iterator[tuple[str, str]]:
    """(name in the zip, path) of every file of a module or package."""
    if os.path.isfile(place.path):
        yield f"{place.name}.py", place.path
        return
    for folder, subfolders, files in os.walk(place.path):
        subfolders[:] = sorted(name for name in subfolders if name != "__pycache__" and not name.startswith("."))
        inner = os.path.relpath(folder, os.path.dirname(place.path)).replace(os.sep, "/")
        for file in sorted(files):
            if not file.startswith(".") and not file.endswith(_LEFT_OUT):
                yield f"{inner}/{file}", os.path.join(folder, file)


def _problems_with(place: _Place, files: Mapping[str, str]) -> Iterator[Finding]:
    if place.name in _NEVER:
        yield Finding(place.name, "runs before code that travels is found")
    compiled = [name for name in files if name.endswith(_COMPILED)]
    if compiled:
        yield Finding(place.name, f"holds compiled code ({compiled[0]})")
