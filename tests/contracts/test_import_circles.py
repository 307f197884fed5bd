"""No module of a package imports itself by way of others, imports inside functions and for types alone counted.

grimp comes with import-linter: the session `contracts` has it and runs these tests, elsewhere they are skipped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

grimp = pytest.importorskip("grimp", reason="grimp comes with import-linter, in the session contracts")

if TYPE_CHECKING:
    from grimp import ImportGraph

ROOT = Path(__file__).parent.parent.parent
SOURCES = {path.name: path.parent for path in sorted(ROOT.glob("rv_*/src/rv_*")) if path.is_dir()}


def graph_of(package: str) -> ImportGraph:
    return grimp.build_graph(package, exclude_type_checking_imports=False, cache_dir=None)


def first_circle(graph: ImportGraph) -> list[str]:
    """The shortest circle, its first module again at the end; empty if there is none."""
    circles = [
        [module, *chain]
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if (chain := graph.find_shortest_chain(importer=imported, imported=module) if imported != module else (module,))
    ]
    return min(circles, key=len, default=[])


@pytest.mark.parametrize("package", SOURCES)
def test_no_module_imports_itself_by_way_of_others(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SOURCES[package])
    graph = graph_of(package)
    assert len(graph.modules) > 1
    circle = first_circle(graph)
    assert not circle, f"{package} has a circle of imports: {' -> '.join(circle)}"


@pytest.mark.parametrize(
    "text",
    ["import circular.b\n", "def f():\n    from circular.b import g\n", "if TYPE_CHECKING:\n    import circular.b\n"],
)
def test_a_circle_is_named_however_it_is_imported(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "circular").mkdir()
    files = {
        "__init__": "",
        "a": f"from typing import TYPE_CHECKING\n{text}",
        "b": "import circular.c",
        "c": "from circular import a",
    }
    for name, content in files.items():
        (tmp_path / "circular" / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert first_circle(graph_of("circular")) == ["circular.a", "circular.b", "circular.c", "circular.a"]
