"""What is wrong with the queues and machines of a set-up, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rv_core import Finding
from rv_runner_batch.placement import (
    environment_problem,
    environments_of,
    never_placed,
    queue_problem,
    wants_of,
)
from rv_runner_batch.setup.facts import Facts, Named, named

#: Reasons why a job can never start; a queue can be told to cancel such jobs.
HOPELESS_REASONS = ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE", "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
_SPOT = ("SPOT", "FARGATE_SPOT")
_FARGATE = ("FARGATE", "FARGATE_SPOT")
_SETTINGS = {
    "cpu_job_queue": "job queue of commands without a GPU",
    "cpu_job_definition": "job definition of commands without a GPU",
    "gpu_job_queue": "job queue of commands with a GPU",
    "gpu_job_definition": "job definition of commands with a GPU",
}


def settings_findings(facts: Facts) -> Iterator[Finding]:
    """Settings that are missing."""
    for key, what in _SETTINGS.items():
        if not getattr(facts.settings, key):
            fix = f"`rv batch setup --stack NAME` writes it into the profile; or set RV_BATCH_{key.upper()}"
            # Without the GPU ones everything but commands with a GPU can run.
            yield Finding(
                f"batch.{key}", f"is not set: the {what}", fix, "error" if key.startswith("cpu") else "warning"
            )


def queue_findings(facts: Facts) -> Iterator[Finding]:
    """Queues that are missing, start nothing, or let hopeless jobs wait for ever."""
    if facts.queues is None:
        return
    for one in named(facts.settings, "job_queue"):
        queue = facts.queues.get(one.name)
        if queue is None:
            what = f"there is no job queue {one.name!r} in {facts.region} of this account"
            yield Finding(one.setting, what, "is it the right AWS_PROFILE and region?")
            continue
        yield from _queue_findings(one, queue, facts)


def _queue_findings(one: Named, queue: Mapping[str, Any], facts: Facts) -> Iterator[Finding]:
    where = f"job queue {queue['jobQueueName']}"
    problem = queue_problem(queue)
    if problem:
        yield Finding(where, problem, "enable it, or update the stack")
    actions = {action["reason"] for action in queue.get("jobStateTimeLimitActions", ())}
    if set(HOPELESS_REASONS) - actions:
        what = "a job that no machine can ever hold waits here for ever"
        fix = f"give the queue jobStateTimeLimitActions for {' and '.join(HOPELESS_REASONS)}"
        yield Finding(where, what, fix, "warning")
    if facts.environments is None:
        return
    environments = environments_of(queue, facts.environments)
    if not environments:
        yield Finding(where, "has no compute environment, so it starts nothing", "give it one")
    elif one.is_main and not any(_resources(environment).get("type") in _SPOT for environment in environments):
        fix = "update the stack, or use the on-demand queue only in [batch.commands.NAME] of what cannot be interrupted"
        yield Finding(where, "has no spot machines, which cost a fraction of the price", fix, "warning")


def placement_findings(facts: Facts) -> Iterator[Finding]:
    """Job definitions whose own amounts no machine of their queue can ever give."""
    if facts.queues is None or facts.environments is None or facts.definitions is None:
        return
    for kind in ("cpu", "gpu"):
        queue = facts.queues.get(getattr(facts.settings, f"{kind}_job_queue"))
        name = getattr(facts.settings, f"{kind}_job_definition")
        definition = facts.definitions.get(name)
        if queue is None or definition is None:
            continue
        wants = wants_of(definition.get("containerProperties") or {})
        never = never_placed(wants, environments_of(queue, facts.environments), facts.shapes)
        if never:
            what = f"asks for {wants}, which the job queue {queue['jobQueueName']} can never give: {never}"
            yield Finding(f"job definition {name}", what, "ask for less, or allow larger instances")


def environment_findings(facts: Facts) -> Iterator[Finding]:
    """Compute environments that start nothing, cost money while nothing runs, or can be better."""
    for environment, is_gpu in _environments(facts):
        where = f"compute environment {environment['computeEnvironmentName']}"
        problem = environment_problem(environment)
        if problem:
            yield Finding(where, problem, "enable it, or update the stack")
        if environment.get("type") == "MANAGED":
            yield from _capacity_findings(where, environment)
            yield from _image_type_findings(where, environment, is_gpu=is_gpu)


def _capacity_findings(where: str, environment: Mapping[str, Any]) -> Iterator[Finding]:
    resources = _resources(environment)
    if resources.get("minvCpus", 0) > 0:
        what = f"keeps {resources['minvCpus']} vCPUs running when there is nothing to do, and you pay for them"
        yield Finding(where, what, "set its minimum (MinvCpus) to 0")
    if resources.get("type") in _FARGATE:
        return
    if resources.get("allocationStrategy", "BEST_FIT") == "BEST_FIT":
        wanted = "SPOT_PRICE_CAPACITY_OPTIMIZED" if resources.get("type") == "SPOT" else "BEST_FIT_PROGRESSIVE"
        what = "waits for one instance type where others are free (allocation strategy BEST_FIT)"
        yield Finding(where, what, f"make a new one with {wanted}; this cannot be changed", "warning")
    if resources.get("type") == "SPOT" and 0 < resources.get("bidPercentage", 0) < 100:
        what = f"takes machines only below {resources['bidPercentage']} % of the on-demand price"
        yield Finding(where, what, "leave the bid percentage out: you pay the spot price anyway", "warning")
    if len(resources.get("subnets", ())) == 1:
        what = "has one subnet, so the capacity of one availability zone"
        yield Finding(where, what, "give it a subnet in each availability zone", "warning")
    if "/aws-service-role/" not in environment.get("serviceRole", "/aws-service-role/"):
        what = "has a service role of its own, so it cannot be updated in place"
        yield Finding(where, what, "leave the service role out when it is made anew", "warning")


def _image_type_findings(where: str, environment: Mapping[str, Any], *, is_gpu: bool) -> Iterator[Finding]:
    types = {str(each.get("imageType", "")) for each in _resources(environment).get("ec2Configuration", ())} - {""}
    old = sorted(each for each in types if each in ("ECS_AL1", "ECS_AL2", "ECS_AL2_NVIDIA"))
    if old:
        what = f"its machines start from {', '.join(old)}, which gets no security updates since 30 June 2026"
        yield Finding(where, what, "use ECS_AL2023, and ECS_AL2023_NVIDIA for GPUs", "warning")
    if is_gpu and types and not any("NVIDIA" in each for each in types):
        what = f"its machines start from {', '.join(sorted(types))}, which has no GPU driver"
        yield Finding(where, what, "use ECS_AL2023_NVIDIA")


def machine_findings(facts: Facts) -> Iterator[Finding]:
    """Machines whose disks are not encrypted, whose metadata is open to all, or that let somebody in."""
    for name, template in (facts.launch_templates or {}).items():
        yield from _template_findings(f"launch template of {name}", template)
    if facts.security_groups is None:
        return
    for environment, _ in _environments(facts):
        for group_id in _resources(environment).get("securityGroupIds", ()):
            group = facts.security_groups.get(group_id)
            where = f"security group {group_id}"
            if group is None:
                yield Finding(where, "does not exist, so no machine can start", "update the stack")
            elif _is_open(group):
                what = "lets anybody on the internet in"
                fix = "remove its ingress rules: jobs only call out, and Session Manager needs no port"
                yield Finding(where, what, fix, "warning")


def _template_findings(where: str, template: Mapping[str, Any] | None) -> Iterator[Finding]:
    if template is None:
        yield Finding(where, "does not exist, so no machine can start", "update the stack")
        return
    disks = [mapping["Ebs"] for mapping in template.get("BlockDeviceMappings", ()) if "Ebs" in mapping]
    if any(not disk.get("Encrypted") for disk in disks):
        yield Finding(where, "its disks are not encrypted", "set Encrypted", "warning")
    if template.get("MetadataOptions", {}).get("HttpTokens", "required") != "required":
        what = "its metadata answer to anybody who can make a request from the machine (IMDSv1)"
        yield Finding(where, what, "set HttpTokens to required", "warning")


def _is_open(group: Mapping[str, Any]) -> bool:
    return any(
        address.get("CidrIp") == "0.0.0.0/0" or address.get("CidrIpv6") == "::/0"
        for permission in group.get("IpPermissions", ())
        for address in (*permission.get("IpRanges", ()), *permission.get("Ipv6Ranges", ()))
    )


def _environments(facts: Facts) -> list[tuple[Mapping[str, Any], bool]]:
    """(compute environment, whether jobs with a GPU go there), each once, in the order of the settings."""
    found: dict[str, tuple[Mapping[str, Any], bool]] = {}
    for one in named(facts.settings, "job_queue"):
        queue = (facts.queues or {}).get(one.name)
        for environment in environments_of(queue, facts.environments or {}) if queue else ():
            found.setdefault(environment["computeEnvironmentName"], (environment, one.is_gpu))
    return list(found.values())


def _resources(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    resources: Mapping[str, Any] = environment.get("computeResources") or {}
    return resources
