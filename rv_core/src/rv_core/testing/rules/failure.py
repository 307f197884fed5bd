"""Rules: what fails is said, with its reason and its log; nothing is claimed that did not happen."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from rv_core.testing.claims import needs
from rv_core.testing.probe_pipelines.failing import SPOILT
from rv_core.testing.scenarios import Ran, died, failed, run_probe
from rv_core.testing.workbench import MODULE, Workbench

_FAILED_TASK = "probe.work.2-of-3"
_KILLED = (-9, 137)


class FailureRules:
    """What a runner makes of tasks that fail."""

    def test_a_failure_ends_with_1_and_names_the_task(self, rv_bench: Workbench) -> None:
        """A run with a failed task ends with exit code 1 and says which task failed and why."""
        run = failed(rv_bench)
        rv_bench.expect(run.finished.code == 1, "a run with a failed task does not end with exit code 1", run.finished)
        said = rv_bench.rv("status", run.root).out if rv_bench.claims("detaches") else run.finished.said
        rv_bench.expect(_FAILED_TASK in said, f"the failed task {_FAILED_TASK} is not named", run.finished, said)
        rv_bench.expect("asked to fail on item-1" in said, "the reason of the failure is not told", run.finished, said)

    def test_what_requires_a_failed_job_is_not_started(self, rv_bench: Workbench) -> None:
        """Once a task has failed, no task of a job that requires its job is started."""
        run = failed(rv_bench)
        started = [task for task in run.evidence.attempts() if task.startswith("probe.after")]
        what = f"started although work, which it requires, had failed: {', '.join(started)}"
        rv_bench.expect(not started, what, run.finished)

    def test_others_finish_with_keep_going(self, rv_bench: Workbench) -> None:
        """With `--keep-going`, what does not depend on a failed task is finished."""
        run = failed(rv_bench)
        done = set(run.evidence.manifests("work")) | set(run.evidence.manifests("aside"))
        missing = {"item-0", "item-2", "all"} - done
        what = f"not done, though it does not depend on what failed: {sorted(missing)}"
        rv_bench.expect(not missing, what, run.finished)

    def test_status_tells_the_reason_of_a_failure(self, rv_bench: Workbench) -> None:
        """`rv status` shows the failed task as failed, with its reason and exit code."""
        run = failed(rv_bench)
        task = run.tasks[_FAILED_TASK]
        rv_bench.expect(task["state"] == "failed", f"rv status calls a task that raised {task['state']}", task)
        rv_bench.expect("asked to fail on item-1" in task["reason"], "rv status does not know why it failed", task)
        rv_bench.expect(task["exit_code"] == 1, "rv status does not know its exit code", task)

    def test_the_log_of_a_failed_task_is_found(self, rv_bench: Workbench) -> None:
        """`rv logs ROOT TASK` shows what the failed task printed and how it failed."""
        run = failed(rv_bench)
        logs = rv_bench.rv("logs", run.root, _FAILED_TASK)
        rv_bench.expect(logs.code == 0, "rv logs does not find the log of a failed task", logs)
        for text in ("about to work on item-1", "RuntimeError: asked to fail on item-1"):
            rv_bench.expect(text in logs.out, f"the log of a failed task does not hold {text!r}", logs)

    @needs("not in_process")
    def test_a_task_that_is_killed_has_failed(self, rv_bench: Workbench) -> None:
        """A task that dies without a word is shown with its exit code: only the runner can have seen it."""
        run = died(rv_bench)
        rv_bench.expect(run.finished.code == 1, "a run with a killed task does not end with exit code 1", run.finished)
        task = run.tasks[_FAILED_TASK]
        rv_bench.expect(task["state"] in ("failed", "lost"), f"a killed task is shown as {task['state']}", task)
        what = f"a task was killed by signal 9 and rv status shows its exit code as {task['exit_code']}"
        rv_bench.expect(task["exit_code"] in _KILLED, f"{what}; use RunContext.report", task)
        if not rv_bench.claims("detaches"):
            is_told = re.search(r"SIGKILL|exit code (-9|137)", run.finished.said)
            rv_bench.expect(is_told, "rv run does not say that a signal killed the task", run.finished)

    @needs("not in_process")
    def test_what_requires_a_killed_task_is_not_started(self, rv_bench: Workbench) -> None:
        """A task that died without a word keeps what requires its job from starting, like any other failure."""
        run = died(rv_bench)
        started = [task for task in run.evidence.attempts() if task.startswith("probe.after")]
        what = f"started although a task of work, which it requires, was killed: {', '.join(started)}"
        rv_bench.expect(not started, what, run.finished)

    @needs("not in_process")
    def test_an_exit_code_of_a_task_is_kept(self, rv_bench: Workbench) -> None:
        """A task that ends its process with an exit code of its own is shown with that code."""
        run = run_probe(rv_bench, "fault", "work", fault="exit-7")
        rv_bench.expect(run.finished.code == 1, "a task exited with 7 and the run did not with 1", run.finished)
        task = rv_bench.task_states(run.root)["probe.work"]
        what = f"a task exited with 7 and rv status shows its exit code as {task['exit_code']}; use RunContext.report"
        rv_bench.expect(task["exit_code"] == 7, what, task)

    @needs("retries", "not in_process")
    def test_an_exit_code_above_128_is_no_signal(self, rv_bench: Workbench) -> None:
        """A task that ends its process with 200 is not started again, and is shown with that code: no signal ends with it."""
        run = run_probe(rv_bench, "retried-fault", "work", fault="exit-200")
        attempts = sorted(run.evidence.attempts().get("probe.work", {}))
        what = f"a task that exited with 200, as no signal does, has the attempts {attempts}"
        rv_bench.expect(attempts == [1], what, run.finished)
        rv_bench.expect(run.finished.code == 1, "a task exited with 200 and the run did not with 1", run.finished)
        task = rv_bench.task_states(run.root)["probe.work"]
        shown = task["exit_code"]
        rv_bench.expect(shown == 200, f"a task exited with 200 and rv status shows its exit code as {shown}", task)

    @needs("not in_process")
    def test_a_task_that_dies_after_its_work_has_failed(self, rv_bench: Workbench) -> None:
        """A task that is killed when all its items are done, and it has said so, is a task that failed all the same."""
        run = run_probe(rv_bench, "fault", "work", fault="late-kill")
        what = "a task was killed after its work and the run did not end with 1; use RunContext.report"
        rv_bench.expect(run.finished.code == 1, what, run.finished)
        task = rv_bench.task_states(run.root)["probe.work"]
        rv_bench.expect(task["state"] == "failed", f"a task killed after its work is shown as {task['state']}", task)

    @needs("not in_process")
    def test_a_task_that_did_not_do_its_work_is_not_done(self, rv_bench: Workbench) -> None:
        """Exit code 0 alone is nothing: what is done is what has a manifest."""
        run = run_probe(rv_bench, "fault", "work", fault="exit-0")
        rv_bench.expect(run.finished.code == 1, "a task left its work undone and the run ended with 0", run.finished)
        task = rv_bench.task_states(run.root)["probe.work"]
        rv_bench.expect(task["state"] != "done", "a task left its work undone and is shown as done", task)

    @needs("not in_process")
    def test_what_a_task_says_before_its_log_is_open_is_shown(self, rv_bench: Workbench) -> None:
        """Of a task that fails before it can open its log the last lines are shown: only the runner's engine has them."""
        run = run_probe(rv_bench, "fault", "work", "after", fault="spoil", num_items=2)
        rv_bench.expect(run.finished.code == 1, "a task could not begin and the run did not end with 1", run.finished)
        said = rv_bench.rv("status", run.root).out if rv_bench.claims("detaches") else run.finished.said
        what = f"a task failed before its log was open, and what it said of {SPOILT} is not shown; use Runner.logs"
        rv_bench.expect(SPOILT in said, what, run.finished, said)

    @needs("not detaches")
    def test_advice_works_when_it_is_followed(self, rv_bench: Workbench) -> None:
        """The logs that a failed run names are there, and the command lines that it advises can be typed as they are."""
        run = run_probe(rv_bench, "fault", "work", root=f"{rv_bench.root('a d')}/it's", fault="raise")
        logs = re.findall(r"^\s*log: (/.*)$", run.finished.said, re.MULTILINE)
        missing = [path for path in logs if not Path(path).is_file()]
        rv_bench.expect(not missing, f"logs that the run names are not there: {missing}", run.finished)
        for advice in re.findall(r"\brv ((?:logs|status|cancel) [^`\n;]*)", run.finished.said):
            words = shlex.split(advice.removesuffix(")"))
            followed = rv_bench.rv(*words)
            rv_bench.expect(followed.code == 0, f"the advice rv {advice} does not work", run.finished, followed)

    def test_run_returns_nothing(self, rv_bench: Workbench) -> None:
        """`Runner.run` returns None: there is nothing that it could claim."""
        root = rv_bench.root("returns")
        words = [rv_bench.runner, MODULE, rv_bench.profile, "survey", root]
        asked = rv_bench.python("-m", "rv_core.testing.asked.returned_value", *words)
        rv_bench.ended(asked, root)
        returned = asked.out.splitlines()[-1:] or ["nothing at all"]
        rv_bench.expect(returned == ["Runner.run returned None"], f"{returned[0]}; it must return nothing", asked)


