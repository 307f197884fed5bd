"""What is wrong with the job definitions of a set-up, their images, roles and logs, and with the bucket. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rv_core import Finding
from rv_runner_batch.preflight import VERSION_TAG
from rv_runner_batch.setup.facts import Bucket, Facts, Role, named
from rv_runner_batch.setup.role_policies import WIDE_POLICIES, allows, trusts, written_buckets
from rv_runner_batch.submission import RETRY_RULES

_TEMPLATE = "update the stack from `rv batch template`"
_NEEDED_ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")
_MIN_SHARED_MEMORY_MIB = 256
_JOBS_SERVICE = "ecs-tasks.amazonaws.com"


def definition_findings(facts: Facts) -> Iterator[Finding]:
    """Definitions that are missing, or whose jobs hang, cannot be ended properly, or are not tried again."""
    seen: set[str] = set()
    for one in named(facts.settings, "job_definition"):
        if facts.definitions is None or one.name in seen:
            continue
        seen.add(one.name)
        definition = facts.definitions.get(one.name)
        if definition is None:
            what = f"there is no active job definition {one.name!r} in {facts.region} of this account"
            yield Finding(one.setting, what, "is it the right AWS_PROFILE and region?")
        elif definition.get("type") != "container":
            what = f"is of type {definition.get('type')}, not container"
            yield Finding(f"job definition {one.name}", what, "name another one")
        else:
            where = f"job definition {one.name}"
            yield from _job_findings(where, definition, facts)
            yield from _container_findings(where, definition.get("containerProperties") or {})


def _job_findings(where: str, definition: Mapping[str, Any], facts: Facts) -> Iterator[Finding]:
    status = definition.get("status", "ACTIVE")
    if status != "ACTIVE":
        yield Finding(where, f"is {status}", "name an active revision, or none")
    retry = definition.get("retryStrategy") or {}
    if retry.get("attempts", 1) < 2:
        what = "has one attempt: a job whose spot machine is taken away is not started again"
        yield Finding(where, what, f"give it several attempts, or {_TEMPLATE}", "warning")
    elif not _has_our_rules(retry.get("evaluateOnExit", ())):
        what = "has other retry rules than rv sends: a job that was not submitted by rv is tried again differently"
        yield Finding(where, what, _TEMPLATE, "warning")
    if not definition.get("timeout", {}).get("attemptDurationSeconds") and not facts.settings.timeout_s:
        what = "has no timeout: a job that hangs keeps its machine, and you pay for it, until somebody looks"
        yield Finding(where, what, f"set batch.timeout_s in the profile, or {_TEMPLATE}")
    version = definition.get("tags", {}).get(VERSION_TAG)
    if version and version != facts.core_version:
        what = f"its image holds rv-core {version}, here is {facts.core_version}"
        yield Finding(where, what, "build the image anew, or install the same version here")


def _has_our_rules(rules: Any) -> bool:
    """Whether rules mean the same as those that every job is submitted with; AWS does not mind upper or lower case."""
    given = [{key: value.lower() for key, value in rule.items()} for rule in rules]
    return given == [{key: value.lower() for key, value in rule.items()} for rule in RETRY_RULES]


def _container_findings(where: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    linux = container.get("linuxParameters") or {}
    if not linux.get("initProcessEnabled"):
        what = "has no init process: processes that jobs leave behind are not ended, and TERM may not reach the task"
        yield Finding(where, what, f"set initProcessEnabled, or {_TEMPLATE}", "warning")
    shared_mib = linux.get("sharedMemorySize", 64)
    if shared_mib < _MIN_SHARED_MEMORY_MIB:
        what = f"gives {shared_mib} MiB of shared memory, too little for data loaders with workers"
        yield Finding(where, what, "raise sharedMemorySize", "warning")
    if container.get("privileged"):
        yield Finding(where, "runs privileged: a job is root on its machine", "rv needs no privileges", "warning")
    if not container.get("jobRoleArn"):
        what = "has no job role, so jobs cannot reach the bucket, or only with the rights of the machine"
        yield Finding(where, what, f"give it a role for {_JOBS_SERVICE}, or {_TEMPLATE}")
    driver = (container.get("logConfiguration") or {}).get("logDriver", "awslogs")
    if driver != "awslogs":
        yield Finding(where, f"sends logs to {driver}, where rv logs cannot read them", "use awslogs", "warning")


def image_findings(facts: Facts) -> Iterator[Finding]:
    """Images that are not in their repository."""
    for image, is_there in (facts.images or {}).items():
        if is_there is False:
            what = "is not in its repository, so every job fails before it starts"
            yield Finding(
                f"image {image}", what, "build and push it (docs/aws-batch.md), or correct the stack's ImageTag"
            )


def log_findings(facts: Facts) -> Iterator[Finding]:
    """Log groups that are missing or keep everything for ever."""
    for name, group in (facts.log_groups or {}).items():
        where = f"log group {name}"
        if group is None:
            yield Finding(where, "does not exist, so every job fails before it starts", "make it, or update the stack")
        elif not group.get("retentionInDays"):
            yield Finding(where, "keeps logs for ever, and you pay for them", "set its retention", "warning")


def role_findings(facts: Facts) -> Iterator[Finding]:
    """Roles that jobs cannot take, that cannot write to the bucket, or that can write to every bucket."""
    for arn, role in (facts.roles or {}).items():
        where = f"job role {arn.rpartition('/')[2]}"
        if role is None:
            yield Finding(where, "does not exist, so no job can start", "update the stack")
            continue
        if not trusts(role.trust, _JOBS_SERVICE):
            what = f"does not trust {_JOBS_SERVICE}, so no job can take it"
            yield Finding(where, what, f"let {_JOBS_SERVICE} take it (its trust policy)")
        yield from _permission_findings(where, role, facts.bucket)


def _permission_findings(where: str, role: Role, bucket: Bucket | None) -> Iterator[Finding]:
    wide = [arn.rpartition("/")[2] for arn in role.attached if arn.rpartition("/")[2] in WIDE_POLICIES]
    if wide or "*" in written_buckets(role.documents):
        how = f" ({', '.join(wide)})" if wide else ""
        what = f"may write to every bucket of the account{how}"
        yield Finding(where, what, f"limit it to the bucket of the roots, or {_TEMPLATE}", "warning")
    if bucket is None or wide:
        return
    denied = _denied_actions(role, bucket)
    if denied and role.attached:
        names = ", ".join(arn.rpartition("/")[2] for arn in role.attached)
        what = f"whether it may use {bucket.name} depends on managed policies, which are not read: {names}"
        yield Finding(where, what, "", "skipped")
    elif denied:
        what = f"jobs may not use the bucket {bucket.name}: {', '.join(denied)} is missing"
        yield Finding(where, what, "choose a root in the stack's own bucket, or add a policy for this one to the role")


def _denied_actions(role: Role, bucket: Bucket) -> list[str]:
    arn, probe = f"arn:aws:s3:::{bucket.name}", f"{bucket.uri.partition('://')[2]}/.rv/probe"
    # China and GovCloud have other partitions; the role's own ARNs are compared in theirs.
    documents = [_in_one_partition(document) for document in role.documents]
    objects = [action for action in _NEEDED_ACTIONS if not allows(documents, action, f"arn:aws:s3:::{probe}")]
    return [*objects, *(["s3:ListBucket"] if not allows(documents, "s3:ListBucket", arn) else [])]


def _in_one_partition(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("arn:aws-cn:", "arn:aws:").replace("arn:aws-us-gov:", "arn:aws:")
    if isinstance(value, Mapping):
        return {key: _in_one_partition(each) for key, each in value.items()}
    return [_in_one_partition(each) for each in value] if isinstance(value, list) else value


def bucket_findings(facts: Facts) -> Iterator[Finding]:
    """A bucket that cannot be reached or written to from here, or that is far from the machines."""
    bucket = facts.bucket
    if bucket is None:
        what = "no bucket is known, so none was looked at"
        yield Finding("bucket", what, "name a root: rv batch doctor --root s3://BUCKET/NAME", "skipped")
        return
    where = f"bucket {bucket.name}"
    if bucket.region is None:
        yield Finding(where, "does not exist", "choose another root, or make it")
        return
    if bucket.problem:
        fix = "attach the stack's SubmitterPolicy to whoever submits, or choose another root"
        yield Finding(where, f"cannot be written to from here: {bucket.problem}", fix)
    if bucket.region and bucket.region != facts.region:
        what = f"is in {bucket.region}, the machines are in {facts.region}: slower, and every byte read costs money"
        yield Finding(where, what, "use a bucket in the same region", "warning")
