"""The house as its files show it: which folder holds what and uses which, as tables and as a drawing.

Read with the standard library alone, from docstrings, import statements and the contracts in `pyproject.toml`; nothing
of the packages is imported. `generate_reference.py` writes what this renders.
"""

from __future__ import annotations

import ast
import html
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from page_parts import NOTE, table

ROOT = Path(__file__).parent.parent
CORE = "rv_core"
MODULES_PAGE = "reference/modules.md"
END = "<!-- To here. -->"


@dataclass(frozen=True)
class Box:
    """A folder, or a module beside the folders.

    Args:
        name: its name in the package, `config/validation` for a folder in a folder.
        path: the folder or the file.
    """

    name: str
    path: Path

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return first_line(self.path / "__init__.py" if self.path.is_dir() else self.path)

    @property
    def modules(self) -> list[Path]:
        """Its own modules by name, without those of folders in it; of a module the module."""
        if not self.path.is_dir():
            return [self.path]
        return sorted(path for path in self.path.glob("*.py") if path.name != "__init__.py")

    @property
    def folders(self) -> list[Box]:
        """The folders in it that are packages, and those in these."""
        inner = [path.parent for path in sorted(self.path.glob("*/__init__.py"))]
        boxes = [Box(f"{self.name}/{path.name}", path) for path in inner]
        return [each for box in boxes for each in (box, *box.folders)]


def first_line(path: Path) -> str:
    """The first line of a module's docstring, empty if it has none."""
    return (ast.get_docstring(_tree(path)) or "").partition("\n")[0].strip()


def source_of(package: str) -> Path:
    """The folder of a package's sources."""
    return ROOT / package / "src" / package


def packages() -> list[str]:
    """The packages of this repository, the core first."""
    names = [path.parent.name for path in sorted(ROOT.glob("rv_*/pyproject.toml"))]
    return sorted(names, key=lambda name: (name != CORE, name))


def floors(package: str) -> list[list[Box]]:
    """The layers of the contract about a package, the highest first; one for each box where there is no contract."""
    source = source_of(package)
    layers = [layer.split(" | ") for layer in _contract(package).get("layers", [])]
    return [[_box(source, name.strip()) for name in layer] for layer in layers] or [[box] for box in beside(package)]


def beside(package: str) -> list[Box]:
    """The folders and modules of a package that no layer names."""
    source = source_of(package)
    stacked = {name.strip() for layer in _contract(package).get("layers", []) for name in layer.split("|")}
    files = {path.stem for path in source.glob("*.py")} - {"__init__"}
    folders = {path.parent.name for path in source.glob("*/__init__.py")}
    return [_box(source, name) for name in sorted((files | folders) - stacked)]


def uses(box: Box) -> dict[str, bool]:
    """What a box of the core imports of the others -> whether at the top of a module, not only later or for types."""
    paths = sorted(box.path.rglob("*.py")) if box.path.is_dir() else [box.path]
    found: dict[str, bool] = {}
    for path in paths:
        for name, is_at_top in _imports(_tree(path).body, is_at_top=True):
            found[name] = found.get(name, False) or is_at_top
    return {name: is_at_top for name, is_at_top in sorted(found.items()) if name != box.name}


def _imports(nodes: list[ast.stmt], *, is_at_top: bool) -> Iterator[tuple[str, bool]]:
    for node in nodes:
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                modules = [f"{module}.{alias.name}" for alias in names]
            case _:
                modules = []
        yield from ((name.split(".")[1], is_at_top) for name in modules if name.startswith(f"{CORE}."))
        is_later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_for_types(node)
        inner = (
            [child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom)] if is_later else []
        )
        yield from _imports(list(inner), is_at_top=False)
        if not is_later:
            bodies = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
            bodies += [handler.body for handler in getattr(node, "handlers", [])]
            yield from _imports([child for body in bodies for child in body], is_at_top=is_at_top)


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _box(source: Path, name: str) -> Box:
    path = source / name
    return Box(name, path if path.is_dir() else path.with_suffix(".py"))


