"""vCPU and GPU slots of compute environments: where a container can run now, or why it can never run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.local_batch.account import ComputeEnvironment
from tests.local_batch.jobs import Request

#: The status reasons of the model's text for JobDetail.statusReason.
NO_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - All compute environments have insufficient capacity to service the job."
)
TOO_MANY_VCPUS = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - All compute environments have a maxVcpu setting that is "
    "smaller than the job requirements."
)
NO_INSTANCE_FITS = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - All compute environments have no connected instances that meet the "
    "job requirements."
)


@dataclass(frozen=True)
class Placement:
    """Where a container runs (None: nowhere now) and, where it is stuck, why."""

    environment: ComputeEnvironment | None
    reason: str = ""


@dataclass(frozen=True)
class Capacity:
    """What the cloud gives an environment at the moment, whatever its settings allow; None for no bound."""

    vcpus: int | None = None
    gpus: int | None = None


class Slots:
    """What is taken of each compute environment.

    Args:
        environments_of: the compute environments of a queue, by its ARN.
    """

    def __init__(self, environments_of: Callable[[str], Sequence[ComputeEnvironment]]) -> None:
        self.capacities: dict[str, Capacity] = {}
        self._environments_of = environments_of
        self._vcpus: Counter[str] = Counter()
        self._gpus: Counter[str] = Counter()

    def take(self, queue: str, request: Request) -> Placement:
        """Take the slots of a request in the first environment of its queue that has them."""
        environments = [e for e in self._environments_of(queue) if e.is_enabled]
        for environment in environments:
            if _fits(environment, request) and self._has_room(environment, request):
                self._vcpus[environment.arn] += request.vcpus
                self._gpus[environment.arn] += request.gpus
                return Placement(environment)
        return Placement(None, self._stuck_reason(environments, request))

    def give_back(self, environment: ComputeEnvironment, request: Request) -> None:
        """Free the slots of a container that has ended."""
        self._vcpus[environment.arn] -= request.vcpus
        self._gpus[environment.arn] -= request.gpus

    def _has_room(self, environment: ComputeEnvironment, request: Request) -> bool:
        bound = self.capacities.get(environment.name, Capacity())
        max_vcpus = environment.max_vcpus if bound.vcpus is None else min(bound.vcpus, environment.max_vcpus)
        max_gpus = environment.max_gpus if bound.gpus is None else min(bound.gpus, environment.max_gpus)
        enough_vcpus = self._vcpus[environment.arn] + request.vcpus <= max_vcpus
        return enough_vcpus and self._gpus[environment.arn] + request.gpus <= max_gpus

    def _stuck_reason(self, environments: Sequence[ComputeEnvironment], request: Request) -> str:
        """Why a request waits although nothing runs that it could wait for; "" for one that just waits its turn."""
        if not environments:
            return ""
        if all(environment.max_vcpus < request.vcpus for environment in environments):
            return TOO_MANY_VCPUS
        if not any(_fits(environment, request) for environment in environments):
            return NO_INSTANCE_FITS
        is_idle = not any(self._vcpus[environment.arn] for environment in environments)
        return NO_CAPACITY if is_idle else ""


def _fits(environment: ComputeEnvironment, request: Request) -> bool:
    """Whether an instance of the environment could ever hold the container."""
    return request.vcpus <= environment.max_vcpus and any(
        request.vcpus <= shape.vcpus and request.memory_mib <= shape.memory_mib and request.gpus <= shape.gpus
        for shape in environment.shapes
        if shape.vcpus <= environment.max_vcpus
    )
