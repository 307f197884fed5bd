"""Rules: a run can be looked at while it goes on, and ended in every state; no process is left and nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from rv_core.testing.claims import needs
from rv_core.testing.scenarios import beats_of, cancelled, run_probe, start_holding, watch_beats
from rv_core.testing.workbench import GRACE_S, SUBMITTED, Workbench


class CancelRules:
    """What a runner makes of `rv cancel`, and of those who look on."""

    @needs("cancels")
    def test_status_of_a_run_that_goes_on(self, rv_bench: Workbench) -> None:
        """While a run goes on, `rv status` tells which task is done, which is running and which waits."""
        seen = cancelled(rv_bench).status_before
        states = {task["task"]: task["state"] for job in seen["jobs"] for task in job["tasks"]}
        rv_bench.expect(seen["state"] == "running", f"a run that goes on is shown as {seen['state']}", states)
        first, second, third = (states[f"probe.work.{n}-of-3"] for n in (1, 2, 3))
        rv_bench.expect(first == "done", f"a task that has ended is shown as {first}", states)
        rv_bench.expect("running" in (second, third), "no task is shown as running", states)
        waits = states["probe.after"]
        rv_bench.expect(waits in ("waiting", "submitted"), f"a task that waits is shown as {waits}", states)

    @needs("cancels")
    def test_a_busy_root_is_refused(self, rv_bench: Workbench) -> None:
        """A second `rv run` of a root that has an unfinished run says so and ends with 2."""
        second = cancelled(rv_bench).second
        rv_bench.expect(second.code == 2, f"a second run of a busy root ended with {second.code}, not 2", second)

    @needs("cancels")
    def test_cancel_ends_what_is_running(self, rv_bench: Workbench) -> None:
        """After `rv cancel` no process of the run is left, and the run is shown as cancelled."""
        seen = cancelled(rv_bench)
        rv_bench.expect(seen.cancel.code == 0, "rv cancel fails", seen.cancel)
        rv_bench.expect(seen.beats[0] == seen.beats[1], "a task goes on after rv cancel", seen.cancel)
        state = seen.status_after["state"]
        rv_bench.expect(state == "cancelled", f"a cancelled run is shown as {state}", seen.cancel)

    @needs("cancels")
    def test_cancel_ends_what_waits(self, rv_bench: Workbench) -> None:
        """What was waiting when the run was cancelled is never started."""
        seen = cancelled(rv_bench)
        after = [task for task in seen.evidence.attempts() if task.startswith("probe.after")]
        rv_bench.expect(not after, "a task that waited was started after rv cancel", seen.cancel)
        done = sorted(seen.evidence.manifests("work"))
        rv_bench.expect(done == ["item-0"], f"done of a run that was cancelled after item-0: {done}", seen.cancel)

    @needs("cancels")
    def test_cancel_after_the_end_changes_nothing(self, rv_bench: Workbench) -> None:
        """Cancelling a run that has ended does no harm and ends with 0."""
        run = run_probe(rv_bench, "fault", "aside")
        cancel = rv_bench.rv("cancel", run.root)
        rv_bench.expect(cancel.code == 0, "cancelling a run that has ended fails", cancel)
        state = rv_bench.status(run.root)["state"]
        rv_bench.expect(state == "done", f"a run that was done is shown as {state} after a late rv cancel", cancel)

    @needs("cancels")
    def test_a_cancelled_run_goes_on_with_the_same_command(self, rv_bench: Workbench) -> None:
        """What was done before a cancel stays done; the same command does the rest."""
        seen = cancelled(rv_bench)
        rv_bench.mark(seen.root, "release")
        again = run_probe(rv_bench, "hold", "-s", "2", "--jobs", "2", root=seen.root, hold_from=1)
        rv_bench.expect(
            again.finished.code == 0, "a cancelled run does not go on with the same command", again.finished
        )
        worked = again.evidence.worked_items("work")
        rv_bench.expect(worked == ["item-1", "item-2"], f"after the cancel these were done: {worked}", again.finished)

    @needs("cancels")
    def test_take_over_ends_the_run_that_goes_on(self, rv_bench: Workbench) -> None:
        """`rv run --take-over` ends the unfinished run of a root first, and then does its work."""
        root, started = start_holding(rv_bench, num_items=1)
        words = rv_bench.run_words("survey", root, "--take-over", num_items=1)
        taken = rv_bench.ended(rv_bench.rv(*words), root)
        rv_bench.expect(taken.code == 0, "rv run --take-over does not end well", taken)
        before = started.wait(rv_bench.timeout_s)
        rv_bench.expect(before is not None, "the run that was taken over goes on", taken)
        first, later = watch_beats(rv_bench, root)
        rv_bench.expect(first == later, "a task of the run that was taken over goes on", taken, before)


class WaitingRules:
    """What becomes of a run that was handed to an engine while `rv run --wait` waits for it."""

    @needs("detaches")
    @pytest.mark.parametrize(("fault", "code"), [("", 0), ("raise", 1)], ids=["done", "failed"])
    def test_waiting_ends_with_the_exit_code_of_the_run(self, rv_bench: Workbench, fault: str, code: int) -> None:
        """`rv run --wait` ends when the run does, with 0 if everything is done and 1 if a task failed."""
        root = rv_bench.root("waited")
        waited = rv_bench.rv(*rv_bench.run_words("fault", root, "work", "--wait", fault=fault))
        rv_bench.expect(waited.code == code, f"rv run --wait ended with {waited.code}, not {code}", waited)
        is_told = not fault or "asked to fail" in waited.said
        rv_bench.expect(is_told, "rv run --wait does not tell why the run failed", waited)

    @needs("detaches")
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
    def test_a_signal_ends_the_waiting_and_not_the_run(self, rv_bench: Workbench, signum: signal.Signals) -> None:
        """Ctrl-C and TERM end `rv run --wait` with 130; no task is ended or started again, and the run ends well."""
        root, started = start_holding(rv_bench, "--wait", num_items=1)
        rv_bench.wait_until(lambda: SUBMITTED in started.out, "rv run says that everything is submitted", started)
        # As a terminal does: to rv run and all that is in its process group.
        os.killpg(started.process.pid, signum)
        ended = started.wait(rv_bench.timeout_s)
        rv_bench.expect(ended is not None, f"{signum.name} does not end rv run --wait", started.kill())
        assert ended is not None
        rv_bench.expect(ended.code == 130, f"after {signum.name} the exit code is {ended.code}, not 130", ended)
        # A task that is told to stop stops at once; one that is killed does so after the grace.
        first = beats_of(rv_bench, root)
        goes_on = f"after {signum.name} the task of a submitted run goes on"
        rv_bench.wait_until(lambda: beats_of(rv_bench, root) != first, goes_on, ended, timeout_s=10)
        rv_bench.mark(root, "release")
        state = rv_bench.wait_until_over(root, ended)["state"]
        rv_bench.expect(state == "done", f"a run whose waiting was ended is {state} in the end, not done", ended)
        attempts = {task: sorted(found) for task, found in rv_bench.evidence(root).attempts().items()}
        expected = {"probe.work": [1], "probe.after": [1]}
        rv_bench.expect(attempts == expected, f"tasks were started again: {attempts}", ended)


class SignalRules:
    """What a runner that waits for its tasks makes of Ctrl-C and TERM."""

    @needs("not detaches")
    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
    def test_a_signal_ends_the_run_and_all_its_processes(
        self, rv_bench: Workbench, tmp_path: Path, signum: signal.Signals
    ) -> None:
        """INT and TERM end `rv run` with 130; no task, and nothing that a task started, is left behind."""
        child = tmp_path / "child"
        fields = {} if rv_bench.claims("in_process") else {"child_file": str(child)}
        root, started = start_holding(rv_bench, "--jobs", "2", "-s", "2", num_items=2, **fields)
        if fields:
            rv_bench.wait_until(child.exists, "the child of a task starts", started)
        asked_at = time.monotonic()
        started.process.send_signal(signum)
        ended = started.wait(rv_bench.timeout_s)
        rv_bench.expect(ended is not None, f"{signum.name} does not end rv run", started.kill())
        assert ended is not None
        took_s = time.monotonic() - asked_at
        size = child.stat().st_size if child.exists() else 0
        first, later = watch_beats(rv_bench, root)
        rv_bench.expect(ended.code == 130, f"after {signum.name} the exit code is {ended.code}, not 130", ended)
        rv_bench.expect(first == later, f"after {signum.name} a task of the run goes on", ended)
        still = child.exists() and child.stat().st_size > size
        rv_bench.expect(not still, f"after {signum.name} a process that a task had started goes on", ended)
        limit_s = GRACE_S + 8
        rv_bench.expect(took_s < limit_s, f"{signum.name} took {took_s:.0f} s with a grace of {GRACE_S:g} s", ended)

    @needs("not detaches")
    def test_a_task_has_a_grace_after_term(self, rv_bench: Workbench) -> None:
        """A run that is ended tells its tasks with TERM, so that they can save their state, before it kills them."""
        root, started = start_holding(rv_bench, num_items=1)
        started.process.send_signal(signal.SIGTERM)
        ended = started.wait(rv_bench.timeout_s)
        rv_bench.expect(ended is not None, "TERM does not end rv run", started.kill())
        (events,) = rv_bench.evidence(root).attempts()["probe.work"].values()
        last = events[-1]["event"]
        rv_bench.expect(last == "stopped", f"the last that a task said of its end is {last!r}, not 'stopped'", ended)
