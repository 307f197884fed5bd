"""The jobs of a run that was submitted: what Slurm says of them, what they printed, their end."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rv_core import Job, Observation, RunnerError, RunRecord, Storage, StorageError
from rv_runner_slurm import client, observation
from rv_runner_slurm.job_records import JobRecord, native_id
from rv_runner_slurm.job_script import Traces
from rv_runner_slurm.submission import chunk_size, name_prefix, request_key
from rv_runner_slurm.submitting_file import SubmittingFile

FOLDER = "slurm"
#: What jobs that are cancelled may take to end: Slurm kills them after KillWait, 30 s by default.
_END_S = 120.0
_POLL_S = 0.2
#: A pause before an answer without a single job is believed.
_ASK_AGAIN_S = 1.0
#: States of a task after which nothing that requires its job can start.
_BAD = ("failed", "stopped", "cancelled", "lost")


@dataclass(frozen=True)
class TaskPlace:
    """Where a task is on the cluster, and what it leaves.

    Args:
        job_id: the id that sbatch printed.
        array_index: the index in that array; None for a job that is none.
        traces: the files of its request.
    """

    job_id: str
    array_index: int | None
    traces: Traces

    @property
    def native_id(self) -> str:
        """The id as Slurm's programs take it."""
        return native_id(self.job_id, self.array_index)

    def exit_code(self) -> int | None:
        """What the task's script wrote down at its end; None if it did not come to that."""
        try:
            path = self.traces.exit_file(self.array_index or 0)
            return int(Storage(str(path.parent)).read_text(path.name))
        except (StorageError, ValueError):
            return None


class RunJobs:
    """The jobs of one run.

    Args:
        run: its record.
    """

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._jobs = run.plan().jobs
        self._ids = run.native_ids()
        self._folder = run.run_dir / FOLDER

    def observe(self) -> dict[str, Observation]:
        """Task id -> what Slurm says of it; where it has forgotten a task, what the script or the accounting left.

        Raises:
            SlurmError: if the cluster cannot be asked.
        """
        if SubmittingFile(self._folder).is_cut_short(self._run.created):
            return {task.id: observation.never_submitted() for job in self._jobs for task in job.tasks}
        places = dict(self._places())
        prefix = name_prefix(self._run.run_id)
        records = _by_task(places, client.jobs((place.job_id for place in places.values()), prefix))
        codes = {task: place.exit_code() for task, place in places.items() if task not in records}
        silent = {task: places[task] for task, code in codes.items() if code is None}
        records |= _by_task(silent, client.accounted_jobs((p.job_id for p in silent.values()), prefix))
        if silent and not records:
            records = _by_task(places, _jobs_after_silence(self._ids.values(), prefix))
        found: dict[str, Observation] = {}
        bad: set[str] = set()
        for job in self._jobs:
            failed = [name for name in job.requires if name in bad]
            for task in job.tasks:
                if task.id in places:  # else it is just being submitted
                    record, code = records.get(task.id), codes.get(task.id)
                    found[task.id] = self._observe_task(places[task.id], record, code, failed)
                    if found[task.id].state in _BAD:
                        bad.add(job.id)
        return found

    def _observe_task(
        self, place: TaskPlace, record: JobRecord | None, code: int | None, failed: Sequence[str]
    ) -> Observation:
        if record is not None:
            return observation.observe(record, failed_before=failed, run_dir=str(self._run.run_dir))
        if code is not None:
            return observation.of_exit_code(code)
        return observation.forgotten(place.native_id, failed_before=failed)

    def _places(self) -> Iterator[tuple[str, TaskPlace]]:
        """(task id, where it is) of every task that was submitted."""
        for job in self._jobs:
            ids = list(self._ids_of(job))
            size = chunk_size(len(job.tasks), len(ids)) if ids else 0
            for task in job.tasks if ids else ():
                number, index = divmod(task.split_index, size)
                is_array = len(job.tasks) > 1
                traces = Traces(self._folder, request_key(job.id, number), number * size if is_array else None)
                yield task.id, TaskPlace(ids[number], index if is_array else None, traces)

    def _ids_of(self, job: Job) -> Iterator[str]:
        number = 0
        while (key := request_key(job.id, number)) in self._ids:
            yield self._ids[key]
            number += 1

    def logs(self, task_id: str) -> list[str]:
        """What the script of a task printed; what the task itself prints is in its own log.

        Raises:
            RunnerError: if there is nothing.
        """
        place = dict(self._places()).get(task_id)
        if place is None:
            raise RunnerError(f"{task_id} was not submitted")
        path = place.traces.output(place.array_index or 0)
        try:
            return Storage(str(path.parent)).read_bytes(path.name).decode("utf-8", "replace").splitlines()
        except StorageError as error:
            why = "it was not started yet, or its node cannot write there"
            raise RunnerError(f"{task_id} has left no output", where=str(path), why=why) from error

    def cancel(self) -> None:
        """End every job, dependants first, and wait until their processes are gone.

        Raises:
            SlurmError: if the cluster cannot be asked.
            RunnerError: if some do not end.
        """
        ids = [*reversed(self._ids.values()), *unrecorded_jobs(self._run.run_id, self._ids.values())]
        SubmittingFile(self._folder).remove()
        end_jobs(ids, name_prefix(self._run.run_id))


