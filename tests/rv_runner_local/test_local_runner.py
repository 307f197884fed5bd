"""The local runner with real make and real processes; the tasks are small shell scripts that keep a journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import EXIT_ENVIRONMENT, RunnerError
from rv_core.machine.process_table import processes_of_run
from rv_core.plan.graph import Job, Plan, Resources, Task
from rv_core.plugins.declarations import RunnerSpec
from rv_core.plugins.targets import resolve
from rv_core.runner.capabilities import Capabilities
from rv_core.runner.context import RunContext
from rv_core.runner.contract import Runner
from rv_runner_local import hooks
from rv_runner_local.runner import LocalRunner, find_make
from rv_runner_local.settings import LocalSettings

#: A task: notes its start and its end, with what $BODY does in between.
TASK = 'echo "+ $1" >> "$JOURNAL"; eval "$BODY" || exit; echo "- $1" >> "$JOURNAL"'


@dataclass
class ScriptContext(RunContext):
    """A context whose tasks run a piece of shell instead of rv: `bodies` by task or job, else `body`."""

    body: str = ":"
    bodies: Mapping[str, str] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def argv(self, what: Task | Job) -> list[str]:
        return ["/bin/sh", "-c", TASK, "task", what.id]

    def task_environ(self, task: Task) -> dict[str, str]:
        body = self.bodies.get(task.id, self.bodies.get(task.job, self.body))
        return {"JOURNAL": str(self.run_dir / "journal"), "BODY": body, "RV_RUN_ID": self.run_id}

    def journal(self) -> list[str]:
        path = self.run_dir / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def ran(self) -> set[str]:
        return {line[2:] for line in self.journal() if line.startswith("- ")}


@pytest.fixture
def make_context(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., ScriptContext]:
    def make(**options: Any) -> ScriptContext:
        run_dir = tmp_path / "a run"
        run_dir.mkdir(exist_ok=True)
        run_id = f"local-{os.getpid()}-{request.node.name}"
        context = ScriptContext(run_id, "local", Capabilities(), {}, run_dir, grace_s=5, **options)
        context.on_report = lambda entry: context.reports.append(dict(entry))
        return context

    return make


def job(name: str, num_tasks: int = 1, requires: tuple[str, ...] = (), attempts: int = 1) -> Job:
    ids = [name] if num_tasks == 1 else [f"{name}.{i + 1}-of-{num_tasks}" for i in range(num_tasks)]
    tasks = tuple(Task(task_id, name, index, num_tasks) for index, task_id in enumerate(ids))
    return Job(name, *name.rsplit(".", 1), tasks, requires, Resources(attempts=attempts))


def plan(*jobs: Job) -> Plan:
    return Plan(jobs)


DIAMOND = plan(
    job("p.analyze"), job("p.chip", 3), job("p.train", 1, ("p.analyze", "p.chip")), job("p.predict", 2, ("p.train",))
)


def most_at_once(journal: list[str]) -> int:
    running = most = 0
    for line in journal:
        running += 1 if line.startswith("+") else -1
        most = max(most, running)
    return most


def test_a_job_starts_after_all_that_it_requires(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context(jobs=4, body="sleep 0.03")

    LocalRunner().run(DIAMOND, context)

    journal = context.journal()
    assert Counter(journal) == Counter([f"{mark} {task.id}" for task in DIAMOND.tasks for mark in "+-"])
    train = journal.index("+ p.train")
    assert {line[2:] for line in journal[:train]} == {t.id for j in DIAMOND.jobs[:2] for t in j.tasks}
    assert all(journal.index("- p.train") < journal.index(f"+ {task.id}") for task in DIAMOND.jobs[3].tasks)
    assert context.reports == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_never_more_tasks_at_once_than_jobs_and_as_many_where_it_can(
    jobs: int, make_context: Callable[..., ScriptContext]
) -> None:
    context = make_context(jobs=jobs, body="sleep 0.05")
    LocalRunner().run(plan(job("p.chip", 12)), context)
    assert most_at_once(context.journal()) == jobs


def test_two_pipelines_run_at_the_same_time(make_context: Callable[..., ScriptContext]) -> None:
    both = plan(job("one.a"), job("one.b", 1, ("one.a",)), job("two.a"), job("two.b", 1, ("two.a",)))
    context = make_context(jobs=2, body="sleep 0.1")
    LocalRunner().run(both, context)
    assert {line[2:5] for line in context.journal()[:2]} == {"one", "two"}


def test_a_failure_stops_what_depends_on_it_and_what_has_not_begun(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context(jobs=1, bodies={"p.chip.1-of-3": "exit 7"})

    LocalRunner().run(DIAMOND, context)

    assert "+ p.train" not in context.journal()
    assert "p.chip.2-of-3" not in context.ran()
    assert context.reports == [{"event": "reported", "task": "p.chip.1-of-3", "exit_code": 7}]


def test_with_keep_going_all_runs_that_does_not_depend_on_the_failure(
    make_context: Callable[..., ScriptContext],
) -> None:
    context = make_context(jobs=2, keep_going=True, bodies={"p.chip.1-of-3": "exit 7"})
    with_other = plan(*DIAMOND.jobs, job("q.chip", 2), job("q.train", 1, ("q.chip",)))

    LocalRunner().run(with_other, context)

    assert context.ran() == {
        "p.analyze", "p.chip.2-of-3", "p.chip.3-of-3", "q.chip.1-of-2", "q.chip.2-of-2", "q.train"
    }  # fmt: skip


def test_a_task_that_dies_by_a_signal_is_reported_with_it(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context(bodies={"p.analyze": "kill -KILL $$"})
    LocalRunner().run(plan(job("p.analyze")), context)
    (report,) = context.reports
    assert report["exit_code"] == 137
    assert "SIGKILL" in report["reason"]


def test_a_stopped_task_is_started_again_as_often_as_it_may(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context(body='[ "$RV_ATTEMPT" = 3 ] || exit 75')
    LocalRunner().run(plan(job("p.train", attempts=3)), context)
    assert context.journal() == ["+ p.train"] * 3 + ["- p.train"]


@pytest.mark.parametrize(
    "variable", ["MAKEFLAGS=-n", "GNUMAKEFLAGS=-n", "MFLAGS=-n", "MAKEFILES=/no/such", "MAKELEVEL=3", "MAKEFLAGS=k -j9"]
)
def test_what_the_environment_tells_make_does_not_count(
    variable: str, make_context: Callable[..., ScriptContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable.split("=", 1))
    context = make_context(jobs=1)
    LocalRunner().run(plan(job("p.chip", 2)), context)
    assert len(context.ran()) == 2
    assert "Entering directory" not in (context.run_dir / "logs" / "make.log").read_text()


def test_the_file_runs_again_from_another_folder(make_context: Callable[..., ScriptContext], tmp_path: Path) -> None:
    context = make_context(jobs=2)
    LocalRunner().run(DIAMOND, context)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    done = subprocess.run(["make", "-f", str(context.run_dir / "Makefile"), "-j2"], cwd=elsewhere, check=False)

    assert done.returncode == 0
    assert len(context.journal()) == 4 * len(DIAMOND.tasks)


def test_the_header_holds_a_command_that_works(make_context: Callable[..., ScriptContext], tmp_path: Path) -> None:
    context = make_context()
    LocalRunner().run(plan(job("p.chip")), context)
    (line,) = [x for x in (context.run_dir / "Makefile").read_text().splitlines() if x.startswith("#   make ")]
    assert subprocess.run(["sh", "-c", line.lstrip("# ")], cwd="/", check=False).returncode == 0
    assert len(context.journal()) == 4


def test_render_is_what_is_written_and_needs_no_make(
    make_context: Callable[..., ScriptContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = make_context()
    LocalRunner().run(DIAMOND, context)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LocalRunner().render(DIAMOND, context) == (context.run_dir / "Makefile").read_text()


#: Runs a job of twenty tasks that each sleep for a minute beside a child of their own.
DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_local_runner import LocalRunner, ScriptContext, job, plan
from rv_core.machine.shutdown import Interrupted
from rv_core.runner.contract import Capabilities
context = ScriptContext(sys.argv[1], "local", Capabilities(), {}, Path(sys.argv[2]), jobs=2, keep_going=True,
                        grace_s=3, body="sleep 60 & wait")
try:
    LocalRunner().run(plan(job("p.chip", 20, attempts=3)), context)
except Interrupted as interrupted:
    sys.exit(200 + interrupted.signum)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_whatever_ends_the_run(signum: signal.Signals, tmp_path: Path) -> None:
    run_id = f"local-{os.getpid()}-{signum}"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, run_id, str(tmp_path), str(Path(__file__).parent)])
    wait_until(lambda: (tmp_path / "journal").exists() and (tmp_path / "journal").read_text().count("+") == 2)

    driver.send_signal(signum)

    assert driver.wait(timeout=10) == (200 + signum if signum != signal.SIGKILL else -signum)
    wait_until(lambda: not processes_of_run(run_id))
    assert (tmp_path / "journal").read_text().count("+") == 2  # neither restarted nor the next one begun


def wait_until(look: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc")
def test_death_of_make_alone_is_an_error_and_leaves_nothing(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context(jobs=2, bodies={"p.chip.1-of-2": "kill -KILL $PPID; sleep 60", "p.chip.2-of-2": "sleep 60"})
    with pytest.raises(RunnerError, match="make was killed by signal 9"):
        LocalRunner().run(plan(job("p.chip", 2)), context)
    assert not processes_of_run(context.run_id)


def fake_make(folder: Path, name: str, script: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_an_error_of_make_itself_is_shown(make_context: Callable[..., ScriptContext], tmp_path: Path) -> None:
    make = fake_make(
        tmp_path, "make", '[ "$1" = --version ] && echo "GNU Make 4.3" && exit; echo "no memory" >&2; exit 2'
    )
    context = make_context()
    with pytest.raises(RunnerError, match="make ended with 2") as caught:
        LocalRunner(LocalSettings(make=make)).run(DIAMOND, context)
    assert "no memory" in str(caught.value)
    assert "make.log" in str(caught.value)


def test_no_make_says_how_to_install_it_and_exits_with_3(
    make_context: Callable[..., ScriptContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    context = make_context()
    for attempt in (LocalRunner().run, lambda p, c: list(LocalRunner().preflight(p, c))):
        with pytest.raises(RunnerError, match="no make or gmake") as caught:
            attempt(DIAMOND, context)
        assert caught.value.exit_code == EXIT_ENVIRONMENT
        for words in ("apt install make", "dnf install make", "xcode-select"):
            assert words in str(caught.value)
    assert not (context.run_dir / "Makefile").exists()


@pytest.mark.parametrize(
    "says", ["echo 'GNU Make 3.80'", "echo 'bmake 20200710'", "exit 1", "echo no tools >&2; exit 1"]
)
def test_another_make_is_refused(says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path, "make", says)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunnerError, match=r"needs GNU make 3\.81 or newer"):
        find_make()


def test_gmake_is_taken_where_make_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_make(tmp_path, "make", "echo bmake")
    gmake = fake_make(tmp_path, "gmake", "echo 'GNU Make 3.81'")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_make() == gmake


def test_the_setting_names_the_make_to_use(tmp_path: Path) -> None:
    mine = fake_make(tmp_path, "mymake", "echo 'GNU Make 4.4.1'")
    assert find_make(mine) == mine
    with pytest.raises(RunnerError, match="no /no/such/make to be found") as caught:
        find_make("/no/such/make")
    assert "local.make" in str(caught.value)


def test_a_program_that_cannot_be_run_is_no_make(tmp_path: Path) -> None:
    broken = tmp_path / "make"
    broken.write_bytes(b"\x7fELF nothing")
    broken.chmod(0o755)
    with pytest.raises(RunnerError, match="GNU make"):
        find_make(str(broken))


def test_a_line_break_in_a_root_is_a_finding(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context()
    assert list(LocalRunner().preflight(DIAMOND, context)) == []
    context.run_dir = Path("/tmp/a\nb")
    findings = list(LocalRunner().preflight(DIAMOND, context))
    assert [finding.where for finding in findings] == [j.id for j in DIAMOND.jobs]
    assert "line break" in findings[0].what


def test_a_dry_run_needs_no_make(
    make_context: Callable[..., ScriptContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(LocalRunner().preflight(DIAMOND, make_context(is_dry_run=True))) == []


def test_the_runner_is_declared_and_can_be_resolved() -> None:
    (spec,) = hooks.rv_runners()
    assert isinstance(spec, RunnerSpec)
    assert spec.name == "local"
    runner = resolve(spec.target, declared_by="local")
    assert isinstance(runner, type)
    assert issubclass(runner, Runner)
    assert resolve(spec.settings, declared_by="local") is LocalSettings
    assert LocalSettings().make == ""


def test_the_hooks_import_neither_the_runner_nor_a_library() -> None:
    code = "import sys, rv_runner_local.hooks as h; h.rv_runners(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"rv_runner_local.runner", "rv_core.runner.contract", "marshmallow", "typer", "rich", "fsspec"} & set(
        loaded
    )


def test_more_jobs_than_make_can_count_do_not_hang_it(make_context: Callable[..., ScriptContext]) -> None:
    context = make_context(jobs=1_000_000)
    LocalRunner().run(plan(job("p.chip", 2)), context)
    assert len(context.ran()) == 2
