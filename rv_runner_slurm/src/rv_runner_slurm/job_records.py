"""What Slurm says of jobs, read from the output of its programs into values. Pure.

The JSON of squeue differs between versions: numbers are plain (22.05) or `{"set": …, "number": …}` (23.02 and later),
states are one word or a list, exit codes a raw wait status or an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class JobRecord:
    """One job, one task of an array, or all tasks of an array that wait and have no record of their own yet.

    Args:
        job_id: the id that sbatch printed: that of the array.
        array_index: the index of a task of an array; None for a job that is none, and for the tasks that wait.
        state: Slurm's word for it, such as RUNNING.
        reason: Slurm's word for why it waits or why it ended; "" for none.
        exit_code: its exit code, once it has ended.
        signal: the number of the signal that ended it; 0 for none.
        restarts: how often it was started again.
        started, ended: seconds since 1970; 0.0 = not yet, or not known.
        name: its name.
        comment: its comment.
        user: whose it is.
    """

    job_id: str
    array_index: int | None
    state: str
    reason: str = ""
    exit_code: int | None = None
    signal: int = 0
    restarts: int = 0
    started: float = 0.0
    ended: float = 0.0
    name: str = ""
    comment: str = ""
    user: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in ENDED


#: States of a job that has ended. COMPLETING is none of them: some of its processes may still be there.
ENDED = frozenset(
    [
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    ]
)
#: Flags that newer versions list beside the state itself, and that say more than it.
_FLAGS = ("COMPLETING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING")
_ACCOUNTED = re.compile(r"(?P<job>\d+)(?:_(?P<index>\d+))?")


def parse_squeue(text: str) -> list[JobRecord]:
    """The jobs that `squeue --json` printed.

    Raises:
        ValueError: if it is no JSON of squeue.
    """
    plain = json.loads(text)
    if not isinstance(plain, dict) or not isinstance(plain.get("jobs"), list):
        raise ValueError("no list of jobs")
    return [_record(job) for job in plain["jobs"]]


def parse_sacct(text: str) -> list[JobRecord]:
    """The jobs that `sacct --parsable2 --noheader --format=JobID,State,ExitCode,Restarts` printed, steps left out."""
    records = []
    for line in text.splitlines():
        fields = line.split("|")
        job = _ACCOUNTED.fullmatch(fields[0])
        if job is None or len(fields) < 4:
            continue  # a step, or the tasks of an array that wait
        code, _, signal = fields[2].partition(":")
        state = fields[1].split(" ")[0]  # CANCELLED by 1000
        records.append(
            JobRecord(
                job_id=job["job"],
                array_index=None if job["index"] is None else int(job["index"]),
                state=state,
                exit_code=int(code or 0) if state in ENDED else None,
                signal=int(signal or 0),
                restarts=int(fields[3] or 0),
            )
        )
    return records


def max_array_size(config: str) -> int | None:
    """MaxArraySize of `scontrol show config`; None if it is not there."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    return int(found[1]) if found else None


def parse_partitions(text: str) -> dict[str, dict[str, str]]:
    """Name -> fields of every partition that `scontrol -o show partition` printed."""
    lines = (dict(word.partition("=")[::2] for word in line.split()) for line in text.splitlines())
    return {fields["PartitionName"]: fields for fields in lines if "PartitionName" in fields}


def seconds_of_limit(text: str) -> float | None:
    """A time limit such as `1-12:00:00`, `30:00` or `UNLIMITED`, in seconds; None for no limit."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in [days or "0", *parts]):
        return None
    hours, minutes, seconds = ([0, 0, 0] + [int(part) for part in parts])[-3:]
    return int(days or 0) * 86400.0 + hours * 3600 + minutes * 60 + seconds


def _record(job: Mapping[str, Any]) -> JobRecord:
    state = _state(job.get("job_state"))
    code, signal = _exit(job.get("exit_code"))
    array_id, index = _number(job.get("array_job_id")), _optional_number(job.get("array_task_id"))
    is_over = state in ENDED
    reason = str(job.get("state_reason") or "")
    return JobRecord(
        job_id=str(array_id or _number(job.get("job_id"))),
        array_index=index if array_id else None,
        state=state,
        reason="" if reason == "None" else reason,
        exit_code=code if is_over else None,
        signal=signal if is_over else 0,
        restarts=_number(job.get("restart_cnt")),
        started=float(_number(job.get("start_time"))) if state != "PENDING" else 0.0,
        ended=float(_number(job.get("end_time"))) if is_over else 0.0,
        name=str(job.get("name") or ""),
        comment=str(job.get("comment") or ""),
        user=str(job.get("user_name") or ""),
    )


def _state(value: Any) -> str:
    words = [str(word) for word in value] if isinstance(value, list) else [str(value or "UNKNOWN")]
    return next((flag for flag in _FLAGS if flag in words), words[0] if words else "UNKNOWN")


def _number(value: Any) -> int:
    return _optional_number(value) or 0


def _optional_number(value: Any) -> int | None:
    if isinstance(value, Mapping):
        return int(value.get("number") or 0) if value.get("set", True) else None
    return int(value) if isinstance(value, int | float) else None


def _exit(value: Any) -> tuple[int, int]:
    """(exit code, number of the signal)."""
    if isinstance(value, Mapping):
        signal = value.get("signal") or {}
        return _number(value.get("return_code")), _number(signal.get("id", signal.get("signal_id")))
    status = _number(value)
    return status >> 8, status & 127
