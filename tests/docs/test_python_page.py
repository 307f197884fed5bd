"""The page on Python and notebooks does what it shows, as a script and as a notebook."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

_PAGE = Path(__file__).parent.parent.parent / "docs" / "python.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", _PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_every_block_runs_as_a_script(tmp_path: Path) -> None:
    for text in blocks():
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("cpu_task run ('not done yet (all 3 items)',)\n")
        assert done.stdout.endswith("\ndone\n")


@pytest.mark.slow
def test_every_block_runs_as_a_notebook_whose_table_is_updated_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.chdir(tmp_path)
    cells = [nbformat.v4.new_code_cell(text) for text in blocks()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    shown = [output for cell in notebook.cells for output in cell.outputs]
    tables = [output["data"]["text/html"] for output in shown if output.output_type == "display_data"]
    assert len(tables) == 1, "one table, updated in place"
    assert re.search(r"hello\.cpu_task.*3/3", tables[0])
    assert "done: 4 items" in "".join(output.get("text", "") for output in shown)
