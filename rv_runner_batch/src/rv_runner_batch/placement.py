"""Whether what a job asks for can ever be placed: queues, compute environments and their instance types. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Instance types that AWS Batch chooses itself, none of them with a GPU.
_CHOSEN_BY_BATCH = ("optimal", "default_x86_64", "default_arm64")
_FARGATE = ("FARGATE", "FARGATE_SPOT")


@dataclass(frozen=True)
class Wants:
    """What one task asks for; 0 where nothing says."""

    cpus: float = 0
    memory_mib: int = 0
    gpus: int = 0

    def __str__(self) -> str:
        parts = [
            f"{self.cpus:g} vCPU{'s' if self.cpus != 1 else ''}" if self.cpus else "",
            f"{self.memory_mib} MiB" if self.memory_mib else "",
            f"{self.gpus} GPU{'s' if self.gpus != 1 else ''}" if self.gpus else "",
        ]
        return ", ".join(filter(None, parts)) or "nothing"


@dataclass(frozen=True)
class Shape:
    """What one instance type has."""

    name: str
    vcpus: int
    memory_mib: int
    gpus: int

    def holds(self, wants: Wants) -> bool:
        """Whether one task fits into one instance of its own."""
        return self.vcpus >= wants.cpus and self.memory_mib > wants.memory_mib and self.gpus >= wants.gpus


def wants_of(container: Mapping[str, Any], override: Wants = Wants()) -> Wants:
    """What a task asks for: of the override, else of the container properties of its job definition."""
    found = {entry["type"]: float(entry["value"]) for entry in container.get("resourceRequirements", ())}
    # The older members still say it in old definitions.
    cpus = found.get("VCPU", container.get("vcpus", 0))
    memory_mib = found.get("MEMORY", container.get("memory", 0))
    return Wants(
        override.cpus or float(cpus or 0),
        override.memory_mib or int(memory_mib or 0),
        override.gpus or int(found.get("GPU", 0)),
    )


def queue_problem(queue: Mapping[str, Any]) -> str:
    """Why a queue starts nothing; "" if it can."""
    name = queue["jobQueueName"]
    if queue.get("state") == "DISABLED":
        return f"the job queue {name} is disabled"
    if queue.get("status", "VALID") not in ("VALID", "UPDATING", "CREATING"):
        return f"the job queue {name} is {queue['status']}: {queue.get('statusReason', 'no reason given')}"
    return ""


def environment_problem(environment: Mapping[str, Any]) -> str:
    """Why a compute environment starts nothing; "" if it can."""
    name = environment["computeEnvironmentName"]
    if environment.get("state") == "DISABLED":
        return f"the compute environment {name} is disabled"
    if environment.get("status", "VALID") not in ("VALID", "UPDATING", "CREATING"):
        reason = environment.get("statusReason", "no reason given")
        return f"the compute environment {name} is {environment['status']}: {reason}"
    return ""


def environment_names(queues: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names or ARNs of the compute environments of queues."""
    return [entry["computeEnvironment"] for queue in queues for entry in queue.get("computeEnvironmentOrder", ())]


def environments_of(queue: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The compute environments of a queue in their order, as far as they are known."""
    order = sorted(queue.get("computeEnvironmentOrder", ()), key=lambda entry: int(entry["order"]))
    return [known[entry["computeEnvironment"]] for entry in order if entry["computeEnvironment"] in known]


def type_patterns(environments: Iterable[Mapping[str, Any]]) -> list[str]:
    """Patterns of the instance types of compute environments, as EC2 takes them: `g5.*` for a whole family."""
    types = {
        name
        for environment in environments
        for name in environment.get("computeResources", {}).get("instanceTypes", ())
        if name not in _CHOSEN_BY_BATCH
    }
    return sorted(name if "." in name else f"{name}.*" for name in types)


def shape_of(info: Mapping[str, Any]) -> Shape:
    """The shape of an instance type, from EC2's InstanceTypeInfo."""
    gpus = sum(int(gpu["Count"]) for gpu in info.get("GpuInfo", {}).get("Gpus", ()))
    return Shape(info["InstanceType"], info["VCpuInfo"]["DefaultVCpus"], info["MemoryInfo"]["SizeInMiB"], gpus)


def misfit(wants: Wants, environment: Mapping[str, Any], shapes: Sequence[Shape] | None) -> str:
    """Why a compute environment can never run a task; "" if it may.

    Args:
        wants: what the task asks for.
        environment: ComputeEnvironmentDetail.
        shapes: all instance types that could be asked about; None where EC2 was not asked.
    """
    resources = environment.get("computeResources", {})
    name = environment["computeEnvironmentName"]
    if not resources:
        return ""  # unmanaged: its machines are the owner's business
    if wants.gpus and resources.get("type") in _FARGATE:
        return f"{name} is of type {resources['type']}, which has no GPUs"
    max_vcpus = resources.get("maxvCpus", 0)
    if wants.cpus > max_vcpus:
        return f"{name} has at most {max_vcpus} vCPUs"
    types = list(resources.get("instanceTypes", ()))
    is_chosen_by_batch = any(kind in _CHOSEN_BY_BATCH for kind in types) and not wants.gpus
    if shapes is None or resources.get("type") in _FARGATE or not types or is_chosen_by_batch:
        return ""
    own = [shape for shape in shapes if shape.name in types or shape.name.partition(".")[0] in types]
    if any(shape.holds(wants) for shape in own):
        return ""
    largest = max(own, key=lambda shape: (shape.gpus, shape.memory_mib), default=None)
    has = f"; {largest.name} has {Wants(largest.vcpus, largest.memory_mib, largest.gpus)}" if largest else ""
    return f"none of the instance types of {name} ({', '.join(types)}) is large enough{has}"


def never_placed(wants: Wants, environments: Sequence[Mapping[str, Any]], shapes: Sequence[Shape] | None = None) -> str:
    """Why none of a queue's compute environments can ever run a task; "" if one may."""
    misfits = [misfit(wants, environment, shapes) for environment in environments]
    return "; ".join(misfits) if misfits and all(misfits) else ""
