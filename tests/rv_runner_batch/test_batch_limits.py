"""What AWS Batch would refuse or ignore is said before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from rv_runner_batch import limits
from rv_runner_batch.limits import array_problem, request_findings

GOOD: dict[str, Any] = {
    "jobName": "rv-1",
    "jobQueue": "q",
    "jobDefinition": "d",
    "containerOverrides": {"command": ["rv"], "environment": [{"name": "A", "value": "1"}]},
    "retryStrategy": {"attempts": 10, "evaluateOnExit": [{"onReason": "*", "action": "EXIT"}]},
    "timeout": {"attemptDurationSeconds": 60},
    "arrayProperties": {"size": 10_000},
    "tags": {"a": "b"},
    "shareIdentifier": "blue1",
}


def problems(**changes: Any) -> list[str]:
    return [finding.what for finding in request_findings("job", {**GOOD, **changes})]


def test_a_request_within_all_limits_has_no_findings() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jobName": "-x"}, "'-x' is no job name"),
        ({"jobName": "x" * 129}, "is no job name"),
        ({"jobName": "a.b"}, "'a.b' is no job name"),
        ({"arrayProperties": {"size": 1}}, "2 to 10000 children, not 1"),
        ({"arrayProperties": {"size": 10_001}}, "2 to 10000 children, not 10001"),
        ({"dependsOn": [{"jobId": str(i)} for i in range(21)]}, "at most 20 others, not 21"),
        ({"containerOverrides": {"command": ["rv", ""]}}, "a word of the command is empty"),
        (
            {"containerOverrides": {"command": ["rv"], "environment": [{"name": "AWS_BATCH_X", "value": ""}]}},
            "AWS_BATCH_X begins with AWS_BATCH",
        ),
        ({"retryStrategy": {"attempts": 11}}, "1 to 10 attempts, not 11"),
        ({"retryStrategy": {"evaluateOnExit": [{"action": "EXIT"}] * 6}}, "at most 5 retry rules, not 6"),
        (
            {"retryStrategy": {"evaluateOnExit": [{"onReason": "Host (x)", "action": "EXIT"}]}},
            "'Host (x)' is no pattern",
        ),
        ({"timeout": {"attemptDurationSeconds": 59}}, "shortest timeout is 60 s, not 59 s"),
        ({"tags": {str(i): "" for i in range(51)}}, "at most 50 tags, not 51"),
        ({"tags": {"aws:x": ""}}, "'aws:x' is no key of a tag"),
        ({"tags": {"x": "y" * 257}}, "the tag 'x' is longer than 256"),
        ({"shareIdentifier": "not-alphanumeric"}, "share identifier 'not-alphanumeric'"),
        ({"containerOverrides": {"command": ["x" * 40_000]}}, "AWS Batch takes 30720"),
    ],
)
def test_each_limit_is_named(changes: dict[str, Any], said: str) -> None:
    (found,) = problems(**changes)
    assert said in found


def test_an_array_may_have_ten_thousand_children_and_no_more() -> None:
    assert [array_problem(count) for count in (1, 2, limits.MAX_ARRAY_SIZE)] == ["", "", ""]
    assert array_problem(10_001) == "has 10001 splits; AWS Batch takes at most 10000 in one array job"


@pytest.mark.parametrize(("text", "is_one"), [("Host EC2*", True), ("a*b", False), ("75", True), ("x" * 513, False)])
def test_patterns_of_rules_are_letters_digits_and_a_star_at_the_end(text: str, is_one: bool) -> None:
    assert limits.is_rule_pattern(text) is is_one
