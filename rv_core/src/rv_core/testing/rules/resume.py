"""Rules: the same command goes on where a run stopped, however it stopped."""

from __future__ import annotations

import signal
from typing import Any

from rv_core.machine.python import module_argv
from rv_core.testing.claims import needs
from rv_core.testing.scenarios import beats_of, died, run_probe, start_holding
from rv_core.testing.workbench import Workbench


class ResumeRules:
    """What a runner makes of a run that was begun before."""

    def test_resume_at_item_level_with_other_splits(self, rv_bench: Workbench) -> None:
        """After a failure only the items that are not done are worked on, in any number of splits."""
        fields: dict[str, Any] = {"fault": "raise", "fault_item": "item-3", "num_items": 6}
        first = run_probe(rv_bench, "fault", "-s", "2", "--keep-going", **fields)
        done = first.evidence.manifests("work")
        rv_bench.expect(
            sorted(done) == ["item-0", "item-1", "item-2"], f"done at first: {sorted(done)}", first.finished
        )
        rv_bench.mark(first.root, "mended")
        again = run_probe(rv_bench, "fault", "-s", "3", root=first.root, **fields)
        rv_bench.expect(again.finished.code == 0, "the same command does not go on after a failure", again.finished)
        worked = again.evidence.worked_items("work")
        rv_bench.expect(worked == ["item-3", "item-4", "item-5"], f"worked on again: {worked}", again.finished)
        tasks = [task for task in again.evidence.attempts() if task.startswith("probe.work")]
        rv_bench.expect(len(tasks) == 3, f"3 items that are left in 3 splits became {len(tasks)} tasks", again.finished)

    @needs("not in_process")
    def test_resume_after_a_task_was_killed(self, rv_bench: Workbench) -> None:
        """After a task was killed the same command finishes the run."""
        first = died(rv_bench)
        rv_bench.mark(first.root, "mended")
        again = run_probe(rv_bench, "fault", "-s", "2", root=first.root, fault="kill")
        rv_bench.expect(again.finished.code == 0, "the same command does not go on after a KILL", again.finished)
        worked = again.evidence.worked_items("work")
        rv_bench.expect(worked == ["item-1"], f"item-1 alone was not done, and worked on were {worked}", again.finished)

    @needs("not detaches")
    def test_resume_after_rv_run_was_killed(self, rv_bench: Workbench) -> None:
        """After `rv run` itself was killed the same command takes the root over and finishes the run."""
        root, started = start_holding(rv_bench, "-s", "2", "--jobs", "2", num_items=3, hold_from=1)
        started.process.send_signal(signal.SIGKILL)
        started.wait(rv_bench.timeout_s)
        rv_bench.mark(root, "release")
        again = run_probe(rv_bench, "hold", "-s", "3", root=root, num_items=3, hold_from=1)
        rv_bench.expect(again.finished.code == 0, "the same command does not go on after a KILL", again.finished)
        done = sorted(again.evidence.manifests("work"))
        rv_bench.expect(done == ["item-0", "item-1", "item-2"], f"done in the end: {done}", again.finished)

    @needs("detaches")
    def test_a_submitted_run_goes_on_alone(self, rv_bench: Workbench) -> None:
        """`rv run` returns once everything is submitted; the run goes on and ends without it."""
        root, started = start_holding(rv_bench, num_items=1)
        submitted = started.wait(rv_bench.timeout_s)
        rv_bench.expect(submitted is not None, "rv run does not return after the submission", started.kill())
        assert submitted is not None
        rv_bench.expect(submitted.code == 0, "a submission does not end with 0", submitted)
        rv_bench.mark(root, "release")
        ended = rv_bench.ended(submitted, root)
        rv_bench.expect(ended.code == 0, "a submitted run does not end well by itself", ended)

    def test_two_copies_of_a_task_do_no_harm(self, rv_bench: Workbench) -> None:
        """An engine may start a task twice: both end well and what they leave is whole."""
        root, started = start_holding(rv_bench, num_items=2)
        (run_id,) = rv_bench.evidence(root).run_ids
        config = f"{root}/.rv/runs/{run_id}/pipeline-config.json"
        argv = [*module_argv("rv_core"), "run-command", config, "work", "--runner", rv_bench.runner]
        second = rv_bench.start_argv(argv, environ={"RV_RUN_ID": run_id})
        # On two machines both copies are the first attempt, and the events of one stand for both.
        rv_bench.wait_until(lambda: len(beats_of(rv_bench, root)) == 2, "a second copy of a task starts", second)
        rv_bench.mark(root, "release")
        copy, first = second.wait(rv_bench.timeout_s), started.wait(rv_bench.timeout_s)
        rv_bench.expect(copy and copy.code == 0, "the second copy of a task does not end well", copy)
        ended = rv_bench.ended(first, root) if first else None
        rv_bench.expect(ended and ended.code == 0, "a run with a task that ran twice does not end well", ended)
        texts = rv_bench.evidence(root).outputs()
        expected = {
            "work/item-0.txt": b"item-0\n",
            "work/item-1.txt": b"item-1\n",
            "after/all.txt": b"item-0\nitem-1\n",
        }
        rv_bench.expect(texts == expected, f"two copies of a task left {texts}", ended)
