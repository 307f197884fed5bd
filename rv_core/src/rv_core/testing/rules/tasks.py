"""Rules: what was typed reaches the tasks unchanged, and what they say reaches the user."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rv_core.testing.claims import needs
from rv_core.testing.scenarios import HOSTILE_NAMES, HOSTILE_TEXT, HOSTILE_VALUE, run_probe, survey
from rv_core.testing.workbench import Workbench

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_TASK_EVENTS = {"started", "progress", "item", "finished", "failed", "stopped", "hook_failed"}
_RUN_EVENTS = {"submitted", "reported", "cancelled", "run_finished", "hook_failed"}
_REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "started": {"run_id": str, "task": str, "attempt": int, "host": str, "pid": int},
    "item": {"item": str, "state": str},
    "progress": {"done": int | float, "total": int | float, "numbers": dict},
    "finished": {"duration_s": int | float, "cpu_s": int | float, "max_rss_mib": int | float},
    "failed": {"reason": str, "exit_code": int},
    "stopped": {"reason": str, "exit_code": int},
    "run_finished": {"succeeded": bool, "done": int, "tasks": int},
}
_LONGEST_NAME = "9" + "-_aZ" * 15 + "x-_"
_OWN_MODULE = """
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, command

@dataclass(kw_only=True)
class OwnConfig(PipelineConfig):
    def build(self):
        return OwnPipeline(self)

class OwnPipeline(Pipeline):
    @command()
    def work(self) -> None:
        self.storage.write_text("work/all.txt", __name__)

def get_config(runner: str, root_uri: str) -> OwnConfig:
    return OwnConfig(root_uri=root_uri, name="own")
