"""The packages that `rv plugins new` writes pass their own tests untouched, and so do the examples begun with it.

Here they are seen through the path; `nox -s third_party` installs them beside the core's wheel alone.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.contracts.installed_sources import install_sources, python_path

import rv_core
from rv_core.scaffold.rendering import new_plugin, write

_ROOT = Path(__file__).parent.parent.parent
_EXAMPLES = _ROOT / "docs" / "examples"
#: A few rules of those that a scaffolded package runs.
_QUICK = "diamond or declaration or profile or failed_job or survives_json or output_is_recorded or letter or total"


def run_own_tests(folder: Path, package: str, *words: str) -> None:
    """Run the tests of a package that is not installed."""
    site = folder / ".site"
    install_sources(site, package.replace("_", "-"), folder / "src", {package: f"{package}.hooks"})
    environ = {**os.environ, "PYTHONPATH": python_path(site)}
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", ["runner", "pipeline"])
def test_some_rules_pass_untouched(tmp_path: Path, kind: str) -> None:
    folder, _ = write(new_plugin("first-try", kind), tmp_path)
    run_own_tests(folder, f"rv_{kind}_first_try", "-k", _QUICK)


def test_the_tests_of_a_new_verb_pass_untouched(tmp_path: Path) -> None:
    folder, _ = write(new_plugin("first-try", "commands"), tmp_path)
    run_own_tests(folder, "rv_commands_first_try")


def python_files(example: str) -> Mapping[Path, str]:
    return {path: path.read_text() for path in sorted((_EXAMPLES / example / "src").rglob("*.py"))}


def test_a_real_runner_with_logs_and_cancel_has_less_than_160_lines() -> None:
    lines = [line for text in python_files("rv_runner_background").values() for line in text.splitlines()]
    assert len(lines) < 160


@pytest.mark.parametrize("example", ["rv_runner_background", "rv_notify", "rv_trackers"])
def test_an_example_uses_only_what_the_core_exports(example: str) -> None:
    for path, text in python_files(example).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rv_core"):
                assert node.module == "rv_core", f"{path.name} imports {node.module}"
                assert {alias.name for alias in node.names} <= set(rv_core.__all__)


def test_the_core_knows_no_engine_of_a_third_party() -> None:
    """What packages there are, and one sentence of the help, is all that the core says of Slurm."""
    names = {"cli/app.py": 1, "plugins/installed.py": 1}
    source = _ROOT / "rv_core" / "src" / "rv_core"
    said = {
        path.relative_to(source).as_posix(): sum("slurm" in line.lower() for line in path.read_text().splitlines())
        for path in source.rglob("*.py")
    }
    assert len(said) > 50
    assert {name: count for name, count in said.items() if count} == names
