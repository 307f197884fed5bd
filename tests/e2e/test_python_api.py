"""`rv_core.run` and its neighbours: the same work, words and errors as the command line, on config objects."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rv_core
import rv_core.api
from rv_core.errors import CheckError, ConfigError, TaskError, UsageError
from rv_core.hello import HelloConfig

PIPELINE = """
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command


class Squares(Pipeline):
    @command(items=lambda config: [f"n{number}" for number in range(config.count)])
    def square(self, numbers: Items[str]) -> None:
        for number in numbers:
            self.storage.write_text(f"squares/{number}.txt", str(int(number[1:]) ** 2))


@dataclass(kw_only=True)
class SquaresConfig(PipelineConfig):
    count: int = 3

    def build(self) -> Pipeline:
        return Squares(self)
"""


def results(root: Path) -> dict[str, bytes]:
    """All that a run leaves but the record of the run itself, which names its time."""
    files = (path for path in root.rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix(): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if not name.startswith(".rv/runs/")}


def without_times(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.startswith((".rv/done/", "pipeline-config"))}


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_run_from_python_leaves_what_the_command_line_leaves(
    rv: Callable[..., Any], tmp_path: Path, runner: str, capfd: pytest.CaptureFixture[str]
) -> None:
    typed = rv("run", runner, "rv_core.hello", "-a", f"root_uri={tmp_path / 'typed'}", "-a", "num_items=3", "-s", "2")
    assert typed.returncode == 0, typed.stdout + typed.stderr
    config = HelloConfig(root_uri=str(tmp_path / "called"), num_items=3)
    result = rv_core.run(config, runner, splits=2)

    assert (result.state, result.items_done, result.items_total, result.exit_code) == ("done", 4, 4, 0)
    assert without_times(results(tmp_path / "called")) == without_times(results(tmp_path / "typed"))
    manifests = [
        sorted(path.name for path in (tmp_path / name / ".rv/done").rglob("*.json")) for name in ("called", "typed")
    ]
    assert manifests[0] == manifests[1], "the same keys"
    printed = capfd.readouterr().out
    assert "hello.cpu_task" in printed
    assert f"done: 4 items; results are under {tmp_path / 'called'}" in printed
    assert [job.state for job in result.jobs()] == ["done", "done"]
    assert config.root_uri == str(tmp_path / "called")

    again = rv_core.run(config, runner, splits=2, quiet=True)
    assert (again.state, again.run_id, again.status()) == ("done", "", None)
    assert rv_core.api.status(config).state == "done"


def test_a_plan_tells_what_would_run_and_why_and_writes_nothing(tmp_path: Path) -> None:
    config = HelloConfig(root_uri=str(tmp_path / "root"), num_items=3)
    planned = rv_core.api.plan(config, splits=2)
    assert [(command.command, command.decision, command.num_items) for command in planned.commands] == [
        ("cpu_task", "run", 3),
        ("gpu_task", "run", 1),
    ]
    assert planned.commands[0].reasons == ("not done yet (all 3 items)",)
    assert not (tmp_path / "root").exists()


def test_a_failed_run_is_a_result_that_can_be_raised(tmp_path: Path) -> None:
    result = rv_core.run(HelloConfig(root_uri=str(tmp_path), num_items=3, fail_on="item-1"), quiet=True)
    assert (result.state, result.exit_code) == ("failed", 1)
    assert [task.task for task in result.failed] == ["hello.cpu_task"]
    with pytest.raises(TaskError, match=r"hello\.cpu_task"):
        result.raise_if_failed()


def test_a_wrong_config_raises_all_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="num_items") as caught:
        rv_core.run(HelloConfig(root_uri=str(tmp_path), num_items="3", sleep_s=-1))  # type: ignore[arg-type]
    assert {finding.where for finding in caught.value.findings} >= {"num_items"}
    with pytest.raises(ConfigError, match="no PipelineConfig"):
        rv_core.run("rv_core.hello")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="there is no config"):
        rv_core.check([])
    with pytest.raises(UsageError, match="no run"):
        rv_core.api.status(str(tmp_path))


def test_a_check_returns_what_it_finds(tmp_path: Path) -> None:
    assert rv_core.check(HelloConfig(root_uri=str(tmp_path))) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckError, match="is not a folder"):
        rv_core.check(HelloConfig(root_uri=str(tmp_path / "file")))


def script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(text))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("RV_", "AWS_"))}
    environ |= {"RV_CONFIG_DIR": str(folder / "config"), "RV_CACHE_DIR": str(folder / "cache"), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, path], cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=100
    )


def test_a_class_of_the_script_runs_inprocess_and_nowhere_else(tmp_path: Path) -> None:
    text = (
        PIPELINE
        + """
import rv_core
print(rv_core.run(SquaresConfig(root_uri="out"), quiet=True))
rv_core.run(SquaresConfig(root_uri="out2"), "local")
"""
    )
    done = script(tmp_path, text)
    assert "<RunResult done, 3 of 3 items" in done.stdout, done.stderr
    assert (tmp_path / "out" / "squares" / "n2.txt").read_text() == "4"
    assert "rv_core.errors.ConfigError" in done.stderr
    assert "__main__:SquaresConfig cannot be found by a fresh process" in done.stderr
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize("module", ["squares", "shapes.squares"])  # `shapes` has no __init__.py
def test_a_class_of_a_file_beside_the_script_runs_anywhere(tmp_path: Path, module: str) -> None:
    file = tmp_path / (module.replace(".", "/") + ".py")
    file.parent.mkdir(exist_ok=True)
    file.write_text(PIPELINE)
    text = f"""
    import rv_core
    from {module} import SquaresConfig
    print(rv_core.run(SquaresConfig(root_uri="out", count=4), "local", splits=2).raise_if_failed())
    """
    done = script(tmp_path, text)
    assert "<RunResult done, 4 of 4 items" in done.stdout, done.stderr
    saved = subprocess.run(
        [sys.executable, "-m", "rv_core", "run", "inprocess", tmp_path / "out" / "pipeline-config.json"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Nothing to do" in saved.stdout, saved.stderr


def test_in_another_thread_tasks_are_processes_of_their_own(tmp_path: Path) -> None:
    config = HelloConfig(root_uri=str(tmp_path / "out"), num_items=1)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(UsageError, match="works in the main thread of Python alone"):
            pool.submit(rv_core.run, config, quiet=True).result()
        assert not (tmp_path / "out").exists()
        assert pool.submit(rv_core.run, config, "local", quiet=True).result().state == "done"


def test_a_command_that_ends_the_process_fails_and_the_script_goes_on(tmp_path: Path) -> None:
    work = 'self.storage.write_text(f"squares/{number}.txt", str(int(number[1:]) ** 2))'
    assert work in PIPELINE
    text = f"""{PIPELINE.replace(work, "import os; os._exit(0)")}
import os, rv_core
ends = os._exit
print(rv_core.run(SquaresConfig(root_uri="out"), quiet=True), os._exit is ends)
"""
    done = script(tmp_path, text)
    assert "<RunResult failed, 0 of 3 items" in done.stdout, done.stderr
    assert done.stdout.endswith("True\n")
    assert "the command called os._exit(0)" in done.stderr


def test_quiet_says_nothing_where_nothing_is_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = HelloConfig(root_uri=str(tmp_path / "out"), num_items=1)
    rv_core.run(config, quiet=True)
    capfd.readouterr()
    assert rv_core.run(config, quiet=True).state == "done"
    assert capfd.readouterr() == ("", "")
