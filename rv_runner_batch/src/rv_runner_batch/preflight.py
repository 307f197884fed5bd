"""What would keep a plan from running on AWS Batch, found before the first job is submitted: everything at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rv_core import (
    Finding,
    Job,
    Plan,
    Resources,
    RunContext,
    Storage,
    StorageError,
    Task,
    missing_variables,
    misspelt_tables,
)
from rv_core.files.uris import is_local
from rv_runner_batch.client import AwsError, BatchClient
from rv_runner_batch.job_settings import JobSettings, job_settings
from rv_runner_batch.limits import array_problem, request_findings
from rv_runner_batch.placement import (
    Shape,
    Wants,
    environment_names,
    environment_problem,
    environments_of,
    never_placed,
    queue_problem,
    shape_of,
    type_patterns,
    wants_of,
)
from rv_runner_batch.settings import BatchSettings
from rv_runner_batch.submission import JobRequest

_SET_UP = "`rv batch setup --stack NAME` writes it into the profile; or set {variable}"
#: Tag of a job definition that says which rv-core its image holds.
VERSION_TAG = "rv-core"


def plan_of_all(context: RunContext) -> Plan:
    """Every command of pipelines as one task: what can be looked at where the root cannot be read, so nothing is planned."""
    return Plan(
        tuple(
            Job(f"{name}.{command}", name, command, (_only_task(f"{name}.{command}"),), (), Resources.of(info))
            for name, commands in context.commands.items()
            for command, info in commands.items()
        )
    )


def _only_task(job_id: str) -> Task:
    return Task(job_id, job_id, 0, 1)


def local_findings(
    plan: Plan, settings: BatchSettings, requests: Sequence[JobRequest], commands: Mapping[str, Iterable[str]]
) -> Iterator[Finding]:
    """What can be told without asking AWS.

    Args:
        plan: the plan.
        settings: the runner's settings.
        requests: what would be submitted.
        commands: pipeline -> names of its commands, done ones included.
    """
    yield from _missing_settings(plan, settings)
    yield from misspelt_tables("batch", settings.commands, commands)
    yield from variable_findings(plan, settings)
    for job in plan.jobs:
        problem = array_problem(len(job.tasks))
        if problem:
            yield Finding(job.id, problem, "use fewer --splits")
    for request in requests:
        is_large = request.job is not None and array_problem(len(request.job.tasks))
        params = {k: v for k, v in request.params.items() if not (is_large and k == "arrayProperties")}
        yield from request_findings(request.key, params)


def _missing_settings(plan: Plan, settings: BatchSettings) -> Iterator[Finding]:
    missing: dict[str, list[str]] = {}
    for job in plan.jobs:
        own = job_settings(job, settings)
        if not own.job_queue:
            missing.setdefault(own.queue_setting, []).append(job.command)
        if not own.job_definition:
            missing.setdefault(own.definition_setting, []).append(job.command)
    for setting, commands in missing.items():
        variable = f"RV_{setting.replace('.', '_')}".upper()
        names = ", ".join(dict.fromkeys(commands))
        yield Finding(setting, f"is not set; needed for {names}", _SET_UP.format(variable=variable))


def variable_findings(plan: Plan, settings: BatchSettings) -> Iterator[Finding]:
    """Variables that tasks are to get from this process, and that are not set in it."""
    names = dict.fromkeys(name for job in plan.jobs for name in job_settings(job, settings).environment_from)
    yield from missing_variables("batch.environment_from", names)


def root_findings(context: RunContext) -> Iterator[Finding]:
    """Roots that cannot be written to; a dry run only lists them."""
    for name, config in context.configs.items():
        if is_local(config.root_uri):
            continue  # the core has said so
        root, probe = Storage(config.root_uri), f".rv/preflight-{context.run_id}"
        try:
            if context.is_dry_run:
                root.exists(probe)
            else:
                root.write_bytes(probe, b"")
                root.delete(probe)
        except StorageError as error:
            why = error.block.why or error.block.what
            fix = error.block.fix or "choose another root, or let your credentials write there"
            yield Finding(f"{name}.root_uri", f"{config.root_uri} cannot be written to: {why}", fix)


def aws_findings(plan: Plan, settings: BatchSettings, client: BatchClient, core_version: str) -> Iterator[Finding]:
    """What AWS says of credentials, queues, definitions and compute environments.

    Args:
        plan: the plan.
        settings: the runner's settings.
        client: asks AWS.
        core_version: the version of rv-core here.
    """
    problems = list(_access_findings(client))
    if problems:
        yield from problems
        return
    try:
        yield from _asked(plan, settings, client, core_version)
    except AwsError as error:
        yield _finding_of(error)


def _access_findings(client: BatchClient) -> Iterator[Finding]:
    for look in (lambda: client.region, client.check_credentials):
        try:
            look()
        except AwsError as error:
            yield _finding_of(error)


def _finding_of(error: AwsError) -> Finding:
    is_environment = error.kind in ("credentials", "region", "network", "throttled")
    return error.as_finding("AWS", kind="environment" if is_environment else "config")


@dataclass(frozen=True)
class _Account:
    """What AWS says of everything that a plan uses; None for what may not be asked."""

    queues: Mapping[str, Mapping[str, Any]] | None
    environments: Mapping[str, Mapping[str, Any]] | None
    definitions: Mapping[str, Mapping[str, Any] | None] | None
    shapes: Sequence[Shape] | None


def _asked(plan: Plan, settings: BatchSettings, client: BatchClient, core_version: str) -> Iterator[Finding]:
    wanted = {job: job_settings(job, settings) for job in plan.jobs}
    skipped: list[Finding] = []

    def ask(question: Any, *, can_do_without: Sequence[str] = ("denied",)) -> Any:
        try:
            return question()
        except AwsError as error:
            if error.kind not in can_do_without:
                raise
            skipped.append(Finding("AWS", f"{error.block.what}, so what it tells was not checked", "", "skipped"))
            return None

    queues = ask(lambda: client.queues(own.job_queue for own in wanted.values()))
    environments = ask(lambda: client.environments(environment_names((queues or {}).values())))
    names = {own.job_definition for own in wanted.values() if own.job_definition}
    definitions = ask(lambda: {name: client.definition(name) for name in sorted(names)})
    patterns = type_patterns((environments or {}).values())
    # AWS Batch places jobs without this answer, so a network that reaches only AWS Batch must not keep them back.
    infos = ask(lambda: client.instance_types(patterns), can_do_without=_ANY_KIND) if patterns else []
    shapes = None if infos is None else [shape_of(info) for info in infos]
    account = _Account(queues, environments, definitions, shapes)
    found: dict[tuple[str, str], Finding] = {}
    for job, own in wanted.items():
        for finding in _job_findings(job.id, own, account, core_version):
            found.setdefault((finding.where, finding.what), finding)
    yield from found.values()
    yield from {finding.what: finding for finding in skipped}.values()


def _job_findings(job: str, own: JobSettings, account: _Account, core_version: str) -> Iterator[Finding]:
    definition = (account.definitions or {}).get(own.job_definition)
    if account.definitions is not None and own.job_definition:
        yield from _definition_findings(own, definition, core_version)
    queue = (account.queues or {}).get(own.job_queue)
    if account.queues is None or not own.job_queue:
        return
    if queue is None:
        yield Finding(
            own.queue_setting, f"there is no job queue {own.job_queue!r} in this account and region", _OTHER_REGION
        )
        return
    yield from _queue_findings(own, queue, account)
    if account.environments is None:
        return
    override = Wants(own.cpus or 0, own.memory_mib or 0, own.gpus)
    wants = wants_of((definition or {}).get("containerProperties", {}), override)
    never = never_placed(wants, environments_of(queue, account.environments), account.shapes)
    if never:
        gpus_alone = never_placed(Wants(gpus=wants.gpus), environments_of(queue, account.environments), account.shapes)
        fix = _GPU_QUEUE if own.gpus and gpus_alone else _SMALLER
        yield Finding(job, f"asks for {wants}, which {own.job_queue} can never give: {never}", fix)


_ANY_KIND = ("denied", "network", "throttled", "refused")
_GPU_QUEUE = "use a GPU queue, or give the compute environment GPU instances"
_OTHER_REGION = "is it the right AWS_PROFILE and region? `rv batch doctor` looks at the whole set-up"
_SMALLER = "ask for less ([batch.commands.NAME] cpus, memory_mib), or allow larger instances"


def _queue_findings(own: JobSettings, queue: Mapping[str, Any], account: _Account) -> Iterator[Finding]:
    problem = queue_problem(queue)
    if problem:
        yield Finding(own.queue_setting, problem, "enable it, or choose another one")
    if account.environments is not None:
        environments = environments_of(queue, account.environments)
        problems = [environment_problem(environment) for environment in environments]
        if not environments and "computeEnvironmentOrder" in queue:
            yield Finding(own.queue_setting, f"the job queue {own.job_queue} has no compute environment")
        elif any(problems):
            what = "; ".join(filter(None, problems))
            yield Finding(own.queue_setting, what, "enable it, or mend it", "error" if all(problems) else "warning")
    is_fair_share = bool(queue.get("schedulingPolicyArn"))
    if is_fair_share and not own.share_identifier:
        what = f"the job queue {own.job_queue} is a fair-share queue, and no share identifier is set"
        yield Finding(own.queue_setting, what, "set batch.share_identifier (RV_BATCH_SHARE_IDENTIFIER)")
    if not is_fair_share and (own.share_identifier or own.scheduling_priority is not None):
        what = f"the job queue {own.job_queue} is no fair-share queue: it takes neither share identifier nor priority"
        yield Finding(own.queue_setting, what, "leave out share_identifier and scheduling_priority")


def _definition_findings(
    own: JobSettings, definition: Mapping[str, Any] | None, core_version: str
) -> Iterator[Finding]:
    where, name = own.definition_setting, own.job_definition
    if definition is None:
        yield Finding(where, f"there is no active job definition {name!r} in this account and region", _OTHER_REGION)
        return
    if definition.get("status", "ACTIVE") != "ACTIVE":
        yield Finding(where, f"the job definition {name} is {definition['status']}", "name an active revision")
    if definition.get("type") != "container":
        yield Finding(where, f"the job definition {name} is of type {definition.get('type')}, not container")
        return
    properties = definition.get("containerProperties", {})
    shared_mib = properties.get("linuxParameters", {}).get("sharedMemorySize", 64)
    if own.shared_memory_mib and shared_mib < own.shared_memory_mib:
        what = (
            f"{own.shared_memory_mib} MiB of shared memory are wanted, and the job definition {name} has {shared_mib}"
        )
        fix = "a job cannot ask for more: raise sharedMemorySize in the definition (a parameter of the template)"
        yield Finding(where, what, fix)
    image_version = definition.get("tags", {}).get(VERSION_TAG)
    if image_version and image_version != core_version:
        what = f"the image of {name} holds rv-core {image_version}, here is {core_version}"
        yield Finding(where, what, "build the image anew, or install the same version here")
