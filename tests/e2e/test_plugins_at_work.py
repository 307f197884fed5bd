"""What plugins are promised: their pipelines run by name, their hooks hear of progress, and what is broken is shown."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.contracts.installed_sources import install_sources, python_path

if TYPE_CHECKING:
    from tests.conftest import RvCli
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

PIPELINE = """
    from dataclasses import dataclass
    from rv_core import Pipeline, PipelineConfig, command

    @dataclass(kw_only=True)
    class WaveConfig(PipelineConfig):
        height: int = 1
        def build(self): return WavePipeline(self)

    class WavePipeline(Pipeline):
        @command(reads=("height",))
        def roll(self) -> None:
            for step in range(1, 101):
                self.progress(step, 100, loss=1 / step)
            self.storage.write_text("wave.txt", "~" * self.config.height)
"""
HOOKS = """
    @hookimpl
    def rv_pipelines(): return [PipelineSpec("wave-1", "waves.pipeline:WaveConfig")]
"""
TRACKER = """
    import json, os, time

    @hookimpl
    def rv_task_progress(task, attempt, done, total, numbers):
        with open(os.environ["TRACKED"], "a") as file:
            file.write(json.dumps([task, attempt, done, total, numbers]) + "\\n")
        time.sleep(float(os.environ.get("SLOW", "0")))
"""
WORK = """
    import json, os

    def note(*words):
        with open(os.environ["TRACKED"], "a") as file:
            file.write(json.dumps(words) + "\\n")

    @hookimpl
    def rv_task_started(run_id, task, root_uri, key): note(run_id, root_uri, task, key)

    @hookimpl
    def rv_task_progress(run_id, task, root_uri, key): note(run_id, root_uri, task, key)

    @hookimpl
    def rv_task_finished(run_id, task, root_uri, key): note(run_id, root_uri, task, key)
"""
LISTENER = """
    import json, os

    @hookimpl
    def rv_run_finished(run_id, succeeded, summary):
        with open(os.environ["TOLD"], "a") as file:
            file.write(json.dumps([succeeded, dict(summary)]) + "\\n")