"""


class ArgumentRules:
    """What a runner makes of names and values that shells and engines treat specially."""

    def test_texts_of_the_config_arrive_unchanged(self, rv_bench: Workbench) -> None:
        """Quotes, `$`, `%`, `#`, backslashes, line breaks and other scripts mean nothing on their way to a task."""
        notes = _notes(rv_bench)
        wrong = {name: note["text"] for name, note in notes.items() if note["text"] != HOSTILE_TEXT}
        rv_bench.expect(notes and not wrong, f"texts that arrived changed: {wrong}", survey(rv_bench).finished)

    @pytest.mark.parametrize("name", list(HOSTILE_NAMES.values()), ids=list(HOSTILE_NAMES))
    def test_a_root_may_have_any_name(self, rv_bench: Workbench, name: str) -> None:
        """A root with an odd name is used as it is, or refused with 2 before anything is started; never mangled."""
        root = f"{rv_bench.root('odd')}/{name}"
        run = run_probe(rv_bench, "fault", "-s", "2", root=root, num_items=2)
        self._expect_done_or_refused(rv_bench, run, ["after/all.txt", "aside/all.txt", "work/item-0.txt"])

    def test_a_root_has_one_name(self, rv_bench: Workbench) -> None:
        """A root that is typed with a slash at its end is the root without one: its tasks work, and are done there."""
        root = rv_bench.root("slash")
        first = run_probe(rv_bench, "fault", "-s", "2", root=f"{root}/", num_items=2)
        rv_bench.expect(first.finished.code == 0, "a root with a slash at its end does not work", first.finished)
        again = run_probe(rv_bench, "fault", "-s", "2", root=root, num_items=2)
        rv_bench.expect(again.finished.code == 0, "the root without the slash does not work", again.finished)
        runs = again.evidence.run_ids
        rv_bench.expect(
            len(runs) == 1, f"the root without the slash is another one: its runs are {runs}", again.finished
        )

    @needs("not is_remote")
    def test_a_root_may_be_relative(self, rv_bench: Workbench) -> None:
        """A root that is typed relative to the folder, with dots and slashes, is the one that an absolute path names."""
        root, folder = rv_bench.root("relative"), rv_bench.folder / "there" / "deeper"
        if not root.startswith("/"):
            pytest.skip("the roots of this kit are no folders")
        folder.mkdir(parents=True, exist_ok=True)
        spelt = f"./{os.path.relpath(root, folder)}//"
        finished = rv_bench.ended(rv_bench.rv(*rv_bench.run_words("fault", spelt, "-s", "2"), folder=folder), root)
        rv_bench.expect(finished.code == 0, f"a root that is spelt {spelt} does not work", finished)
        again = run_probe(rv_bench, "fault", "-s", "2", root=root)
        is_same = again.finished.code == 0 and len(again.evidence.run_ids) == 1
        rv_bench.expect(is_same, f"{spelt} and {root} are two roots", finished, again.finished)

    @needs("not is_remote")
    def test_files_of_the_working_folder_are_not_imported(self, rv_bench: Workbench) -> None:
        """A file of the user's own that is called as a module of Python's does not get into the tasks."""
        folder = rv_bench.folder / "harmless names"
        folder.mkdir(exist_ok=True)
        for name in ("json", "random", "types", "signal"):
            (folder / f"{name}.py").write_text("raise ImportError('this file is no module')\n")
        root = rv_bench.root("names")
        words = rv_bench.run_words("fault", root, "-s", "2")
        finished = rv_bench.ended(rv_bench.rv(*words, folder=folder), root)
        what = (
            "json.py in the folder where rv run is typed gets into the tasks; start them with RunContext.argv as it is"
        )
        rv_bench.expect(finished.code == 0, what, finished)

    def test_a_pipeline_may_have_the_longest_name(self, rv_bench: Workbench) -> None:
        """Names of pipelines have up to 64 characters, and engines make names of jobs from them."""
        run = run_probe(rv_bench, "fault", "-s", "2", "--pipeline-run-name", _LONGEST_NAME)
        rv_bench.expect(run.finished.code == 0, "a pipeline with a name of 64 characters does not run", run.finished)
        tasks = sorted(run.evidence.attempts())
        strange = [task for task in tasks if not task.startswith(f"{_LONGEST_NAME}.")]
        rv_bench.expect(tasks and not strange, f"tasks without the name of their pipeline: {strange}", run.finished)

    def _expect_done_or_refused(self, bench: Workbench, run: Any, outputs: list[str]) -> None:
        pwned = list(bench.folder.rglob("pwned"))
        bench.expect(not pwned, f"a name was run as a command: {pwned}", run.finished)
        if run.finished.code == 2:
            bench.expect(not run.evidence.files, "a name was refused after something was written", run.finished)
            return
        bench.expect(run.finished.code == 0, "an odd name is neither carried nor refused with 2", run.finished)
        missing = set(outputs) - set(run.evidence.files)
        bench.expect(not missing, f"not found under the root that was named: {sorted(missing)}", run.finished)

    @needs("not is_remote")
    def test_the_profile_reaches_tasks(self, rv_bench: Workbench) -> None:
        """`--profile NAME` holds for the tasks too: they see it as RV_PROFILE."""
        self._expect_environ(rv_bench, "RV_PROFILE", rv_bench.profile)

    def test_verbosity_reaches_tasks(self, rv_bench: Workbench) -> None:
        """With `-v` the log of a task holds what its libraries log as information."""
        logs = rv_bench.rv("logs", survey(rv_bench).root, "right")
        rv_bench.expect("info of right all" in logs.out, "-v does not reach the tasks", logs)

    @needs("not in_process")
    def test_tasks_know_their_run(self, rv_bench: Workbench) -> None:
        """Tasks have the id of their run in RV_RUN_ID: what `RunContext.task_environ` says is set."""
        self._expect_environ(rv_bench, "RV_RUN_ID", survey(rv_bench).evidence.run_ids[-1])

    @needs("not is_remote", "not detaches")
    def test_the_environment_reaches_tasks(self, rv_bench: Workbench) -> None:
        """Tasks on this machine have the environment of `rv run`, value for value."""
        self._expect_environ(rv_bench, "CONFORMANCE_TEXT", HOSTILE_VALUE)
        for name in ("PATH", "HOME"):
            if name in rv_bench.environ:
                self._expect_environ(rv_bench, name, rv_bench.environ[name])

    def _expect_environ(self, bench: Workbench, name: str, value: str) -> None:
        wrong = {
            n: note["environ"].get(name) for n, note in _notes(bench).items() if note["environ"].get(name) != value
        }
        bench.expect(not wrong, f"{name} should be {value!r} in every task, and is: {wrong}", survey(bench).finished)

    @needs("not is_remote", "not in_process")
    def test_tasks_share_the_cores(self, rv_bench: Workbench) -> None:
        """Tasks on one machine are told how many threads they may use, so that they do not fight for the cores."""
        threads = {name: note["environ"].get("OMP_NUM_THREADS", "") for name, note in _notes(rv_bench).items()}
        wrong = {name: value for name, value in threads.items() if not value.isdigit() or int(value) < 1}
        rv_bench.expect(not wrong, f"OMP_NUM_THREADS in tasks is no number: {wrong}", survey(rv_bench).finished)

    def test_a_module_given_by_its_path_travels(self, rv_bench: Workbench, tmp_path: Path) -> None:
        """A pipeline in a file of the user's own is found by the tasks, wherever they run."""
        (tmp_path / "own_pipeline.py").write_text(_OWN_MODULE)
        root = rv_bench.root("own")
        words = ["--profile", rv_bench.profile, "run", rv_bench.runner, "own_pipeline.py", "-a", f"root_uri={root}"]
        finished = rv_bench.ended(rv_bench.rv(*words, folder=tmp_path), root)
        rv_bench.expect(finished.code == 0, "a pipeline in a file of the user's own cannot be run", finished)
        rv_bench.expect("work/all.txt" in rv_bench.evidence(root).files, "it did not do its work", finished)


