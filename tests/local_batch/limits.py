"""The documented limits of AWS Batch, which botocore's model does not hold; pure.

Sources: the service quotas page of the user guide (array size, dependencies, payloads, rate of SubmitJob), the texts
of botocore's model (everything else) and the user guide's pages on retries, environment variables and timeouts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

MIN_ARRAY_SIZE, MAX_ARRAY_SIZE = 2, 10_000
MAX_DEPENDENCIES = 20
MAX_SUBMIT_BYTES = 30 * 1024
MAX_DEFINITION_BYTES = 24 * 1024
MAX_DESCRIBED_JOBS = 100
MAX_PAGE, MAX_FILTERED_PAGE = 1000, 100
MAX_ATTEMPTS = 10
MAX_RULES = 5
MAX_PATTERN_LENGTH = 512
MIN_TIMEOUT_S = 60
MAX_TAGS, MAX_TAG_KEY_LENGTH, MAX_TAG_VALUE_LENGTH = 50, 128, 256
MAX_REASON_LENGTH = 1024
MAX_PRIORITY = 9999
#: "50 transactions per second for each account", not adjustable.
SUBMITS_PER_S = 50
#: "Batch sends a SIGTERM … if it hasn't stopped after 30 seconds, a SIGKILL."
GRACE_S = 30
RESERVED_PREFIX = "AWS_BATCH"
FILTER_NAMES = ("JOB_NAME", "JOB_DEFINITION", "BEFORE_CREATED_AT", "AFTER_CREATED_AT", "SHARE_IDENTIFIER")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}\*?")
_TEXT_PATTERN = re.compile(r"[A-Za-z0-9.:\s]*\*?")
_CODE_PATTERN = re.compile(r"[0-9]*\*?")
_PATTERNS = {"onReason": _TEXT_PATTERN, "onStatusReason": _TEXT_PATTERN, "onExitCode": _CODE_PATTERN}
_SMALLEST = {"VCPU": 1, "MEMORY": 4, "GPU": 1}
_NOT_COVERED = (
    "nodeOverrides",
    "eksPropertiesOverride",
    "ecsPropertiesOverride",
    "consumableResourcePropertiesOverride",
)

Problems = Iterator[str]


def submit_problems(params: Mapping[str, Any], num_bytes: int) -> list[str]:
    """What is wrong with a SubmitJob request that fits the model."""
    return [
        *_size_problems(num_bytes, MAX_SUBMIT_BYTES),
        *_name_problems("jobName", params["jobName"]),
        *_array_problems(params),
        *_dependency_problems(params),
        *_container_problems(params.get("containerOverrides", {})),
        *_retry_problems(params.get("retryStrategy", {})),
        *_timeout_problems(params.get("timeout", {})),
        *_tag_problems(params.get("tags", {})),
        *_share_problems(params),
        *(f"{name}: not covered by the local Batch" for name in _NOT_COVERED if name in params),
    ]


def definition_problems(params: Mapping[str, Any], num_bytes: int) -> list[str]:
    """What is wrong with a RegisterJobDefinition request that fits the model."""
    return [
        *_size_problems(num_bytes, MAX_DEFINITION_BYTES),
        *_name_problems("jobDefinitionName", params["jobDefinitionName"]),
        *_container_problems(params.get("containerProperties", {})),
        *_retry_problems(params.get("retryStrategy", {})),
        *_timeout_problems(params.get("timeout", {})),
        *_tag_problems(params.get("tags", {})),
    ]


def queue_problems(params: Mapping[str, Any], queue: Mapping[str, Any]) -> list[str]:
    """What is wrong with a SubmitJob request for this queue."""
    name, shares = queue["jobQueueName"], bool(queue.get("schedulingPolicyArn"))
    problems = [] if queue["state"] == "ENABLED" else [f"the job queue {name} is disabled"]
    if shares and "shareIdentifier" not in params:
        problems.append(f"shareIdentifier is required: the job queue {name} has a fair-share policy")
    if not shares and "shareIdentifier" in params:
        problems.append(f"shareIdentifier is not allowed: the job queue {name} has no fair-share policy")
    return problems


def describe_problems(params: Mapping[str, Any], _num_bytes: int) -> list[str]:
    """What is wrong with a DescribeJobs request."""
    num_jobs = len(params["jobs"])
    return [] if 1 <= num_jobs <= MAX_DESCRIBED_JOBS else [f"jobs: {num_jobs} ids; 1 to {MAX_DESCRIBED_JOBS} go"]


def list_problems(params: Mapping[str, Any], _num_bytes: int) -> list[str]:
    """What is wrong with a ListJobs request."""
    of = [name for name in ("jobQueue", "arrayJobId", "multiNodeJobId") if name in params]
    filters = params.get("filters", [])
    problems = [] if len(of) == 1 else ["exactly one of jobQueue, arrayJobId and multiNodeJobId must be given"]
    if params.get("maxResults", 1) < 1:
        problems.append("maxResults: at least 1")
    if len(filters) > 1:
        problems.append("filters: only one filter can be used at a time")
    if filters and "jobQueue" not in params:
        problems.append("filters do not reach the children of an array")
    problems.extend(f"filters: {f.get('name')!r} is no filter" for f in filters if f.get("name") not in FILTER_NAMES)
    return problems


def stop_problems(params: Mapping[str, Any], _num_bytes: int) -> list[str]:
    """What is wrong with a CancelJob or TerminateJob request."""
    length = len(params["reason"])
    return [] if 1 <= length <= MAX_REASON_LENGTH else [f"reason: {length} characters; 1 to {MAX_REASON_LENGTH} go"]


#: What each operation is checked for.
CHECKS: dict[str, Callable[[Mapping[str, Any], int], list[str]]] = {
    "SubmitJob": submit_problems,
    "RegisterJobDefinition": definition_problems,
    "DescribeJobs": describe_problems,
    "ListJobs": list_problems,
    "CancelJob": stop_problems,
    "TerminateJob": stop_problems,
}


def _size_problems(num_bytes: int, limit: int) -> Problems:
    if num_bytes > limit:
        yield f"the request has {num_bytes} bytes; {limit} at most"


def _name_problems(member: str, name: str) -> Problems:
    if not _NAME.fullmatch(name):
        yield f"{member}: {name!r} must be up to 128 letters, digits, - and _, the first a letter or digit"


def _array_problems(params: Mapping[str, Any]) -> Problems:
    size = params.get("arrayProperties", {}).get("size")
    if size is not None and not MIN_ARRAY_SIZE <= size <= MAX_ARRAY_SIZE:
        yield f"arrayProperties.size: {size} is not from {MIN_ARRAY_SIZE} to {MAX_ARRAY_SIZE}"


def _dependency_problems(params: Mapping[str, Any]) -> Problems:
    dependencies = params.get("dependsOn", [])
    is_array = params.get("arrayProperties", {}).get("size") is not None
    if len(dependencies) > MAX_DEPENDENCIES:
        yield f"dependsOn: {len(dependencies)} jobs; {MAX_DEPENDENCIES} at most"
    for dependency in dependencies:
        kind = dependency.get("type")
        if kind and not is_array:
            yield f"dependsOn: {kind} is for array jobs"
        if kind == "SEQUENTIAL" and "jobId" in dependency:
            yield "dependsOn: SEQUENTIAL is about the job's own children and takes no jobId"
        if kind != "SEQUENTIAL" and not dependency.get("jobId"):
            yield "dependsOn: jobId is missing"


def _container_problems(container: Mapping[str, Any]) -> Problems:
    if "" in container.get("command", []):
        yield "command: no word may be empty"
    for variable in container.get("environment", []):
        name = variable.get("name", "")
        if not name or name.startswith(RESERVED_PREFIX):
            yield f"environment: {name!r} is no name that may be set"
    yield from _resource_problems(container.get("resourceRequirements", []))


def _resource_problems(requirements: Sequence[Mapping[str, str]]) -> Problems:
    kinds = [requirement["type"] for requirement in requirements]
    if len(set(kinds)) < len(kinds):
        yield "resourceRequirements: each type once"
    for requirement in requirements:
        kind, value = requirement["type"], requirement["value"]
        if not value.isdecimal() or int(value) < _SMALLEST[kind]:
            yield f"resourceRequirements: {kind} is {value!r}; a whole number from {_SMALLEST[kind]}"


def _retry_problems(strategy: Mapping[str, Any]) -> Problems:
    rules, attempts = strategy.get("evaluateOnExit", []), strategy.get("attempts")
    if attempts is not None and not 1 <= attempts <= MAX_ATTEMPTS:
        yield f"retryStrategy.attempts: {attempts} is not from 1 to {MAX_ATTEMPTS}"
    if rules and attempts is None:
        yield "retryStrategy: evaluateOnExit needs attempts"
    if len(rules) > MAX_RULES:
        yield f"retryStrategy: {len(rules)} rules; {MAX_RULES} at most"
    for rule in rules:
        yield from _rule_problems(rule)


def _rule_problems(rule: Mapping[str, str]) -> Problems:
    patterns = {name: rule[name] for name in _PATTERNS if name in rule}
    if not patterns:
        yield "retryStrategy: a rule needs onStatusReason, onReason or onExitCode"
    for name, pattern in patterns.items():
        if len(pattern) > MAX_PATTERN_LENGTH or not _PATTERNS[name].fullmatch(pattern):
            yield f"retryStrategy: {name} cannot be {pattern!r}"


def _timeout_problems(timeout: Mapping[str, int]) -> Problems:
    duration_s = timeout.get("attemptDurationSeconds")
    if timeout and (duration_s is None or duration_s < MIN_TIMEOUT_S):
        yield f"timeout.attemptDurationSeconds: at least {MIN_TIMEOUT_S}"


def _tag_problems(tags: Mapping[str, str]) -> Problems:
    if len(tags) > MAX_TAGS:
        yield f"tags: {len(tags)}; {MAX_TAGS} at most"
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY_LENGTH or key.lower().startswith("aws:"):
            yield f"tags: {key!r} cannot be a key"
        if len(value) > MAX_TAG_VALUE_LENGTH:
            yield f"tags: the value of {key!r} is longer than {MAX_TAG_VALUE_LENGTH} characters"


def _share_problems(params: Mapping[str, Any]) -> Problems:
    if "shareIdentifier" in params and not _SHARE.fullmatch(params["shareIdentifier"]):
        yield "shareIdentifier: up to 255 letters and digits"
    if not 0 <= params.get("schedulingPriorityOverride", 0) <= MAX_PRIORITY:
        yield f"schedulingPriorityOverride: 0 to {MAX_PRIORITY}"


def joined(problems: Iterable[str]) -> str:
    """Problems as one message."""
    return "; ".join(problems)
