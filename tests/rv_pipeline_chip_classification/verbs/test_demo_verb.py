"""`rv demo`: what it writes before it runs anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rasterio")


def test_without_a_run_it_writes_scenes_and_the_experiment_and_names_the_command(rv: Any, tmp_path: Path) -> None:
    done = rv("demo", "land", "--no-run", "--traceback", "--runner", "inprocess", "--num-epochs", "3")
    assert done.returncode == 0, done.stderr
    module = tmp_path / "land" / "experiment.py"
    command = f"rv --traceback run inprocess {module} --splits 2"
    assert done.stdout == f"wrote {module}\nto run it: {command}\n"
    assert "num_epochs: int = 3" in module.read_text()
    assert sorted(path.name for path in (tmp_path / "land").iterdir()) == ["data", "experiment.py"]

    again = rv("-q", "demo", "land", "--no-run")  # says what went wrong alone
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert "num_epochs: int = 3" in module.read_text()
