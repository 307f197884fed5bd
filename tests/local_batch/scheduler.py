"""The states of all jobs and the one thread that moves them on; one lock, one condition, no polling.

A queue is first in, first out: a job at its head that cannot be placed blocks those behind it, as the service does
("a RUNNABLE job at the head of the queue can block all other jobs behind it").
"""

from __future__ import annotations

import itertools
import signal
import threading
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.local_batch.attempts import TIMED_OUT, Attempt, Cause, Runtime
from tests.local_batch.dependencies import DependencyGraph
from tests.local_batch.jobs import NOT_STARTED, Job, JobSpec
from tests.local_batch.limits import GRACE_S
from tests.local_batch.retry_rules import Outcome, is_retried
from tests.local_batch.slots import Slots
from tests.local_batch.timers import Timers

if TYPE_CHECKING:
    from tests.local_batch.account import ComputeEnvironment

#: The states that jobs can be kept in.
HOLDABLE = frozenset({"SUBMITTED", "RUNNABLE", "STARTING"})


class Scheduler:
    """All jobs.

    Args:
        runtime: what attempts are made with.
        time_scale: how long a second of the service takes here, in seconds: of timeouts and of the grace after TERM.
        grace_s: the grace after TERM in seconds of this machine; the service's 30 s, scaled, if left out.
    """

    def __init__(self, runtime: Runtime, *, time_scale: float = 1.0, grace_s: float | None = None) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.slots = Slots(runtime.account.environments)
        self.errors: list[str] = []
        self._runtime = runtime
        self._time_scale = time_scale
        self._grace_s = GRACE_S * time_scale if grace_s is None else grace_s
        self._jobs: dict[str, Job] = {}
        self._fresh: deque[Job] = deque()
        self._runnable: dict[str, deque[Job]] = {}
        self._running: set[Attempt] = set()
        self._held: set[str] = set()
        self._timers = Timers()
        self._graph = DependencyGraph(self._jobs.get, self._add_runnable)
        self._sequences = itertools.count(1)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    # What the verbs do.

    def submit(self, spec: JobSpec) -> Job:
        """A new job."""
        with self.changed:
            job = Job.submitted(spec, str(uuid.uuid4()), next(self._sequences))
            self._jobs.update({each.id: each for each in (job, *job.children)})
            self._fresh.append(job)
            self.changed.notify_all()
            return job

    def find(self, job_id: str) -> Job | None:
        """A job or child by its id; None where there is none."""
        return self._jobs.get(job_id)

    def submitted_jobs(self) -> list[Job]:
        """Plain jobs and parents in the order of their submission; called with the lock held."""
        return [job for job in self._jobs.values() if job.parent is None]

    def cancel(self, job: Job, reason: str) -> None:
        """CancelJob: ends what has not started; what still waits for others ends when these have ended."""
        with self.changed:
            for marked in self._end_unstarted(job, reason):
                marked.is_cancelled = True

    def terminate(self, job: Job, reason: str) -> None:
        """TerminateJob: TERM, KILL after the grace; what has not started is cancelled."""
        with self.changed:
            running = [leaf for leaf in job.leaves if leaf.attempt is not None]
            for attempt in filter(None, (leaf.attempt for leaf in running)):
                self._stop_attempt(attempt, "terminated", reason)
            if running:
                job.stop_reason = reason
            for marked in (*self._end_unstarted(job, reason), *running, *([job] if running else [])):
                marked.is_terminated = True

    # What tests do.

    def reclaim(self, job: Job, *, reports_exit_code: bool = False) -> str:
        """The host of a running job is taken away; returns the id of the instance."""
        with self.changed:
            attempt = self._attempt_of(job)
            attempt.has_exit_code = reports_exit_code
            self._stop_attempt(attempt, "reclaimed", f"Host EC2 (instance {attempt.instance_id}) terminated.")
            return attempt.instance_id

    def run_out_of_memory(self, job: Job) -> None:
        """A running container is killed as the kernel kills one above its memory."""
        with self.changed:
            attempt = self._attempt_of(job)
            attempt.cause = "out of memory"
            attempt.kill()

    def send_signal(self, job: Job, signum: int) -> None:
        """A signal to the first process of a running container, without a reason that the service would give."""
        with self.changed:
            self._attempt_of(job).send_signal(signum)

    def forget(self, job: Job) -> None:
        """What the service does to finished jobs after days."""
        with self.changed:
            if not job.is_finished:
                raise ValueError(f"{job.id} is {job.status}")
            for each in (job, *job.children):
                del self._jobs[each.id]

    @contextmanager
    def holding(self, *statuses: str) -> Iterator[None]:
        """Jobs stay in these states meanwhile."""
        unknown = set(statuses) - HOLDABLE
        if unknown:
            raise ValueError(f"jobs cannot be held in {', '.join(sorted(unknown))}")
        with self.changed:
            self._held.update(statuses)
        try:
            yield
        finally:
            with self.changed:
                self._held.difference_update(statuses)
                self.changed.notify_all()

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something is so; False if it takes too long or the local Batch itself has failed."""
        with self.changed:
            self.changed.wait_for(lambda: self.errors or is_so(), timeout_s)
            return not self.errors and is_so()

    def wake(self) -> None:
        """Something that placement depends on may have changed."""
        with self.changed:
            self.changed.notify_all()

    def stop(self) -> None:
        """Kill every container and end every thread."""
        with self.changed:
            self._is_stopping = True
            for attempt in self._running:
                attempt.cause = "terminated"
                attempt.kill()
            running = list(self._running)
            self.changed.notify_all()
        for attempt in running:
            attempt.join()
        self._thread.join()

    # What attempts report.

    def may_start(self, attempt: Attempt) -> bool:
        """Wait while STARTING is held; False if the attempt was stopped meanwhile."""
        with self.changed:
            self.changed.wait_for(lambda: attempt.cause or self._is_stopping or "STARTING" not in self._held)
            return not attempt.cause and not self._is_stopping

    def attempt_started(self, attempt: Attempt) -> None:
        """The container runs; what stopped the attempt before that reaches it now."""
        job = attempt.job
        with self.changed:
            job.move("RUNNING")
            job.started_ms = attempt.started_ms
            if job.spec.timeout_s:
                timeout_s = job.spec.timeout_s * self._time_scale
                self._timers.add(timeout_s, lambda: self._stop_attempt(attempt, "timed out", TIMED_OUT))
            if self._is_stopping:
                attempt.kill()
            elif attempt.cause:
                attempt.send_signal(signal.SIGTERM)
            self.changed.notify_all()

    def attempt_ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """Free its slots and decide what becomes of the job."""
        job = attempt.job
        with self.changed:
            attempt.has_ended = True
            self._running.discard(attempt)
            self.slots.give_back(attempt.environment, job.spec.request)
            job.attempts.append(attempt.record(outcome))
            job.attempt = None
            if outcome.exit_code == 0 and attempt.cause in ("", "reclaimed"):
                self._graph.finish((job, "SUCCEEDED", outcome.status_reason))
            elif not self._is_tried_again(attempt, outcome):
                self._graph.finish((job, "FAILED", outcome.status_reason))
            else:
                job.move("RUNNABLE", outcome.status_reason)
                self._add_runnable(job)
            self.changed.notify_all()

    def failed(self) -> None:
        """Keep the error that is being handled; waiting ends and stopping raises."""
        with self.changed:
            self.errors.append(traceback.format_exc())
            self.changed.notify_all()

    # The thread.

    def _loop(self) -> None:
        with self.changed:
            while not self._is_stopping:
                wait_s: float | None = None
                try:
                    wait_s = self._step()
                except Exception:  # noqa: BLE001 – recorded, and raised when the local Batch is stopped
                    self.failed()
                self.changed.notify_all()
                self.changed.wait(wait_s)

    def _step(self) -> float | None:
        while self._fresh and "SUBMITTED" not in self._held:
            job = self._fresh.popleft()
            if not job.is_finished:
                self._graph.evaluate(job)
        wait_s = self._timers.run_due()
        if "RUNNABLE" not in self._held:
            for queue in sorted(self._runnable, key=self._runtime.account.priority, reverse=True):
                self._place(queue)
        return wait_s

    def _place(self, queue: str) -> None:
        waiting = self._runnable[queue]
        while waiting:
            job = waiting[0]
            if job.status == "RUNNABLE":
                placement = self.slots.take(queue, job.spec.request)
                if placement.environment is None:
                    job.reason = placement.reason
                    return
                self._start(job, placement.environment)
            waiting.popleft()

    def _start(self, job: Job, environment: ComputeEnvironment) -> None:
        job.move("STARTING")
        attempt = Attempt(job, environment, self._runtime, self)
        job.attempt = attempt
        self._running.add(attempt)
        attempt.start()

    def _add_runnable(self, job: Job) -> None:
        self._runnable.setdefault(job.spec.queue, deque()).append(job)

    def _end_unstarted(self, job: Job, reason: str) -> list[Job]:
        """End what has not started, or mark it so that it ends when its dependencies have; what that concerns."""
        reached = [leaf for leaf in job.leaves if leaf.status in NOT_STARTED]
        concerned = [job, *reached] if reached else []
        for marked in concerned:
            marked.stop_reason = reason
        self._graph.finish(*((leaf, "FAILED", reason) for leaf in reached if leaf.status != "PENDING"))
        self.changed.notify_all()
        return concerned

    def _is_tried_again(self, attempt: Attempt, outcome: Outcome) -> bool:
        if self._is_stopping or attempt.cause in ("terminated", "timed out"):
            return False
        return is_retried(outcome, attempt.job.spec.retry, len(attempt.job.attempts))

    def _stop_attempt(self, attempt: Attempt, cause: Cause, reason: str) -> None:
        """TERM now, KILL after the grace; a reason that the attempt is stopped for already stays, but for `reclaimed`."""
        if attempt.has_ended or attempt.cause not in ("", "reclaimed"):
            return
        attempt.cause, attempt.stop_reason = cause, reason
        if attempt.job.status == "RUNNING":  # what is STARTING gets it as soon as it runs
            attempt.send_signal(signal.SIGTERM)
        self._timers.add(self._grace_s, lambda: None if attempt.has_ended else attempt.kill())
        self.changed.notify_all()

    @staticmethod
    def _attempt_of(job: Job) -> Attempt:
        if job.attempt is None or job.status != "RUNNING":
            raise ValueError(f"{job.id} is {job.status}, not RUNNING")
        return job.attempt