def _contract(package: str) -> dict[str, list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    stacks = [each for each in settings["contracts"] if each["type"] == "layers" and each["containers"] == [package]]
    return stacks[0] if stacks else {}


def modules_page() -> list[str]:
    """The lines of the page of all modules: a heading for each folder, and a row for each module of it."""
    lines = []
    for package in packages():
        boxes = [box for floor in floors(package) for box in floor]
        boxes += [box for box in beside(package) if box not in boxes]
        lines += [f"## {package}", "", first_line(source_of(package) / "__init__.py"), ""]
        lines += _rows([box.path for box in boxes if not box.path.is_dir()])
        for box in (each for folder in boxes if folder.path.is_dir() for each in (folder, *folder.folders)):
            lines += [f"### {package}/{box.name}", "", box.summary, "", *_rows(box.modules)]
    return lines


def folders_table() -> list[str]:
    """The folders of the core in the order of the drawing, each with its modules."""
    stacked = [box for floor in floors(CORE) for box in floor]
    rows = []
    for box in (each for each in (*stacked, *beside(CORE)) if each.path.is_dir()):
        inner = [f"`{each.path.name}/`" for each in box.folders if each.path.parent == box.path]
        modules = ", ".join([f"`{path.stem}`" for path in box.modules] + inner)
        rows.append((f"[{box.name}]({MODULES_PAGE}#{CORE}{box.name})", box.summary, modules))
    return table(("folder", "holds", "modules"), rows)[:-1]


def with_block(text: str, lines: list[str]) -> str:
    """A page with what stands between the two marks of its generated block replaced.

    Raises:
        ValueError: if the page has no such marks.
    """
    before, begin, rest = text.partition(NOTE)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs a line {NOTE!r} and after it a line {END!r}")
    return "\n".join([before + begin, "", *lines, "", end + after])


def _rows(paths: list[Path]) -> list[str]:
    return table(("module", "holds"), [(f"`{path.stem}`", first_line(path)) for path in paths])


# The drawing. All lengths are pixels; text is measured by its number of characters, so that no font is needed for it.
_NAME_X, _SUMMARY_X, _MATRIX_X, _COLUMN, _HEAD, _LINE, _GAP, _MARGIN = 22, 124, 578, 23, 104, 16, 7, 12
_SUMMARY_CHARACTERS = 64
_STYLE = """\
text { font: 12px Verdana, 'DejaVu Sans', sans-serif; fill: #24292f }
.name { font-weight: bold; font-size: 13px } .summary { fill: #4a5560; font-size: 11.5px }
.floor { fill: #eef3f8; stroke: #b9c7d6 } .own { fill: #b9c7d6 } .guide { stroke: #d5dee8 }
.top { fill: #1f5fa8 } .later { fill: #fff; stroke: #1f5fa8; stroke-width: 1.6 }"""


def drawing() -> str:
    """The folders of the core as an SVG: floors as the contract stacks them, and a mark for each use of another."""
    stack = floors(CORE)
    boxes = [box for floor in stack for box in floor]
    columns = {box.name: _MATRIX_X + _COLUMN * i + _COLUMN // 2 for i, box in enumerate(boxes)}
    width = _MATRIX_X + _COLUMN * len(boxes) + 52
    parts, y = list(_heads(columns)), _HEAD
    for floor in stack:
        heights = [_height(box) for box in floor]
        parts.append(_rect(_MARGIN, y, width - 64, sum(heights), "floor"))
        for box, height in zip(floor, heights, strict=True):
            parts += _row(box, y, height, columns)
            y += height
        y += _GAP
    parts += _legend(y + 14)
    size = f'width="{width}" height="{y + 54}" viewBox="0 0 {width} {y + 54}"'
    title = "The folders of rv_core, each of which uses only those below it"
    head = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">', f"<title>{title}</title>"]
    background = f'<rect width="{width}" height="{y + 54}" rx="6" fill="#fff"/>'
    return "\n".join([*head, NOTE, f"<style>{_STYLE}</style>", background, *parts, "</svg>"]) + "\n"


def _heads(columns: dict[str, int]) -> Iterator[str]:
    yield _text(_NAME_X, _HEAD - 14, "each folder uses only those below it:", "summary")
    yield from (
        f'<text transform="translate({x + 4},{_HEAD - 8}) rotate(-60)">{name}</text>' for name, x in columns.items()
    )


def _row(box: Box, y: int, height: int, columns: dict[str, int]) -> Iterator[str]:
    middle = y + height // 2
    yield _text(_NAME_X, middle + 4, box.path.name, "name")
    lines = _lines(box)
    first = middle + 4 - (_LINE - 2) * (len(lines) - 1) // 2
    yield from (_text(_SUMMARY_X, first + (_LINE - 2) * i, line, "summary") for i, line in enumerate(lines))
    yield f'<line class="guide" x1="{_MATRIX_X}" y1="{middle}" x2="{max(columns.values())}" y2="{middle}"/>'
    yield _rect(columns[box.name] - 5, middle - 5, 10, 10, "own")
    for name, is_at_top in uses(box).items():
        if name in columns:
            yield _mark(columns[name], middle, is_at_top=is_at_top)


def _legend(y: int) -> Iterator[str]:
    words = ("the folder itself", "used at the top of a module", "only inside functions, or for types")
    for x, text in zip((_NAME_X, _NAME_X + 150, _NAME_X + 370), words, strict=True):
        yield _text(x + 16, y + 4, text, "summary")
    yield _rect(_NAME_X - 2, y - 5, 10, 10, "own")
    yield _mark(_NAME_X + 153, y, is_at_top=True)
    yield _mark(_NAME_X + 373, y, is_at_top=False)


def _lines(box: Box) -> list[str]:
    return textwrap.wrap(box.summary.replace("`", ""), _SUMMARY_CHARACTERS)


def _height(box: Box) -> int:
    return max(len(_lines(box)), 1) * _LINE + 10


def _text(x: int, y: int, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x}" y="{y}">{html.escape(text, quote=False)}</text>'


def _rect(x: int, y: int, width: int, height: int, style: str) -> str:
    return f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'


def _mark(x: int, y: int, *, is_at_top: bool) -> str:
    return f'<circle class="{"top" if is_at_top else "later"}" cx="{x}" cy="{y}" r="5"/>'
