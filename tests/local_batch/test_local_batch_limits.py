"""The documented limits and the rules of retries: plain values, no server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.local_batch import limits
from tests.local_batch.retry_rules import Outcome, action_for, is_retried

pytestmark = pytest.mark.s3  # they run where the local Batch does

GOOD: dict[str, Any] = {"jobName": "a", "jobQueue": "q", "jobDefinition": "d"}
RECLAIMED = Outcome(None, "", "Host EC2 (instance i-0abc) terminated.")
APPLICATION_ERROR = Outcome(1, "", "Essential container in task exited")
RULES = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onExitCode": "75", "action": "retry"},
    {"onReason": "CannotPullContainerError*", "action": "RETRY"},
    {"onReason": "*", "action": "exit"},
]


def retry(**rule: str) -> dict[str, Any]:
    return {"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "RETRY", **rule}]}}


def environment(name: str) -> dict[str, Any]:
    return {"containerOverrides": {"environment": [{"name": name, "value": "x"}]}}


def resource(kind: str, value: str) -> dict[str, Any]:
    return {"containerOverrides": {"resourceRequirements": [{"type": kind, "value": value}]}}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"jobName": "A-z_9" * 25 + "abc"},
        {"arrayProperties": {"size": 2}},
        {"arrayProperties": {"size": 10_000}, "dependsOn": [{"type": "SEQUENTIAL"}, {"jobId": "x", "type": "N_TO_N"}]},
        {"dependsOn": [{"jobId": str(i)} for i in range(20)]},
        {"retryStrategy": {"attempts": 10}},
        retry(onStatusReason="Host EC2*"),
        retry(onReason="Task failed to start: a.b:c\t*"),
        retry(onExitCode="13*"),
        {"timeout": {"attemptDurationSeconds": 60}},
        {"tags": {f"key{i}": "v" for i in range(50)}},
        environment("AWS_REGION"),
        resource("GPU", "1"),
        {"schedulingPriorityOverride": 9999},
    ],
)
def test_what_the_service_takes_passes(params: dict[str, Any]) -> None:
    assert limits.submit_problems({**GOOD, **params}, 30 * 1024) == []


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"jobName": "a" * 129}, "jobName"),
        ({"jobName": "-a"}, "jobName"),
        ({"jobName": "a.b"}, "jobName"),
        ({"jobName": ""}, "jobName"),
        ({"arrayProperties": {"size": 1}}, "2 to 10000"),
        ({"arrayProperties": {"size": 10_001}}, "2 to 10000"),
        ({"dependsOn": [{"jobId": str(i)} for i in range(21)]}, "20 at most"),
        ({"dependsOn": [{"type": "SEQUENTIAL"}]}, "SEQUENTIAL is for array jobs"),
        ({"dependsOn": [{"jobId": "x", "type": "N_TO_N"}]}, "N_TO_N is for array jobs"),
        ({"arrayProperties": {"size": 2}, "dependsOn": [{"jobId": "x", "type": "SEQUENTIAL"}]}, "takes no jobId"),
        ({"dependsOn": [{}]}, "jobId is missing"),
        ({"containerOverrides": {"command": ["rv", ""]}}, "command"),
        (environment("AWS_BATCH_JOB_ID"), "AWS_BATCH_JOB_ID"),
        (environment("AWS_BATCHES"), "AWS_BATCHES"),
        (environment(""), "environment"),
        (resource("VCPU", "0.5"), "VCPU"),
        (resource("MEMORY", "3"), "MEMORY"),
        (resource("GPU", "0"), "GPU"),
        ({"containerOverrides": {"resourceRequirements": [{"type": "VCPU", "value": "1"}] * 2}}, "each type once"),
        ({"retryStrategy": {"attempts": 0}}, "1 to 10"),
        ({"retryStrategy": {"attempts": 11}}, "1 to 10"),
        ({"retryStrategy": {"evaluateOnExit": [{"onExitCode": "1", "action": "EXIT"}]}}, "needs attempts"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": RULES[:1] * 6}}, "5 at most"),
        (retry(), "needs onStatusReason"),
        (retry(onStatusReason="Host EC2 (instance*"), "onStatusReason"),
        (retry(onReason="*Error"), "onReason"),
        (retry(onReason="a" * 513), "onReason"),
        (retry(onExitCode="1a"), "onExitCode"),
        ({"timeout": {"attemptDurationSeconds": 59}}, "at least 60"),
        ({"timeout": {}}, ""),
        ({"tags": {f"key{i}": "v" for i in range(51)}}, "50 at most"),
        ({"tags": {"aws:x": "v"}}, "cannot be a key"),
        ({"tags": {"k": "v" * 257}}, "longer than 256"),
        ({"shareIdentifier": "a-b"}, "shareIdentifier"),
        ({"schedulingPriorityOverride": 10_000}, "0 to 9999"),
        ({"nodeOverrides": {}}, "not covered"),
    ],
)
def test_what_the_service_refuses_is_named(params: dict[str, Any], complaint: str) -> None:
    problems = limits.submit_problems({**GOOD, **params}, 100)
    assert [complaint in problem for problem in problems] == ([True] if complaint else [])


def test_a_request_of_more_than_30_kib_is_refused() -> None:
    assert "30720 at most" in limits.joined(limits.submit_problems(GOOD, 30 * 1024 + 1))


def test_every_problem_is_named_at_once() -> None:
    params = {**GOOD, "jobName": "-", "arrayProperties": {"size": 1}, "timeout": {"attemptDurationSeconds": 1}}
    assert len(limits.submit_problems(params, 100)) == 3


def test_definitions_have_the_limits_of_jobs_and_one_of_their_own() -> None:
    params = {
        "jobDefinitionName": "a b",
        "containerProperties": environment("AWS_BATCH_X")["containerOverrides"],
        "retryStrategy": {"attempts": 11},
        "timeout": {"attemptDurationSeconds": 1},
    }
    assert len(limits.definition_problems(params, 24 * 1024 + 1)) == 5


@pytest.mark.parametrize("num_ids", [0, 101])
def test_1_to_100_jobs_are_described(num_ids: int) -> None:
    assert limits.describe_problems({"jobs": ["x"] * num_ids}, 0)
    assert not limits.describe_problems({"jobs": ["x"] * 100}, 0)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"jobQueue": "q", "arrayJobId": "a"},
        {"jobQueue": "q", "maxResults": 0},
        {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["a"]}] * 2},
        {"jobQueue": "q", "filters": [{"name": "job_name", "values": ["a"]}]},
        {"arrayJobId": "a", "filters": [{"name": "JOB_NAME", "values": ["a"]}]},
    ],
)
def test_a_list_is_of_exactly_one_thing_with_at_most_one_filter(params: dict[str, Any]) -> None:
    assert len(limits.list_problems(params, 0)) == 1


@pytest.mark.parametrize(
    ("outcome", "action"),
    [
        (RECLAIMED, "RETRY"),
        (Outcome(75, "", "Essential container in task exited"), "RETRY"),
        (Outcome(None, "CannotPullContainerError: no such image", "Task failed to start"), "RETRY"),
        (APPLICATION_ERROR, "EXIT"),
        (Outcome(137, "OutOfMemoryError: Container killed", ""), "EXIT"),
    ],
)
def test_the_first_rule_that_fits_decides(outcome: Outcome, action: str) -> None:
    assert action_for(outcome, RULES) == action


def test_where_no_rule_fits_a_job_is_retried() -> None:
    assert action_for(APPLICATION_ERROR, RULES[:3]) == "RETRY"
    assert action_for(APPLICATION_ERROR, []) == "RETRY"


def test_all_conditions_of_a_rule_must_hold() -> None:
    rule = [{"onExitCode": "1", "onStatusReason": "Host*", "action": "EXIT"}]
    assert action_for(APPLICATION_ERROR, rule) == "RETRY"
    assert action_for(Outcome(1, "", "Host EC2"), rule) == "EXIT"


def test_an_exit_code_that_nobody_told_fits_no_pattern() -> None:
    assert action_for(RECLAIMED, [{"onExitCode": "*", "action": "EXIT"}]) == "RETRY"
    assert action_for(APPLICATION_ERROR, [{"onExitCode": "1*", "action": "EXIT"}]) == "EXIT"
    assert action_for(APPLICATION_ERROR, [{"onExitCode": "11", "action": "EXIT"}]) == "RETRY"


def test_attempts_are_used_up_whatever_the_rules_say() -> None:
    strategy = {"attempts": 3, "evaluateOnExit": RULES}
    assert is_retried(RECLAIMED, strategy, 2)
    assert not is_retried(RECLAIMED, strategy, 3)
    assert not is_retried(RECLAIMED, {"attempts": 1}, 1)
