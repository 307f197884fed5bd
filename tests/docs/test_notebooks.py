"""The notebooks of the documentation run from the first cell to the last, in a kernel, in an empty folder."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

_DOCS = Path(__file__).parent.parent.parent / "docs"
_NOTEBOOKS = sorted(_DOCS.glob("*.ipynb"))


def test_a_notebook_is_kept_without_what_it_printed() -> None:
    assert _NOTEBOOKS
    cells = [cell for path in _NOTEBOOKS for cell in json.loads(path.read_text())["cells"]]
    assert [cell["id"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", _NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("rasterio")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())}
    assert (tmp_path / "land" / "experiment.py").is_file()
    assert not (tmp_path / "land" / "results").exists(), "rv demo --no-run has run something"
    assert {"image/png", "text/html", "text/plain"} <= shown
    assert (tmp_path / "cover" / "predict" / "synthetic_test_1.tif").is_file()
    found = json.loads((tmp_path / "cover" / "eval" / "test" / "eval.json").read_text())
    scores = {"model": found["overall"], "constant": found["baselines"]["constant"]}
    macro_f1 = {name: round(score["macro"]["f1"], 3) for name, score in scores.items()}
    assert macro_f1["model"] > macro_f1["constant"] + 0.5
    printed = " ".join(str(output.get("data", {})) for cell in notebook.cells for output in cell.get("outputs", ()))
    assert all(f"'macro F1': {score}" in printed for score in macro_f1.values())
