"""What AWS says of a set-up, asked once: the values that `queue_checks` judges."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from rv_core import Finding, Storage, StorageError
from rv_runner_batch.client import AwsError
from rv_runner_batch.placement import Shape, environment_names, shape_of, type_patterns
from rv_runner_batch.settings import BatchSettings
from rv_runner_batch.setup.account import AccountClient, policy_document
from rv_runner_batch.setup.role_policies import written_buckets

T = TypeVar("T")
Details = Mapping[str, Any]


@dataclass(frozen=True)
class Named:
    """A queue or a job definition that a setting names.

    Args:
        setting: the setting, for messages.
        name: name or ARN.
        is_gpu: whether jobs that want a GPU go there.
        is_main: whether it is a general setting, none of a table `[batch.commands.NAME]`.
    """

    setting: str
    name: str
    is_gpu: bool
    is_main: bool = True


@dataclass(frozen=True)
class Role:
    """A role that jobs have.

    Args:
        trust: the document that says who may take it.
        documents: its inline policies.
        attached: the ARNs of its managed policies.
    """

    trust: Details
    documents: Sequence[Details]
    attached: Sequence[str] = ()


@dataclass(frozen=True)
class Bucket:
    """The bucket for roots.

    Args:
        uri: the root that was looked at, or the bucket itself.
        region: its region; "" where that may not be asked, None if there is no such bucket.
        problem: why nothing can be written there from here; "" if something could.
    """

    uri: str
    region: str | None
    problem: str = ""

    @property
    def name(self) -> str:
        """The name of the bucket."""
        return self.uri.partition("://")[2].partition("/")[0]


@dataclass(frozen=True)
class Facts:
    """A set-up. What is None may not be asked; a value None in a mapping does not exist.

    Args:
        region: the region.
        caller: the ARN of whoever asked.
        settings: the settings that were looked at.
        core_version: the version of rv-core here.
        queues: name and ARN -> JobQueueDetail; those that do not exist are left out.
        environments: name and ARN -> ComputeEnvironmentDetail, likewise.
        shapes: the instance types of all environments.
        launch_templates: name of a compute environment -> LaunchTemplateData.
        security_groups: id -> SecurityGroup.
        definitions: name -> JobDefinition.
        images: image -> whether it is in its repository; None where that cannot be known.
        roles: ARN -> the role of jobs.
        log_groups: name -> LogGroup.
        bucket: the bucket for roots; None where none is known.
        unasked: what could not be asked, as findings.
    """

    region: str
    caller: str
    settings: BatchSettings
    core_version: str
    queues: Mapping[str, Details] | None = None
    environments: Mapping[str, Details] | None = None
    shapes: Sequence[Shape] | None = None
    launch_templates: Mapping[str, Details | None] | None = None
    security_groups: Mapping[str, Details] | None = None
    definitions: Mapping[str, Details | None] | None = None
    images: Mapping[str, bool | None] | None = None
    roles: Mapping[str, Role | None] | None = None
    log_groups: Mapping[str, Details | None] | None = None
    bucket: Bucket | None = None
    unasked: tuple[Finding, ...] = ()


def named(settings: BatchSettings, what: Literal["job_queue", "job_definition"]) -> list[Named]:
    """The queues, or the job definitions, that settings name; those that are not set are left out."""
    main = [Named(f"batch.{kind}_{what}", getattr(settings, f"{kind}_{what}"), kind == "gpu") for kind in _KINDS]
    own = [
        Named(f"batch.commands.{command}.{what}", getattr(table, what), bool(table.gpus), is_main=False)
        for command, table in settings.commands.items()
    ]
    return [one for one in (*main, *own) if one.name]


_KINDS = ("cpu", "gpu")


@dataclass
class _Asker:
    """Asks, and notes what is refused."""

    refused: list[Finding] = field(default_factory=list)

    def __call__(self, question: Callable[[], T]) -> T | None:
        try:
            return question()
        except AwsError as error:
            if error.kind not in ("denied", "refused"):
                raise
            self._note(error)
            return None

    def _note(self, error: AwsError) -> None:
        if error.kind == "denied":
            what = f"{error.block.what}, so what it tells was not checked"
            finding = Finding("AWS", what, "attach the stack's SubmitterPolicy to whoever asks", "skipped")
        else:
            finding = Finding("AWS", error.block.what, error.block.fix)
        if finding not in self.refused:
            self.refused.append(finding)


def gather(client: AccountClient, settings: BatchSettings, root_uri: str, core_version: str) -> Facts:
    """Ask AWS about everything that settings name, and what belongs to it.

    Args:
        client: asks.
        settings: the settings.
        root_uri: where a run's root would be; "" for the bucket of the role that jobs have.
        core_version: the version of rv-core here.

    Raises:
        AwsError: if there are no credentials, no region, or AWS cannot be reached.
    """
    ask = _Asker()
    client.check_credentials()
    region, caller = client.region, client.caller()
    queues = ask(lambda: client.queues(one.name for one in named(settings, "job_queue")))
    environments = None if queues is None else ask(lambda: client.environments(environment_names(queues.values())))
    names = sorted({one.name for one in named(settings, "job_definition")})
    definitions = ask(lambda: {name: client.definition(name) for name in names})
    containers = [_container(definition) for definition in (definitions or {}).values() if definition]
    roles = ask(lambda: _roles(client, containers))
    return Facts(
        region=region,
        caller=caller,
        settings=settings,
        core_version=core_version,
        queues=queues,
        environments=environments,
        shapes=None if environments is None else ask(lambda: _shapes(client, environments)),
        launch_templates=None if environments is None else ask(lambda: _launch_templates(client, environments)),
        security_groups=None if environments is None else ask(lambda: _security_groups(client, environments)),
        definitions=definitions,
        images=ask(lambda: {str(c["image"]): client.has_image(str(c["image"])) for c in containers if "image" in c}),
        roles=roles,
        log_groups=ask(lambda: {name: client.log_group(name) for name in _log_groups(containers)}),
        bucket=_bucket(client, ask, root_uri or _root_of(roles or {})),
        unasked=tuple(ask.refused),
    )


def _container(definition: Details) -> Details:
    container: Details = definition.get("containerProperties") or {}
    return container


def _shapes(client: AccountClient, environments: Mapping[str, Details]) -> list[Shape]:
    patterns = type_patterns(environments.values())
    return [shape_of(info) for info in client.instance_types(patterns)] if patterns else []


def _launch_templates(client: AccountClient, environments: Mapping[str, Details]) -> dict[str, Details | None]:
    specified = {
        environment["computeEnvironmentName"]: environment.get("computeResources", {}).get("launchTemplate")
        for environment in environments.values()
    }
    return {name: client.launch_template(each) for name, each in specified.items() if each}


def _security_groups(client: AccountClient, environments: Mapping[str, Details]) -> dict[str, Details]:
    ids = {
        group
        for environment in environments.values()
        for group in environment.get("computeResources", {}).get("securityGroupIds", ())
    }
    return {group["GroupId"]: group for group in client.security_groups(ids)} if ids else {}


def _roles(client: AccountClient, containers: Iterable[Details]) -> dict[str, Role | None]:
    arns = sorted({str(container["jobRoleArn"]) for container in containers if container.get("jobRoleArn")})
    return {arn: _role(client, arn.rpartition("/")[2]) for arn in arns}


def _role(client: AccountClient, name: str) -> Role | None:
    found = client.role(name)
    if found is None:
        return None
    trust = policy_document(found["AssumeRolePolicyDocument"])
    return Role(trust, client.inline_policies(name), client.attached_policies(name))


def _log_groups(containers: Iterable[Details]) -> list[str]:
    options = [(container.get("logConfiguration") or {}).get("options") or {} for container in containers]
    return sorted({str(each["awslogs-group"]) for each in options if each.get("awslogs-group")})


def _root_of(roles: Mapping[str, Role | None]) -> str:
    """The one bucket that jobs may write to, as a root; "" if it is not exactly one."""
    found = {bucket for role in roles.values() if role for bucket in written_buckets(role.documents)}
    return f"s3://{found.pop()}" if len(found) == 1 and "*" not in found else ""


def _bucket(client: AccountClient, ask: _Asker, uri: str) -> Bucket | None:
    if not uri:
        return None
    name = Bucket(uri, None).name
    region = ask(lambda: client.bucket_region(name) or "missing")
    if region == "missing":
        return Bucket(uri, None)
    return Bucket(uri, region or "", _write_problem(Storage(uri)))


def _write_problem(root: Storage) -> str:
    probe = f".rv/doctor-{uuid.uuid4().hex[:12]}"
    try:
        root.write_bytes(probe, b"")
        root.delete(probe)
    except StorageError as error:
        return error.block.why or error.block.what
    return ""
