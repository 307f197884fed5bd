"""Jobs as the service keeps them: one record each, light enough for arrays of 10,000."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.local_batch.attempts import Attempt

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
FINISHED = frozenset({"SUCCEEDED", "FAILED"})
#: What CancelJob reaches.
NOT_STARTED = frozenset({"SUBMITTED", "PENDING", "RUNNABLE"})


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Request:
    """What one container of a job takes up."""

    vcpus: int
    memory_mib: int
    gpus: int = 0


@dataclass(frozen=True)
class JobSpec:
    """What was submitted, its definition applied; shared by a parent and its children.

    Args:
        name: the job's name.
        queue: the ARN of its queue.
        queue_name: the name of its queue.
        definition: the ARN of its definition.
        definition_name: the name of its definition.
        container: members of ContainerDetail.
        request: what a container takes up.
        array_size: number of children; 0 for a plain job.
        depends_on: as submitted.
        retry: attempts and evaluateOnExit.
        timeout_s: of an attempt; 0 for none.
        described: further members of JobDetail that never change (tags, parameters, share …).
    """

    name: str
    queue: str
    queue_name: str
    definition: str
    definition_name: str
    container: Mapping[str, Any]
    request: Request
    array_size: int
    depends_on: Sequence[Mapping[str, str]]
    retry: Mapping[str, Any]
    timeout_s: int
    described: Mapping[str, Any] = field(default_factory=dict)


class Job:
    """A plain job, the parent of an array, or one of its children.

    Args:
        spec: what was submitted.
        job_id: its id; of a child, `PARENT:INDEX`.
        sequence: grows with every job; the order of lists.
        parent: of a child.
        index: of a child, from 0.
    """

    __slots__ = (
        "attempt",
        "attempts",
        "children",
        "counts",
        "created_ms",
        "dependants",
        "id",
        "index",
        "is_cancelled",
        "is_terminated",
        "parent",
        "reason",
        "sequence",
        "spec",
        "started_ms",
        "status",
        "stop_reason",
        "stopped_ms",
        "unmet",
    )

    def __init__(self, spec: JobSpec, job_id: str, sequence: int, parent: Job | None = None, index: int = -1) -> None:
        self.spec = spec
        self.id = job_id
        self.sequence = sequence
        self.parent = parent
        self.index = index
        self.status = "SUBMITTED"
        self.reason = ""
        self.created_ms: int = now_ms() if parent is None else parent.created_ms
        self.started_ms = 0
        self.stopped_ms = 0
        self.attempts: list[dict[str, Any]] = []
        self.attempt: Attempt | None = None
        self.children: list[Job] = []
        self.counts: Counter[str] = Counter()
        self.dependants: list[Job] = []
        self.unmet = 0
        self.stop_reason = ""
        self.is_cancelled = False
        self.is_terminated = False

    @classmethod
    def submitted(cls, spec: JobSpec, job_id: str, sequence: int) -> Job:
        """A new job with all its children."""
        job = cls(spec, job_id, sequence)
        job.children = [cls(spec, f"{job_id}:{i}", sequence, job, i) for i in range(spec.array_size)]
        job.counts["SUBMITTED"] = spec.array_size
        return job

    @property
    def is_finished(self) -> bool:
        """Whether nothing changes any more."""
        return self.status in FINISHED

    @property
    def leaves(self) -> list[Job]:
        """What runs containers: the children, or the job itself."""
        return self.children or [self]

    @property
    def has_finished_children(self) -> bool:
        """Whether every child of an array has finished."""
        return self.counts["SUCCEEDED"] + self.counts["FAILED"] == len(self.children)

    def move(self, status: str, reason: str = "") -> None:
        """Into another state."""
        if self.parent is not None:
            self.parent.counts[self.status] -= 1
            self.parent.counts[status] += 1
        self.status = status
        self.reason = reason
        if status in FINISHED:
            self.stopped_ms = now_ms()
