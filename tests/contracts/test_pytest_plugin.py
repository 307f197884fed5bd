"""`pytest --rv-runner NAME`, and what the plugin costs those who do not use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_DECLARATION = "test_the_runner_is_not_imported_by_its_declaration"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a user, with a test that must not run by accident."""
    (tmp_path / "test_other.py").write_text("def test_other():\n    assert False, 'the other test ran'\n")
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers --strict-config\nfilterwarnings = error\n"
    )
    return tmp_path


def run_pytest(folder: Path, *words: str) -> tuple[int, str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ}, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_without_its_option_nothing_of_the_kit_is_imported(folder: Path) -> None:
    (folder / "test_other.py").write_text(
        "import sys\n"
        "def test_imports():\n"
        "    assert {n for n in sys.modules if n.partition('.')[0] == 'rv_core'} ==\\\n"
        "        {'rv_core', 'rv_core.testing', 'rv_core.testing.pytest_plugin', 'rv_core.version'}\n"
    )
    code, out = run_pytest(folder, "-q")
    assert code == 0, out


def test_the_option_alone_runs_the_kit_and_nothing_that_lies_around(folder: Path) -> None:
    code, out = run_pytest(folder, "-q", "--rv-runner", "inprocess", "-k", _DECLARATION)
    assert code == 0, out
    assert "1 passed" in out
    assert "the other test ran" not in out


def test_paths_that_are_typed_run_besides(folder: Path) -> None:
    code, out = run_pytest(
        folder,
        "-q",
        "test_other.py",
        "--rv-runner",
        "inprocess",
        "-k",
        f"{_DECLARATION} or (test_other and not finish)",
    )
    assert code == 1, out
    assert "1 failed, 1 passed" in out


def test_a_runner_that_is_not_there_is_explained(folder: Path) -> None:
    code, out = run_pytest(folder, "-q", "--rv-runner", "inproces", "-k", _DECLARATION)
    assert code == 1
    assert "the runner 'inproces' cannot be loaded" in out
    assert "did you mean 'inprocess'?" in out
    assert "Traceback" not in out


def test_a_class_without_a_runner_is_explained(folder: Path) -> None:
    (folder / "test_other.py").write_text(
        "from rv_core.testing import RunnerConformance\nclass TestMine(RunnerConformance):\n    pass\n"
    )
    code, out = run_pytest(folder, "-q", "-k", _DECLARATION)
    assert code == 1
    assert "set runner_name in the test class" in out


def test_what_is_not_claimed_is_skipped_by_name(folder: Path) -> None:
    code, out = run_pytest(folder, "-q", "-rs", "--rv-runner", "inprocess", "-k", "side_by_side")
    assert code == 0, out
    assert "the runner 'inprocess' does not claim 'parallel' (rv_core.Capabilities.parallel)" in out


_MINE = """
from rv_core.testing import RunnerConformance
class TestMine(RunnerConformance):
    runner_name = "inprocess"
{attributes}
    def test_where(self, rv_bench):
        assert rv_bench.root().startswith({root!r} + "/root-")
        assert rv_bench.environ["COLOUR"] == "blue"
"""


@pytest.mark.parametrize("way", ["attributes", "options", "fixtures"])
def test_roots_and_environment_can_be_chosen(folder: Path, way: str) -> None:
    root = str(folder / "elsewhere")
    attributes = f"    root_uri = {root!r}\n    environ = {{'COLOUR': 'blue'}}\n" if way == "attributes" else ""
    (folder / "test_other.py").write_text(_MINE.format(attributes=attributes, root=root))
    if way == "fixtures":
        (folder / "conftest.py").write_text(
            "import pytest\n"
            f"@pytest.fixture(scope='session')\ndef rv_root_uri():\n    return {root!r}\n"
            "@pytest.fixture(scope='session')\ndef rv_environ():\n    return {'COLOUR': 'blue'}\n"
        )
    options = ["--rv-root-uri", root, "--rv-environ", "COLOUR=blue"] if way == "options" else []
    code, out = run_pytest(folder, "-q", "test_other.py::TestMine::test_where", *options)
    assert code == 0, out


def test_a_rule_that_waits_in_vain_says_for_what_and_leaves_no_process(folder: Path) -> None:
    (folder / "test_other.py").write_text(
        "from rv_core.testing import RunnerConformance\n"
        "class TestMine(RunnerConformance):\n"
        "    runner_name = 'inprocess'\n"
        "    def test_waits(self, rv_bench):\n"
        "        started = rv_bench.start_argv(['/bin/sleep', '77.125'])\n"
        "        rv_bench.wait_until(lambda: False, 'the moon falls', started, timeout_s=0.3)\n"
    )
    code, out = run_pytest(folder, "-q", "test_other.py::TestMine::test_waits")
    assert code == 1
    assert "this did not happen within 0.3 s: the moon falls" in out
    assert "(exit code -9)" in out


def test_the_rules_of_a_store_run_alone_and_clean_up(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    code, out = run_pytest(folder, "-q", "--rv-store", "file", "-k", "listing")
    assert code == 0, out
    assert "3 passed" in out
    scratch = tmp_path_factory.mktemp("scratch")
    code, out = run_pytest(folder, "-q", "--rv-store", "file", "--rv-store-uri", f"file://{scratch}", "-k", "listing")
    assert code == 0, out
    assert not [path for path in scratch.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rv-store", "memory"], "use pytest --rv-store-uri URI"),
        (["--rv-store", "memory", "--rv-store-uri", "file:///a"], "file:///a is no URI of the store memory"),
        (["--rv-store", "nosuch", "--rv-store-uri", "nosuch://a"], "no installed package serves nosuch://"),
    ],
)
def test_a_store_that_cannot_be_tried_is_explained(folder: Path, words: list[str], says: str) -> None:
    code, out = run_pytest(folder, "-q", *words, "-k", "empty_file")
    assert code == 1
    assert says in out
