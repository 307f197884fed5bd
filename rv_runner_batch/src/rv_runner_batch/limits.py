"""The limits of AWS Batch and what breaks them. Pure.

Sources. Q: docs.aws.amazon.com/batch/latest/userguide/service_limits.html. M: the texts in botocore's model of the
service (`data/batch/2016-08-10/service-2.json.gz`; it carries none of them as constraints, so boto3 lets everything
through). U: other pages of the user guide (job_retries, job_env_vars, array_jobs, job_timeouts).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rv_core import Finding

MIN_ARRAY_SIZE = 2  # Q M
MAX_ARRAY_SIZE = 10_000  # Q M
MAX_DEPENDENCIES = 20  # Q M
MAX_NAME_LENGTH = 128  # M
MAX_PAYLOAD_BYTES = 30 * 1024  # Q
MAX_DESCRIBED_JOBS = 100  # M
MAX_LISTED_JOBS = 1_000  # M; 100 with filters
MAX_ATTEMPTS = 10  # U M
MAX_RETRY_RULES = 5  # M
MIN_TIMEOUT_S = 60  # M
MAX_TAGS = 50  # M
MAX_TAG_KEY, MAX_TAG_VALUE = 128, 256  # M
MAX_PRIORITY = 9_999  # M
#: How long finished jobs can be described at least (U, "job states").
JOB_RETENTION_S = 7 * 86_400

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SHARE = re.compile(r"[A-Za-z0-9]{1,255}")
_PATTERN = re.compile(r"[A-Za-z0-9.:\s]{0,511}\*?|[A-Za-z0-9.:\s]{512}")


def is_job_name(name: str) -> bool:
    """Whether Batch takes this as the name of a job."""
    return _NAME.fullmatch(name) is not None


def is_rule_pattern(text: str) -> bool:
    """Whether Batch takes this as a pattern of a retry rule."""
    return _PATTERN.fullmatch(text) is not None


def array_problem(num_tasks: int) -> str:
    """Why so many tasks cannot be one array job; "" if they can (one task is a plain job)."""
    if num_tasks <= MAX_ARRAY_SIZE:
        return ""
    return f"has {num_tasks} splits; AWS Batch takes at most {MAX_ARRAY_SIZE} in one array job"


def request_findings(where: str, request: Mapping[str, Any]) -> Iterator[Finding]:
    """What AWS Batch would refuse, or silently ignore, in a `SubmitJob` request.

    Args:
        where: the job, for messages.
        request: the parameters.
    """
    for problem in _problems(request):
        yield Finding(where, problem)


def _problems(request: Mapping[str, Any]) -> Iterator[str]:
    if not is_job_name(request["jobName"]):
        yield f"{request['jobName']!r} is no job name: up to {MAX_NAME_LENGTH} letters, digits, - and _"
    size = request.get("arrayProperties", {}).get("size", MIN_ARRAY_SIZE)
    if not MIN_ARRAY_SIZE <= size <= MAX_ARRAY_SIZE:
        yield f"an array job has {MIN_ARRAY_SIZE} to {MAX_ARRAY_SIZE} children, not {size}"
    if len(request.get("dependsOn", ())) > MAX_DEPENDENCIES:
        yield f"a job depends on at most {MAX_DEPENDENCIES} others, not {len(request['dependsOn'])}"
    yield from _override_problems(request.get("containerOverrides", {}))
    yield from _retry_problems(request.get("retryStrategy", {}))
    timeout_s = request.get("timeout", {}).get("attemptDurationSeconds", MIN_TIMEOUT_S)
    if timeout_s < MIN_TIMEOUT_S:
        yield f"the shortest timeout is {MIN_TIMEOUT_S} s, not {timeout_s} s"
    yield from _tag_problems(request.get("tags", {}))
    share = request.get("shareIdentifier")
    if share is not None and not _SHARE.fullmatch(share):
        yield f"share identifier {share!r} is not 1 to 255 letters and digits"
    num_bytes = len(json.dumps(request).encode())
    if num_bytes > MAX_PAYLOAD_BYTES:
        yield f"the request has {num_bytes} bytes; AWS Batch takes {MAX_PAYLOAD_BYTES}"


def _override_problems(overrides: Mapping[str, Any]) -> Iterator[str]:
    if not all(overrides.get("command", ("-",))):
        yield "a word of the command is empty"
    for variable in overrides.get("environment", ()):
        if variable["name"].startswith("AWS_BATCH"):
            yield f"the variable {variable['name']} begins with AWS_BATCH, which is AWS Batch's own"


def _retry_problems(strategy: Mapping[str, Any]) -> Iterator[str]:
    attempts = strategy.get("attempts", 1)
    if not 1 <= attempts <= MAX_ATTEMPTS:
        yield f"a job has 1 to {MAX_ATTEMPTS} attempts, not {attempts}"
    rules = strategy.get("evaluateOnExit", ())
    if len(rules) > MAX_RETRY_RULES:
        yield f"there are at most {MAX_RETRY_RULES} retry rules, not {len(rules)}"
    patterns = [text for rule in rules for name, text in rule.items() if name != "action"]
    yield from (f"{text!r} is no pattern of a retry rule" for text in patterns if not is_rule_pattern(text))


def _tag_problems(tags: Mapping[str, str]) -> Iterator[str]:
    if len(tags) > MAX_TAGS:
        yield f"a job has at most {MAX_TAGS} tags, not {len(tags)}"
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_TAG_KEY or key.lower().startswith("aws:"):
            yield f"{key!r} is no key of a tag: 1 to {MAX_TAG_KEY} characters, not beginning with aws:"
        if len(value) > MAX_TAG_VALUE:
            yield f"the tag {key!r} is longer than {MAX_TAG_VALUE} characters"