"""
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rv_runner_background"


@pytest.fixture
def waves(site: Site) -> Site:
    site.install("rv-waves", HOOKS, package="waves", files={"pipeline.py": PIPELINE})
    return site


@pytest.mark.parametrize("runner", ["local", "inprocess"])
def test_a_pipeline_runs_by_its_registered_name(rv: RvCli, tmp_path: Path, waves: Site, runner: str) -> None:
    words = ("run", runner, "wave-1", "-a", "root_uri", "out", "-a", "height", "3")
    done = rv(*words, cwd=tmp_path, env=waves.environ())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "wave.txt").read_text() == "~~~"


def test_get_config_of_its_module_is_asked_where_there_is_one(rv: RvCli, tmp_path: Path) -> None:
    done = rv("run", "inprocess", "hello", "-a", "root_uri", "out", "-a", "num_items", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / "cpu_task").iterdir())) == 2


def test_a_file_of_that_name_goes_before(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("from rv_core.hello import HelloConfig\ndef get_config(mine): 1 / 0\n")
    done = rv("run", "inprocess", "hello", "-a", "mine", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr


def test_a_misspelt_name_has_a_near_miss(rv: RvCli, tmp_path: Path, waves: Site) -> None:
    for typed, meant in (("helo", "hello"), ("wave_1", "wave-1")):
        done = rv("run", "inprocess", typed, "-a", "root_uri", "out", cwd=tmp_path, env=waves.environ())
        assert done.returncode == 2
        assert f"did you mean {meant!r}?" in done.stderr


def test_what_is_missing_of_a_registered_pipeline_is_told(rv: RvCli, tmp_path: Path, waves: Site) -> None:
    done = rv("run", "inprocess", "wave-1", "-a", "heigth", "3", cwd=tmp_path, env=waves.environ())
    assert done.returncode == 2
    assert "did you mean 'height'?" in done.stderr
    assert "-a root_uri: is missing" in done.stderr


@pytest.mark.parametrize("runner", ["local", "inprocess"])
def test_trackers_hear_of_progress_as_often_as_it_is_written(
    rv: RvCli, tmp_path: Path, waves: Site, runner: str
) -> None:
    waves.install("rv-track", TRACKER, package="track")
    tracked = tmp_path / "tracked"
    words = ("run", runner, "wave-1", "-a", "root_uri", "out")
    done = rv(*words, cwd=tmp_path, env=waves.environ(TRACKED=str(tracked)))
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in tracked.read_text().splitlines()]
    (events,) = (tmp_path / "out").glob(".rv/runs/*/events/wave.roll.1.jsonl")
    written = [event for line in events.read_text().splitlines() if (event := json.loads(line))["event"] == "progress"]
    assert told[-1] == ["wave.roll", 1, 100, 100, {"loss": 0.01}]
    assert 1 <= len(told) <= len(written)


def test_a_slow_tracker_holds_up_a_training_next_to_not_at_all(rv: RvCli, tmp_path: Path, waves: Site) -> None:
    waves.install("rv-track", TRACKER, package="track")
    tracked = tmp_path / "tracked"
    words = ("run", "local", "wave-1", "-a", "root_uri", "out")
    done = rv(*words, cwd=tmp_path, env=waves.environ(TRACKED=str(tracked), SLOW="0.5"))
    assert done.returncode == 0, done.stderr
    assert len(tracked.read_text().splitlines()) == 2  # the first and the last


def test_work_that_goes_on_in_another_run_has_its_root_and_key_again(rv: RvCli, tmp_path: Path, waves: Site) -> None:
    waves.install("rv-work", WORK, package="work")
    env = waves.environ(TRACKED=str(tmp_path / "tracked"))
    words = ("run", "inprocess", "wave-1", "-a", "root_uri", "out")
    assert rv(*words, cwd=tmp_path, env=env).returncode == 0
    (tmp_path / "out" / "wave.txt").unlink()
    assert rv(*words, cwd=tmp_path, env=env).returncode == 0
    assert rv(*words, "-a", "height", "7", cwd=tmp_path, env=env).returncode == 0
    told = [tuple(json.loads(line)) for line in (tmp_path / "tracked").read_text().splitlines()]
    runs = [run_id for run_id, *_ in dict.fromkeys(told)]
    first, second, other = ([work for run_id, *work in dict.fromkeys(told) if run_id == run] for run in runs)
    assert first == second == [[str(tmp_path / "out"), "wave.roll", first[0][2]]]
    assert other[0][:2] == first[0][:2]
    assert other[0][2] != first[0][2]


def test_strict_plugins_do_not_hide_what_is_broken(rv: RvCli, tmp_path: Path, site: Site) -> None:
    site.install("rv-torn", "raise RuntimeError('torn to pieces')", package="torn")
    strict = site.environ(RV_STRICT_PLUGINS="1")
    for words in (("plugins",), ("plugins", "list", "--json"), ("plugins", "show", "torn"), ("plugins", "check")):
        done = rv(*words, cwd=tmp_path, env=strict)
        assert "torn to pieces" in done.stdout, done.stderr
        assert done.returncode == (0 if "show" in words else 3)
    assert rv("plugins", cwd=tmp_path, env=site.environ()).returncode == 0
    refused = rv("run", "inprocess", "hello", "-a", "root_uri", "out", cwd=tmp_path, env=strict)
    assert refused.returncode == 3
    assert "rv plugins tells more" in refused.stderr


@pytest.mark.parametrize("wait", [False, True])
def test_of_a_run_that_goes_on_alone_the_end_is_told_once(rv: RvCli, tmp_path: Path, waves: Site, wait: bool) -> None:
    install_sources(waves.folder, "rv-runner-background", EXAMPLE / "src", {"background": "rv_runner_background.hooks"})
    waves.install("rv-listen", LISTENER, package="listen")
    told = tmp_path / "told"
    env = {"PYTHONPATH": python_path(waves.folder), "TOLD": str(told)}
    words = ("run", "background", "wave-1", "-a", "root_uri", "out", *(("--wait",) if wait else ()))
    done = rv(*words, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    end = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".rv/runs/*/background/*.exit")) and time.monotonic() < end:
        time.sleep(0.05)
    looks = [rv.start("status", "out", *more, cwd=tmp_path, env=env) for more in ((), ("--json",), (), ("--json",))]
    for look in looks:
        assert look.communicate(timeout=60)[1] == ""
    (entry,) = [json.loads(line) for line in told.read_text().splitlines()]
    assert entry[0] is True
    assert entry[1]["tasks"] == 1


def test_a_plugin_that_interrupts_is_named(rv: RvCli, tmp_path: Path, site: Site) -> None:
    site.install("rv-torn", "raise KeyboardInterrupt", package="torn")
    done = rv("run", "inprocess", "hello", "-a", "root_uri", "out", cwd=tmp_path, env=site.environ())
    assert done.returncode == 130
    assert "interrupted while the plugin 'torn' (rv-torn 1.0) was imported" in done.stderr
