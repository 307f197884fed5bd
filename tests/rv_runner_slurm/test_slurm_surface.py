"""The package is written as a third party would: it uses what `rv_core` offers to everybody, and nothing of its inside."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import rv_core
import rv_runner_slurm

PACKAGE = Path(rv_runner_slurm.__file__).parent
CORE = Path(rv_core.__file__).parent


def test_only_public_names_of_the_core_are_imported() -> None:
    used: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rv_core":
                if node.module == "rv_core.redaction":  # one of the public modules
                    continue
                assert node.module == "rv_core", f"{path.name} imports {node.module}"
                used |= {alias.name for alias in node.names}
            if isinstance(node, ast.Import):
                assert not [a.name for a in node.names if a.name.startswith("rv_core.")], path.name
    assert {"Runner", "RunContext", "RunRecord", "Observation"} <= used <= set(rv_core.__all__)


def test_the_core_does_not_know_that_this_runner_exists() -> None:
    # Texts for users name it: the help page, and which package to install.
    texts = {CORE / "cli" / "app.py", CORE / "plugins" / "installed.py"}
    named = [path for path in CORE.rglob("*") if path.is_file() and path.suffix != ".pyc" and path not in texts]
    assert [path for path in named if re.search("slurm", path.read_text(errors="replace"), re.IGNORECASE)] == []