def end_jobs(ids: Iterable[str], name_prefix: str) -> None:
    """End jobs in the order given and wait until they have ended.

    Args:
        ids: their ids.
        name_prefix: what their names begin with: whatever else has got one of the ids is somebody's, and left alone.

    Raises:
        SlurmError: if the cluster cannot be asked.
        RunnerError: if some do not end.
    """
    every = list(dict.fromkeys(ids))
    own = {record.job_id for record in _jobs_if_any(every, name_prefix)}
    every = [job_id for job_id in every if job_id in own]
    client.cancel(every)
    end = time.monotonic() + _END_S
    while left := {record.native_id for record in _jobs_if_any(every, name_prefix) if not record.is_over}:
        if time.monotonic() > end:
            raise RunnerError(
                f"{len(left)} jobs do not end: {', '.join(sorted(left)[:5])}", fix="ask the administrator"
            )
        time.sleep(_POLL_S)


def _jobs_if_any(ids: Collection[str], name_prefix: str) -> list[JobRecord]:
    """What Slurm knows of some jobs; that it knows none of them has to be said twice."""
    found = client.jobs(ids, name_prefix)
    return found if found or not ids else _jobs_after_silence(ids, name_prefix)


def _jobs_after_silence(ids: Iterable[str], name_prefix: str) -> list[JobRecord]:
    """What Slurm knows of jobs of which it has just named none.

    A controller that restarts, or what a site puts around squeue, may print nothing and end well. Believed at once, that
    would call a run lost, and its root free, whose jobs go on.
    """
    time.sleep(_ASK_AGAIN_S)
    return client.jobs(ids, name_prefix)


def unrecorded_jobs(run_id: str, recorded: Collection[str]) -> list[str]:
    """Ids of jobs that Slurm took although its answer was lost, found by their names.

    Args:
        run_id: the run.
        recorded: the ids that are known.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    prefix = name_prefix(run_id)
    return [r.job_id for r in client.own_jobs() if r.name.startswith(prefix) and r.job_id not in recorded]


def _by_task(places: Mapping[str, TaskPlace], records: Iterable[JobRecord]) -> dict[str, JobRecord]:
    by_place = {(record.job_id, record.array_index): record for record in records}
    found = {}
    for task, place in places.items():
        # The tasks of an array that wait share a record.
        record = by_place.get((place.job_id, place.array_index)) or by_place.get((place.job_id, None))
        if record is not None:
            found[task] = record
    return found
