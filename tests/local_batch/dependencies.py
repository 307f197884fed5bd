"""What jobs wait for. Every link is followed once, when the job that others wait for ends: nothing polls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from tests.local_batch.jobs import NOT_STARTED, Job

# From memory: nothing may depend on these texts.
DEPENDENCY_FAILED = "Dependent Job failed"
CHILD_FAILED = "Array Child Job failed"

#: A job that is to be finished: its status and reason.
Ending = tuple[Job, str, str]


class DependencyGraph:
    """Links between jobs and what follows from the end of one.

    Args:
        find: a job by its id; None where there is none.
        on_runnable: gets each plain job or child that waits for nothing more.
    """

    def __init__(self, find: Callable[[str], Job | None], on_runnable: Callable[[Job], None]) -> None:
        self._find = find
        self._on_runnable = on_runnable

    def evaluate(self, job: Job) -> None:
        """A submitted job: link it with what it waits for; PENDING, RUNNABLE or, after a failed dependency, FAILED."""
        for leaf in job.leaves:
            leaf.move("PENDING", leaf.reason)
        if job.children:
            job.move("PENDING", job.reason)
        endings = [ending for waiting, dependency in self._links(job) for ending in _link(waiting, dependency)]
        self.finish(*endings)
        self.finish(*self._release(job))

    def finish(self, *endings: Ending) -> None:
        """Finish jobs and whatever follows: parents whose last child this was, dependants that now run or fail."""
        waiting = deque(endings)
        while waiting:
            job, status, reason = waiting.popleft()
            if job.is_finished:
                continue
            job.move(status, reason)
            if job.parent is not None and job.parent.has_finished_children:
                waiting.append(_ending_of_parent(job.parent))
            for dependant in job.dependants:
                waiting.extend(self._dependency_ended(dependant, status))

    def _links(self, job: Job) -> Iterator[tuple[Job, Job]]:
        """Pairs of who waits and for whom."""
        for dependency in job.spec.depends_on:
            kind = dependency.get("type")
            if kind == "SEQUENTIAL":
                yield from zip(job.children[1:], job.children, strict=False)
                continue
            other = self._find(dependency["jobId"])
            if other is None:  # forgotten since it was submitted: it has ended, nobody knows how
                continue
            yield from zip(job.children, other.children, strict=True) if kind == "N_TO_N" else [(job, other)]

    def _dependency_ended(self, job: Job, status: str) -> list[Ending]:
        if status == "FAILED":
            return _failures(job)
        job.unmet -= 1
        return self._release(job)

    def _release(self, job: Job) -> list[Ending]:
        """Make runnable what waits for nothing more; a job that was cancelled meanwhile ends instead."""
        ready = [leaf for leaf in job.leaves if leaf.status == "PENDING" and not leaf.unmet and not _parent_waits(leaf)]
        for leaf in ready:
            if not leaf.stop_reason:
                leaf.move("RUNNABLE")
                self._on_runnable(leaf)
        return [(leaf, "FAILED", leaf.stop_reason) for leaf in ready if leaf.stop_reason]


def _ending_of_parent(parent: Job) -> Ending:
    if parent.counts["FAILED"]:
        return parent, "FAILED", parent.stop_reason or CHILD_FAILED
    return parent, "SUCCEEDED", ""


def _link(job: Job, dependency: Job) -> list[Ending]:
    if not dependency.is_finished:
        job.unmet += 1
        dependency.dependants.append(job)
    return _failures(job) if dependency.status == "FAILED" else []


def _failures(job: Job) -> list[Ending]:
    return [
        (leaf, "FAILED", leaf.stop_reason or DEPENDENCY_FAILED) for leaf in job.leaves if leaf.status in NOT_STARTED
    ]


def _parent_waits(leaf: Job) -> bool:
    return leaf.parent is not None and leaf.parent.unmet > 0
