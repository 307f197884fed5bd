"""What Slurm says of a job, in words: what it waits for, or what ended it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rv_core import Observation, exit_code_text
from rv_runner_slurm.job_records import JobRecord

#: Slurm's words for why a job waits, in ours; what is not here is passed on as it is.
_WAITS = {
    "Resources": "waits for free nodes",
    "Priority": "waits: others come first",
    "Dependency": "waits for the jobs before it",
    "JobArrayTaskLimit": "waits: max_running_tasks of its array are running",
    "BeginTime": "waits for the time when Slurm starts it again",
    "ReqNodeNotAvail": "waits: the nodes that it may use are down, drained or reserved",
    "PartitionDown": "cannot start: its partition is down",
    "PartitionInactive": "cannot start: its partition is inactive",
    "PartitionTimeLimit": "can never start: its time limit is above that of its partition",
    "PartitionNodeLimit": "can never start: its partition has not enough nodes",
    "PartitionConfig": "can never start: it asks for what its partition does not allow",
    "BadConstraints": "can never start: no node is what it asks for",
    "JobHeldAdmin": "is held by an administrator",
    "Licenses": "waits for a licence",
    "Reservation": "waits for its reservation",
}
#: Reasons that name a limit: AssocGrpCpuLimit, QOSMaxJobsPerUserLimit …
_LIMITS = ("Assoc", "QOS", "Max")
_STATES: Mapping[str, Observation] = {
    "PENDING": Observation("submitted"),
    "CONFIGURING": Observation("submitted", "its nodes are made ready"),
    "REQUEUED": Observation("submitted", "is started again"),
    "REQUEUE_HOLD": Observation("submitted", "is held after it was requeued; scontrol release lets it start"),
    "SPECIAL_EXIT": Observation("submitted", "is held after it was requeued; scontrol release lets it start"),
    "RUNNING": Observation("running"),
    "COMPLETING": Observation("running", "is ending"),
    "SUSPENDED": Observation("running", "is suspended: others use its node for a while"),
    "STOPPED": Observation("running", "is stopped"),
    "COMPLETED": Observation("done"),
    "CANCELLED": Observation("cancelled", "was cancelled"),
    "FAILED": Observation("failed"),
    "TIMEOUT": Observation(
        "failed", "ran out of its time limit (time_limit_s, or its partition's); the same command goes on from here"
    ),
    "DEADLINE": Observation("failed", "missed its deadline"),
    "OUT_OF_MEMORY": Observation("failed", "out of memory: raise memory_mib"),
    "NODE_FAIL": Observation("failed", "its node failed; the same command goes on from what is done"),
    "BOOT_FAIL": Observation("failed", "its node did not boot; the same command goes on from what is done"),
    "PREEMPTED": Observation("failed", "others took its node; the same command goes on from what is done"),
    "REVOKED": Observation("cancelled", "was revoked by another cluster"),
}
#: Slurm's signal for a job whose output file could not be opened.
_NO_OUTPUT = 53
_EXITS = {
    126: "a line of `setup`, or the interpreter of the run, cannot be executed on the node",
    127: "a program of `setup`, or the interpreter of the run, is not there on the node; is it on a shared file system?",
}
_STOPPED = 75


def observe(record: JobRecord, *, failed_before: Sequence[str] = (), run_dir: str = "") -> Observation:
    """What is to be said of a task.

    Args:
        record: what Slurm says.
        failed_before: ids of the jobs that it requires and that did not end well.
        run_dir: the run's folder, for messages.
    """
    seen = _STATES.get(record.state, Observation("unknown", f"Slurm says {record.state}"))
    if record.state == "PENDING":
        seen = _waiting(record)
    elif record.state == "CANCELLED" and (record.reason.startswith("Dependency") or failed_before):
        seen = _not_started(failed_before)
    elif record.state == "FAILED":
        seen = _failed(record, run_dir)
    elif record.state == "COMPLETED":
        seen = replace(seen, exit_code=0)
    return replace(
        seen,
        attempt=record.restarts + 1 if record.restarts else 0,
        native_id=record.native_id,
        started=record.started,
        ended=record.ended,
    )


def of_exit_code(exit_code: int) -> Observation:
    """What is to be said of a task of which only the exit code is left that its script wrote down."""
    if exit_code == 0:
        return Observation("done", exit_code=0)
    return _failed(JobRecord("", None, "FAILED", exit_code=exit_code), "")


def forgotten(native_id: str, *, failed_before: Sequence[str] = ()) -> Observation:
    """What is to be said of a job that Slurm does not know and that left no exit code.

    Args:
        native_id: its id.
        failed_before: ids of the jobs that it requires and that did not end well.
    """
    if failed_before:
        return replace(_not_started(failed_before), native_id=native_id)
    reason = "Slurm has forgotten this job, and it left no exit code: cancelled, out of time, or its node failed"
    return Observation("lost", reason, native_id=native_id)


def never_submitted() -> Observation:
    """What is to be said of a task of a submission that was cut short."""
    return Observation("lost", "the submission of the run was cut short before its jobs could start")


def _not_started(failed_before: Sequence[str]) -> Observation:
    names = ", ".join(failed_before) or "a job that it requires"
    return Observation("cancelled", f"did not start: {names} did not end well")


def _waiting(record: JobRecord) -> Observation:
    reason = record.reason
    if reason == "JobHeldUser":
        return Observation("submitted", "is held; scontrol release lets it start")
    words = _WAITS.get(reason.partition(",")[0], f"waits: {reason}" if reason else "")
    if reason.startswith(_LIMITS):
        words = f"waits: a limit of your account or queue is reached ({reason})"
    if record.restarts:
        words = f"is started again; {words}".rstrip("; ")
    return Observation("waiting" if reason == "Dependency" else "submitted", words)


def _failed(record: JobRecord, run_dir: str) -> Observation:
    if record.signal == _NO_OUTPUT:
        reason = f"the node could not write below {run_dir}; is that on a file system that every node sees?"
        return Observation("failed", reason)
    code = 128 + record.signal if record.signal else record.exit_code
    if code == _STOPPED:
        return Observation("stopped", exit_code_text(code), exit_code=code)
    return Observation("failed", exit_code_text(code, _EXITS), exit_code=code)
