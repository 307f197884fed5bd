"""Rules: every task runs, once, after all that its job requires."""

from __future__ import annotations

from collections import Counter

from rv_core.testing.claims import needs
from rv_core.testing.evidence import command_of
from rv_core.testing.scenarios import HOSTILE_TEXT, run_probe, survey
from rv_core.testing.workbench import Workbench


class OrderRules:
    """What a runner makes of a plan."""

    def test_a_diamond_runs_in_order(self, rv_bench: Workbench) -> None:
        """A task starts only after every task of every job that its job requires has ended well."""
        run = survey(rv_bench)
        refused = run.evidence.refused()
        rv_bench.expect(
            not refused, f"tasks were started before what they require was done: {', '.join(refused)}", run.finished
        )
        rv_bench.expect(run.finished.code == 0, "a sound plan does not end with exit code 0", run.finished)
        rv_bench.expect(run.evidence.manifests("last"), "the last job of a diamond was not run", run.finished)

    def test_split_tasks_work_on_every_item_once(self, rv_bench: Workbench) -> None:
        """Each split of a job is one task that gets its own split index: no item is left out or done twice."""
        run = survey(rv_bench)
        for command in ("first", "left"):
            counts = Counter(run.evidence.worked_items(command))
            wrong = {f"item-{n}": counts[f"item-{n}"] for n in range(7) if counts[f"item-{n}"] != 1}
            sizes = sorted(Counter(m["task"] for m in run.evidence.manifests(command).values()).values())
            what = f"7 items of {command} in 3 splits came out as shares of {sizes}, not [2, 2, 3]"
            rv_bench.expect(not wrong, f"{what}; how often each was done: {wrong}", run.finished)
            rv_bench.expect(sizes == [2, 2, 3], what, run.finished)

    def test_each_task_is_started_once(self, rv_bench: Workbench) -> None:
        """A task that ends well is started once and no more."""
        run = survey(rv_bench)
        again = {task: len(attempts) for task, attempts in run.evidence.attempts().items() if len(attempts) != 1}
        rv_bench.expect(not again, f"tasks that were started several times: {again}", run.finished)

    def test_every_planned_task_is_started(self, rv_bench: Workbench) -> None:
        """Every task of the plan gets a process of its own: none is dropped, none is invented."""
        run = survey(rv_bench)
        planned = {
            f"{job['id']}.{n + 1}-of-{job['num_splits']}" if job["num_splits"] > 1 else job["id"]
            for job in run.evidence.plan()["jobs"]
            for n in range(job["num_splits"])
        }
        started = set(run.evidence.attempts())
        rv_bench.expect(planned <= started, f"never started: {sorted(planned - started)}", run.finished)
        rv_bench.expect(started <= planned, f"started, though not planned: {sorted(started - planned)}", run.finished)

    def test_fan_in_sees_what_every_split_wrote(self, rv_bench: Workbench) -> None:
        """A job that requires a split job starts after the last of its splits."""
        run = survey(rv_bench)
        items = run.evidence.read_json("last/all.json")["items"] if "last/all.json" in run.evidence.files else []
        rv_bench.expect(len(items) == 7, f"the job after 3 splits saw the items {items}, not 7", run.finished)

    def test_one_split_is_one_task(self, rv_bench: Workbench) -> None:
        """A job of a single task is no array of one: its task has the job's own id."""
        run = run_probe(rv_bench, "survey", "-s", "1", num_items=2)
        rv_bench.expect(run.finished.code == 0, "jobs of a single task do not end with exit code 0", run.finished)
        tasks = sorted(run.evidence.attempts())
        expected = [f"probe.{command}" for command in ("first", "last", "left", "right")]
        rv_bench.expect(tasks == expected, f"the tasks are {tasks}, not {expected}", run.finished)

    def test_more_splits_than_items(self, rv_bench: Workbench) -> None:
        """Nine splits of two items are two tasks."""
        run = run_probe(rv_bench, "survey", "-s", "9", num_items=2)
        rv_bench.expect(run.finished.code == 0, "9 splits of 2 items do not end with exit code 0", run.finished)
        counts = Counter(map(command_of, run.evidence.attempts()))
        rv_bench.expect(counts["first"] == 2, f"9 splits of 2 items became {counts['first']} tasks", run.finished)

    def test_two_pipelines_in_one_plan(self, rv_bench: Workbench) -> None:
        """Several pipelines are one plan; each runs in order and reads and writes under its own root."""
        root = rv_bench.root("two")
        words = rv_bench.run_words("survey", root, "-a", "pipelines=2", "-s", "2", "--jobs", "2")
        finished = rv_bench.ended(rv_bench.rv(*words), f"{root}/probe-1")
        rv_bench.expect(finished.code == 0, "two pipelines in one plan do not end with exit code 0", finished)
        for name in ("probe-1", "probe-2"):
            note = rv_bench.evidence(f"{root}/{name}").read_json("last/all.json")
            rv_bench.expect(note["pipeline"] == name, f"the root of {name} was written by {note['pipeline']}", finished)

    def test_nothing_to_do_starts_nothing(self, rv_bench: Workbench) -> None:
        """The same command again finds everything done, says so and ends with 0."""
        run = survey(rv_bench)
        rv_bench.expect(run.finished.code == 0, "the first run did not end well", run.finished)
        again = run_probe(rv_bench, "survey", "-s", "5", root=run.root, num_items=7, text=HOSTILE_TEXT)
        rv_bench.expect(again.finished.code == 0, "with nothing to do the exit code is not 0", again.finished)
        rv_bench.expect("Nothing to do" in again.finished.out, "it is not said that all is done", again.finished)
        rv_bench.expect(len(again.evidence.run_ids) == 1, "a run was made of nothing to do", again.finished)

    @needs("parallel")
    def test_splits_run_side_by_side(self, rv_bench: Workbench) -> None:
        """Two splits of a job are at work at the same time: each waits for the other and finds it."""
        run = run_probe(rv_bench, "meet", "-s", "2", "--jobs", "2", num_items=2, patience_s=rv_bench.timeout_s / 4)
        rv_bench.expect(run.finished.code == 0, "two tasks that wait for each other never met", run.finished)

    @needs("parallel", "not detaches", "not is_remote", "not in_process")
    def test_cores_bound_how_many_tasks_run_at_once(self, rv_bench: Workbench) -> None:
        """Tasks that want all cores of this machine are at work one after the other, whatever `--jobs` says."""
        run = run_probe(rv_bench, "alone", "wide", "-s", "2", "--jobs", "2", num_items=2)
        what = "two tasks that want all cores each were at work at once; set what RunContext.task_environ says"
        rv_bench.expect(run.finished.code == 0, what, run.finished)

    @needs("not detaches")
    def test_jobs_bounds_how_many_tasks_run_at_once(self, rv_bench: Workbench) -> None:
        """With `--jobs 1` no two tasks are at work at the same time."""
        run = run_probe(rv_bench, "alone", "alone", "-s", "3", "--jobs", "1")
        rv_bench.expect(run.finished.code == 0, "with --jobs 1 two tasks were at work at once", run.finished)
