"""What a real account would have: made through boto3 calls, as a person would make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.local_batch.limits import MIN_TIMEOUT_S

#: A client of a service by its name.
ClientOf = Callable[[str], Any]

_POLICY = '{"Version": "2012-10-17", "Statement": []}'


@dataclass(frozen=True)
class Setup:
    """Names of what was made.

    Args:
        bucket: for roots.
        cpu_queue, gpu_queue: job queues.
        cpu_definition, gpu_definition: job definitions.
        cpu_environment, gpu_environment: compute environments.
        log_group: of both definitions.
    """

    bucket: str = "rv-test"
    cpu_queue: str = "rv-cpu"
    gpu_queue: str = "rv-gpu"
    cpu_definition: str = "rv-cpu"
    gpu_definition: str = "rv-gpu"
    cpu_environment: str = "rv-cpu-spot"
    gpu_environment: str = "rv-gpu-spot"
    log_group: str = "/rv/jobs"

    @property
    def root_uri(self) -> str:
        """A root in the bucket."""
        return f"s3://{self.bucket}/root"


class AwsSetup:
    """Makes roles, compute environments, queues, definitions and a bucket.

    Args:
        client: makes clients.
    """

    def __init__(self, client: ClientOf) -> None:
        self._client = client

    def make_all(self, *, cpu_vcpus: int = 4, gpu_vcpus: int = 4) -> Setup:
        """Everything that a run needs.

        Args:
            cpu_vcpus: the most vCPUs of the CPU environment; its instances have 4 vCPUs and 8 GiB.
            gpu_vcpus: of the GPU environment; its instances have 4 vCPUs, 16 GiB and one GPU.
        """
        setup = Setup()
        self._client("s3").create_bucket(Bucket=setup.bucket)
        self._client("logs").create_log_group(logGroupName=setup.log_group)
        self._make_roles()
        self.make_environment(setup.cpu_environment, ["c5.xlarge"], cpu_vcpus)
        self.make_environment(setup.gpu_environment, ["g4dn.xlarge"], gpu_vcpus)
        self.make_queue(setup.cpu_queue, setup.cpu_environment)
        self.make_queue(setup.gpu_queue, setup.gpu_environment)
        self.make_definition(setup.cpu_definition, image="rv:cpu", memory_mib=1024, log_group=setup.log_group)
        self.make_definition(
            setup.gpu_definition, image="rv:gpu", vcpus=2, memory_mib=4096, gpus=1, log_group=setup.log_group
        )
        return setup

    def make_environment(self, name: str, instance_types: Sequence[str], max_vcpus: int) -> None:
        """A managed spot environment that scales to zero."""
        ec2 = self._client("ec2")
        self._client("batch").create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            state="ENABLED",
            serviceRole=self._client("iam").get_role(RoleName="rv-service")["Role"]["Arn"],
            computeResources={
                "type": "SPOT",
                "allocationStrategy": "SPOT_PRICE_CAPACITY_OPTIMIZED",
                "minvCpus": 0,
                "maxvCpus": max_vcpus,
                "instanceTypes": list(instance_types),
                "subnets": [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]],
                "securityGroupIds": [group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]],
                "instanceRole": "rv-instance",
            },
        )

    def make_queue(self, name: str, *environments: str, priority: int = 1, scheduling_policy: str = "") -> None:
        """A queue."""
        policy = {"schedulingPolicyArn": scheduling_policy} if scheduling_policy else {}
        order = [{"order": i, "computeEnvironment": each} for i, each in enumerate(environments)]
        self._client("batch").create_job_queue(
            jobQueueName=name, state="ENABLED", priority=priority, computeEnvironmentOrder=order, **policy
        )

    def make_definition(
        self,
        name: str,
        *,
        image: str = "rv:cpu",
        command: Sequence[str] = ("true",),
        vcpus: int = 1,
        memory_mib: int = 512,
        gpus: int = 0,
        timeout_s: int = 60 * MIN_TIMEOUT_S,
        log_group: str = "",
        **container: Any,
    ) -> str:
        """Register a definition; `container` is further members of containerProperties. Returns its ARN."""
        amounts = {"VCPU": vcpus, "MEMORY": memory_mib, "GPU": gpus}
        properties: dict[str, Any] = {
            "image": image,
            "command": list(command),
            "resourceRequirements": [{"type": kind, "value": str(n)} for kind, n in amounts.items() if n],
            "linuxParameters": {"initProcessEnabled": True},
            **container,
        }
        if log_group:
            properties["logConfiguration"] = {"logDriver": "awslogs", "options": {"awslogs-group": log_group}}
        registered = self._client("batch").register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties=properties,
            retryStrategy={"attempts": 1},
            timeout={"attemptDurationSeconds": timeout_s},
        )
        arn: str = registered["jobDefinitionArn"]
        return arn

    def _make_roles(self) -> None:
        iam = self._client("iam")
        for role in ("rv-service", "rv-instance"):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=_POLICY)
        iam.create_instance_profile(InstanceProfileName="rv-instance")
        iam.add_role_to_instance_profile(InstanceProfileName="rv-instance", RoleName="rv-instance")
