"""What Slurm says of jobs, read from the output of its programs into values. Pure.

Columns of text, not JSON: that looks different in every version of Slurm, is missing where its plugin was not built, and
passes over filters before version 23.02.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Columns of `squeue --Format`, each with its width and what ends it. Only the last may hold that character itself.
_COLUMNS = {
    "ArrayJobID": 20,
    "ArrayTaskID": 40,
    "State": 20,
    "Reason": 80,
    "exit_code": 12,
    "RestartCnt": 12,
    "StartTime": 24,
    "EndTime": 24,
    "Name": 160,
    "Comment": 700,
}
_END = "|"
SQUEUE_FORMAT = ",".join(f"{column}:{width}{_END}" for column, width in _COLUMNS.items())
#: So that times are seconds since 1970.
SQUEUE_ENVIRON = {"SLURM_TIME_FORMAT": "%s"}


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

    @property
    def native_id(self) -> str:
        """The id as Slurm's programs take it."""
        return native_id(self.job_id, self.array_index)

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
_GPU = re.compile(r"\bgpu:(?:([^:,()]+):)?(\d+)")
_SUBMITTED = re.compile(r"\d+(?:;\S+)?", re.ASCII)
_ACCOUNTED = re.compile(r"(?P<job>\d+)(?:_(?P<index>\d+))?", re.ASCII)


def native_id(job_id: str, array_index: int | None) -> str:
    """The id of a job, or of a task of an array, as Slurm's programs take it."""
    return job_id if array_index is None else f"{job_id}_{array_index}"


def is_job_id(text: str) -> bool:
    """Whether a text is the id of a job, or of a task of an array."""
    return _ACCOUNTED.fullmatch(text) is not None


def parse_submitted(text: str) -> str:
    """The id that `sbatch --parsable` printed, whatever a wrapper of the site prints around it.

    Raises:
        ValueError: if no line, or more than one, is an id.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ids = [line.partition(";")[0] for line in lines if _SUBMITTED.fullmatch(line)]  # the name of the cluster may follow
    if len(ids) != 1:
        shown = " / ".join(lines[:5])[:300] or "nothing"
        raise ValueError(f"{len(ids) or 'none'} of the lines that it printed is one: {shown}")
    return ids[0]


def parse_squeue(text: str) -> list[JobRecord]:
    """The jobs that `squeue --noheader --Format=SQUEUE_FORMAT` printed; other lines are passed over."""
    rows = (line.split(_END, len(_COLUMNS) - 1) for line in text.splitlines())
    return [_record(*(word.strip() for word in row)) for row in rows if len(row) == len(_COLUMNS)]


#: The name last: it may hold what ends a column.
SACCT_FORMAT = "JobID,State,ExitCode,JobName"


def parse_sacct(text: str) -> list[JobRecord]:
    """The jobs that `sacct --parsable2 --noheader --format=SACCT_FORMAT` printed, steps left out."""
    records = []
    for line in text.splitlines():
        fields = line.split("|", 3)
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
                name=fields[3],
            )
        )
    return records


def parse_max_array_size(config: str) -> int | None:
    """MaxArraySize of `scontrol show config`; None if it is not there."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", config, re.MULTILINE)
    return int(found[1]) if found else None


def parse_partitions(text: str) -> dict[str, dict[str, str]]:
    """Name -> fields of every partition that `scontrol -o show partition` printed."""
    lines = (dict(word.partition("=")[::2] for word in line.split()) for line in text.splitlines())
    return {fields["PartitionName"]: fields for fields in lines if "PartitionName" in fields}


@dataclass(frozen=True)
class NodeShape:
    """What a node has, whatever state it is in.

    Args:
        partition: a partition that it is in.
        is_default: whether jobs that name no partition go there.
        cpus: its CPUs.
        memory_mib: its memory.
        gpus: type -> how many; "" for those without a type.
    """

    partition: str
    is_default: bool
    cpus: int
    memory_mib: int
    gpus: Mapping[str, int]

    def has(self, *, cpus: int, memory_mib: int, gpus: int, gpu_type: str) -> bool:
        """Whether it is large enough."""
        devices = self.gpus.get(gpu_type, 0) if gpu_type else sum(self.gpus.values())
        return self.cpus >= cpus and self.memory_mib >= memory_mib and devices >= gpus


NODE_FORMAT = "%P|%c|%m|%G"


def parse_nodes(text: str) -> list[NodeShape]:
    """The nodes that `sinfo --Node --noheader --format=NODE_FORMAT` printed, each once for every partition it is in."""
    rows = (line.strip().split("|") for line in text.splitlines())
    return [_node(*row) for row in rows if len(row) == NODE_FORMAT.count("|") + 1]


def seconds_of_limit(text: str) -> float | None:
    """A time limit such as `1-12:00:00`, `30:00` or `UNLIMITED`, in seconds; None for no limit."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in [days or "0", *parts]):
        return None
    hours, minutes, seconds = ([0, 0, 0] + [int(part) for part in parts])[-3:]
    return int(days or 0) * 86400.0 + hours * 3600 + minutes * 60 + seconds


def _node(partition: str, cpus: str, memory_mib: str, gres: str) -> NodeShape:
    gpus: dict[str, int] = {}
    for kind, count in _GPU.findall(gres):  # gpu:2, gpu:a100:4(S:0-1)
        gpus[kind] = gpus.get(kind, 0) + int(count)
    is_default = partition.endswith("*")
    return NodeShape(partition.rstrip("*"), is_default, _leading_number(cpus), _leading_number(memory_mib), gpus)


def _leading_number(text: str) -> int:
    found = re.match(r"\d+", text)  # newer versions may put a "+" behind it
    return int(found[0]) if found else 0


def _record(
    job_id: str,
    index: str,
    state: str,
    reason: str,
    status: str,
    restarts: str,
    started: str,
    ended: str,
    name: str,
    comment: str,
) -> JobRecord:
    is_over = state in ENDED
    wait_status = int(status) if status.isdigit() else 0
    return JobRecord(
        job_id=job_id,
        array_index=int(index) if index.isdigit() else None,  # "N/A", or "2-7%2" of tasks that wait
        state=state,
        reason="" if reason == "None" else reason,
        # What is there before a job is over is of the attempt before, and the end that is expected.
        exit_code=wait_status >> 8 if is_over else None,
        signal=wait_status & 127 if is_over else 0,
        restarts=int(restarts) if restarts.isdigit() else 0,
        started=_seconds(started) if state != "PENDING" else 0.0,
        ended=_seconds(ended) if is_over else 0.0,
        name=name,
        comment=comment.removesuffix(_END).rstrip(),
    )


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0