class RetryRules:
    """What a runner makes of `attempts` and `timeout_s`, where it claims to."""

    @needs("retries", "retries_signals", "not in_process")
    def test_a_task_that_dies_by_a_signal_is_started_again(self, rv_bench: Workbench) -> None:
        """A task of a command with several attempts is started again when a signal ended it."""
        self._expect_second_attempt(rv_bench, fault="kill")

    @needs("retries", "not in_process")
    def test_a_task_that_was_stopped_is_started_again(self, rv_bench: Workbench) -> None:
        """Exit code 75 says: stopped with its state saved, run me again."""
        self._expect_second_attempt(rv_bench, fault="stop")

    def _expect_second_attempt(self, bench: Workbench, **fields: Any) -> None:
        run = run_probe(bench, "retried-fault", "work", times=1, **fields)
        attempts = self._attempts(run)
        bench.expect(
            attempts == [1, 2], f"a task with 3 attempts, 1 at fault, has the attempts {attempts}", run.finished
        )
        bench.expect(run.finished.code == 0, "its second attempt did not make the run end well", run.finished)

    @needs("retries", "not in_process")
    def test_attempts_are_bounded(self, rv_bench: Workbench) -> None:
        """A task with three attempts that always stops is started three times; one with a single attempt once."""
        run = run_probe(rv_bench, "retried-fault", "work", fault="stop")
        rv_bench.expect(run.finished.code == 1, "a task that always stops did not fail the run", run.finished)
        attempts = self._attempts(run)
        what = f"a task with 3 attempts that always stops has the attempts {attempts}"
        rv_bench.expect(attempts == [1, 2, 3], what, run.finished)
        once = len(died(rv_bench).evidence.attempts().get(_FAILED_TASK, {}))
        rv_bench.expect(once == 1, f"a task with a single attempt was started {once} times", died(rv_bench).finished)

    def test_a_task_that_raises_is_not_started_again(self, rv_bench: Workbench) -> None:
        """However many attempts it has: an error stays an error."""
        run = run_probe(rv_bench, "retried-fault", "work", fault="raise", times=1)
        attempts = self._attempts(run)
        rv_bench.expect(attempts == [1], f"a task that raised has the attempts {attempts}", run.finished)
        rv_bench.expect(run.finished.code == 1, "a task that raised did not fail the run", run.finished)

    def _attempts(self, run: Ran) -> list[int]:
        return sorted(run.evidence.attempts().get("probe.work", {}))

    @needs("times_out")
    def test_a_task_is_ended_after_its_time(self, rv_bench: Workbench) -> None:
        """A task that takes longer than its command's `timeout_s` is ended, and that is its reason."""
        run = run_probe(rv_bench, "slow")
        rv_bench.expect(run.finished.code == 1, "a task over its time did not fail the run", run.finished)
        task = rv_bench.task_states(run.root)["probe.sleep"]
        rv_bench.expect(task["state"] == "failed", f"a task over its time is shown as {task['state']}", task)
        rv_bench.expect("time" in task["reason"], "the reason does not speak of time", task)
