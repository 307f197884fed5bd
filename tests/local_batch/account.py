"""What moto keeps of the account: queues, definitions, compute environments, instance types, logs.

Read through the methods of moto's backends that its own answers are made of, so that resources from boto3 and from
CloudFormation are found alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.local_batch.api_model import coerced
from tests.local_batch.jobs import now_ms

DEFAULT_LOG_GROUP = "/aws/batch/job"
#: What "optimal" stands for: "the C4, M4, and R4 instance families".
_OPTIMAL = ("c4", "m4", "r4")


@dataclass(frozen=True)
class Shape:
    """What one instance has."""

    vcpus: int
    memory_mib: int
    gpus: int


@dataclass(frozen=True)
class ComputeEnvironment:
    """A compute environment as the scheduler sees it."""

    name: str
    arn: str
    is_enabled: bool
    max_vcpus: int
    shapes: tuple[Shape, ...]

    @property
    def max_gpus(self) -> int:
        """The most GPUs that instances within its vCPUs have."""
        return max((self.max_vcpus // shape.vcpus * shape.gpus for shape in self.shapes), default=0)


class Account:
    """Queues, definitions, compute environments and logs of one account in one region.

    Args:
        region: the region.
    """

    def __init__(self, region: str) -> None:
        from moto.batch.models import batch_backends
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.ec2.models import ec2_backends
        from moto.logs.models import logs_backends

        # Looked up each time: a reset of moto puts new ones in their place.
        self._backend = lambda backends: backends[DEFAULT_ACCOUNT_ID][region]
        self._batch_backends, self._ec2_backends, self._logs_backends = batch_backends, ec2_backends, logs_backends
        self._shapes: dict[str, list[Shape]] = {}

    def queue(self, reference: str) -> dict[str, Any] | None:
        """A queue by name or ARN, as DescribeJobQueues shows it."""
        queues = self._batch.describe_job_queues([reference])
        return dict(queues[0]) if queues else None

    def definition(self, reference: str) -> dict[str, Any] | None:
        """A definition by name, name:revision or ARN with or without revision; the latest active one without."""
        wanted = reference.rpartition("/")[2]
        found = [d.describe() for d in self._batch.describe_job_definitions(status="ACTIVE")]
        names = {f"{d['jobDefinitionName']}:{d['revision']}": d for d in found}
        if wanted in names:
            return _definition(names[wanted])
        same = [d for d in found if d["jobDefinitionName"] == wanted]
        return _definition(max(same, key=lambda d: d["revision"])) if same else None

    def environments(self, queue_arn: str) -> list[ComputeEnvironment]:
        """The compute environments of a queue in their order; empty for a queue that was deleted."""
        queue = self.queue(queue_arn)
        order = sorted(queue["computeEnvironmentOrder"], key=lambda item: int(item["order"])) if queue else []
        return [found for item in order if (found := self._environment(item["computeEnvironment"])) is not None]

    def priority(self, queue_arn: str) -> int:
        """A queue's priority."""
        queue = self.queue(queue_arn)
        return int(queue["priority"]) if queue else 0

    def open_log(self, group: str, stream: str, *, creates_group: bool) -> bool:
        """Make a stream; False if there is no such group."""
        if creates_group or group == DEFAULT_LOG_GROUP:
            self._logs.ensure_log_group(group)
        if group not in self._logs.groups:
            return False
        self._logs.ensure_log_stream(group, stream)
        return True

    def write_log(self, group: str, stream: str, lines: list[str]) -> None:
        """Append lines; empty ones are left out, as Docker's awslogs driver does."""
        now = now_ms()
        events = [{"timestamp": now, "message": line} for line in lines if line]
        if events and group in self._logs.groups:
            self._logs.put_log_events(group, stream, events)

    @property
    def _batch(self) -> Any:
        return self._backend(self._batch_backends)

    @property
    def _logs(self) -> Any:
        return self._backend(self._logs_backends)

    def _environment(self, reference: str) -> ComputeEnvironment | None:
        found = self._batch.describe_compute_environments([reference])
        if not found:
            return None
        described = found[0]
        resources = described.get("computeResources") or {}
        shapes = tuple(shape for name in resources.get("instanceTypes", ()) for shape in self._shapes_of(name))
        return ComputeEnvironment(
            name=described["computeEnvironmentName"],
            arn=described["computeEnvironmentArn"],
            is_enabled=described["state"] == "ENABLED",
            max_vcpus=int(resources.get("maxvCpus", 0)),
            shapes=shapes,
        )

    def _shapes_of(self, instance_type: str) -> list[Shape]:
        if instance_type not in self._shapes:
            wanted = _OPTIMAL if instance_type == "optimal" else (instance_type,)
            types = self._instance_types.items()
            self._shapes[instance_type] = [s for name, s in types if name in wanted or name.split(".")[0] in wanted]
        return self._shapes[instance_type]

    @cached_property
    def _instance_types(self) -> dict[str, Shape]:
        return {
            described["InstanceType"]: _shape(described)
            for described in self._backend(self._ec2_backends).describe_instance_types()
        }


def _shape(described: Mapping[str, Any]) -> Shape:
    gpus = sum(gpu["Count"] for gpu in described.get("GpuInfo", {}).get("Gpus", ()))
    return Shape(described["VCpuInfo"]["DefaultVCpus"], described["MemoryInfo"]["SizeInMiB"], gpus)


def _definition(described: Mapping[str, Any]) -> dict[str, Any]:
    """A definition in the model's types, whatever CloudFormation made of them."""
    typed: dict[str, Any] = coerced("JobDefinition", described)
    return typed