class ReportRules:
    """What users find afterwards, in one form for every runner."""

    def test_logs_hold_what_tasks_print(self, rv_bench: Workbench) -> None:
        """`rv logs ROOT TASK` shows stdout and stderr of a task, and of what it starts."""
        logs = rv_bench.rv("logs", survey(rv_bench).root, "right")
        rv_bench.expect(logs.code == 0, "rv logs does not find the log of a task", logs)
        texts = ["stdout of right all", "stderr of right all"]
        if not rv_bench.claims("in_process"):
            texts.append("child of right all")
        missing = [text for text in texts if text not in logs.out]
        rv_bench.expect(not missing, f"not in the log of a task: {missing}", logs)

    def test_every_task_has_a_log_of_its_own(self, rv_bench: Workbench) -> None:
        """The log of a task holds what that task printed and nothing of others."""
        listed = rv_bench.rv("logs", survey(rv_bench).root)
        missing = [task for task in survey(rv_bench).evidence.attempts() if task not in listed.out]
        rv_bench.expect(not missing, f"tasks without a log: {missing}", listed)
        log = rv_bench.rv("logs", survey(rv_bench).root, "first.1-of-3")
        others = [line for line in log.out.splitlines() if "stdout of" in line and "first item-" not in line]
        rv_bench.expect(not others, f"in the log of another task: {others}", log)

    def test_events_of_tasks_keep_to_the_schema(self, rv_bench: Workbench) -> None:
        """Events are JSON lines with a UTC time; a task's begin with `started` and end with `finished`."""
        run = survey(rv_bench)
        for task, attempts in run.evidence.attempts().items():
            for attempt, events in attempts.items():
                problems = [problem for event in events for problem in _problems_of(event, _TASK_EVENTS)]
                rv_bench.expect(not problems, f"events of {task}, attempt {attempt}: {problems}", run.finished)
                ends = [event["event"] for event in (events[0], events[-1])]
                rv_bench.expect(ends == ["started", "finished"], f"events of {task} begin and end as {ends}")
                named = (events[0]["task"], events[0]["attempt"], events[0]["run_id"])
                rv_bench.expect(named == (task, attempt, run.evidence.run_ids[-1]), f"{task} started as {named}")

    def test_events_of_the_runner_keep_to_the_schema(self, rv_bench: Workbench) -> None:
        """What the runner reports speaks of tasks and jobs of the plan, with exit codes that are numbers."""
        run = survey(rv_bench)
        events = run.evidence.submission()
        problems = [problem for event in events for problem in _problems_of(event, _RUN_EVENTS)]
        known = {job["id"] for job in run.evidence.plan()["jobs"]} | set(run.evidence.attempts())
        problems += [f"{e['task']} is no task of the plan" for e in events if "task" in e and e["task"] not in known]
        codes = [event["exit_code"] for event in events if "exit_code" in event]
        problems += [f"{code!r} is no exit code" for code in codes if not isinstance(code, int)]
        rv_bench.expect(not problems, f"events of the submission: {problems}", run.finished)
        last = events[-1]["event"] if events else "none"
        ends = "submitted" if rv_bench.claims("detaches") else "run_finished"
        rv_bench.expect(last == ends, f"the last event of the submission is {last}, not {ends}", run.finished)


class ResourceRules:
    """What a runner makes of GPUs."""

    @needs("gpu_slots")
    def test_a_gpu_task_sees_one_device_of_its_own(self, rv_bench: Workbench) -> None:
        """A task of a command with `gpus=1` sees exactly one device, and no other task has it meanwhile."""
        root = rv_bench.root("gpu")
        words = rv_bench.run_words("alone", root, "on_gpu", "-s", "4", "--jobs", "4", num_items=4)
        finished = rv_bench.ended(rv_bench.rv(*words, environ={"RV_GPUS": "0,1"}), root)
        rv_bench.expect(finished.code == 0, "tasks that want a GPU each do not end well", finished)
        outputs = rv_bench.evidence(root).outputs()
        devices = {name: data.decode() for name, data in outputs.items() if name.startswith("on_gpu/")}
        wrong = {name: device for name, device in devices.items() if not device or "," in device}
        rv_bench.expect(devices and not wrong, f"a task saw not exactly one device: {wrong or devices}", finished)


def _notes(bench: Workbench) -> dict[str, Any]:
    """What the tasks of the survey noted."""
    run = survey(bench)
    names = [f"{command}/item-{n}.json" for command in ("first", "left") for n in range(7)]
    names += ["right/all.json", "last/all.json"]
    notes = {name: run.evidence.read_json(name) for name in names if name in run.evidence.files}
    bench.expect(notes, "no task left a note of what it saw", run.finished)
    return notes


def _problems_of(event: dict[str, Any], known: set[str]) -> list[str]:
    problems = [] if _TIME.fullmatch(str(event.get("time"))) else [f"no time in UTC: {event}"]
    if event["event"] not in known:
        problems.append(f"unknown event: {event}")
    for name, kind in _REQUIRED.get(event["event"], {}).items():
        if not isinstance(event.get(name), kind):
            problems.append(f"{name} is missing or of a wrong kind: {event}")
    return problems
