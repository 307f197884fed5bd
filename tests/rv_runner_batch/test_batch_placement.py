"""Whether a request can ever be placed, from what AWS says of queues, compute environments and instance types."""

from __future__ import annotations

from typing import Any

import pytest

from rv_runner_batch.placement import (
    Shape,
    Wants,
    environment_names,
    environment_problem,
    environments_of,
    misfit,
    never_placed,
    queue_problem,
    shape_of,
    type_patterns,
    wants_of,
)

SHAPES = [
    Shape("c5.large", 2, 4096, 0),
    Shape("c5.xlarge", 4, 8192, 0),
    Shape("g5.xlarge", 4, 16_384, 1),
    Shape("g5.12xlarge", 48, 196_608, 4),
]


def environment(*types: str, max_vcpus: int = 64, name: str = "ce", **more: Any) -> dict[str, Any]:
    resources = {"type": "SPOT", "maxvCpus": max_vcpus, "instanceTypes": list(types)}
    return {"computeEnvironmentName": name, "computeResources": {**resources, **more.pop("resources", {})}, **more}


@pytest.mark.parametrize(
    ("wants", "types", "max_vcpus", "said"),
    [
        (Wants(4, 4096), ("c5",), 64, ""),
        (Wants(4, 4096), ("c5.xlarge",), 64, ""),
        (Wants(8, 0), ("c5",), 64, "none of the instance types of ce (c5) is large enough"),
        (Wants(1, 8192), ("c5",), 64, "c5.xlarge has 4 vCPUs, 8192 MiB"),
        (Wants(1, 0, 1), ("c5",), 64, "is large enough"),
        (Wants(1, 0, 4), ("g5",), 64, ""),
        (Wants(1, 0, 1), ("optimal",), 64, "none of the instance types of ce (optimal)"),
        (Wants(200, 0), ("optimal",), 64, "ce has at most 64 vCPUs"),
        (Wants(1, 900_000), ("optimal",), 64, ""),
        (Wants(1, 900_000), ("default_x86_64",), 64, ""),
    ],
)
def test_requests_are_compared_with_every_instance_type(
    wants: Wants, types: tuple[str, ...], max_vcpus: int, said: str
) -> None:
    found = misfit(wants, environment(*types, max_vcpus=max_vcpus), SHAPES)
    assert said in found
    assert bool(found) is bool(said)


def test_without_knowing_the_types_only_the_size_of_the_environment_counts() -> None:
    assert misfit(Wants(8, 900_000, 8), environment("c5"), None) == ""
    assert "at most 64 vCPUs" in misfit(Wants(65), environment("c5"), None)


def test_fargate_has_no_gpus() -> None:
    fargate = environment(resources={"type": "FARGATE"})
    assert "FARGATE, which has no GPUs" in misfit(Wants(1, 0, 1), fargate, SHAPES)
    assert misfit(Wants(4, 8192), fargate, SHAPES) == ""


def test_unmanaged_environments_are_their_owners_business() -> None:
    assert misfit(Wants(999, 0, 9), {"computeEnvironmentName": "mine"}, SHAPES) == ""


def test_one_environment_that_can_is_enough() -> None:
    small, large = environment("c5", name="small"), environment("g5", name="large")
    assert never_placed(Wants(1, 0, 1), [small, large], SHAPES) == ""
    assert "small" in never_placed(Wants(1, 0, 1), [small], SHAPES)
    assert never_placed(Wants(1, 0, 1), [], SHAPES) == ""


def test_what_a_job_leaves_open_is_the_definitions() -> None:
    container = {"resourceRequirements": [{"type": "VCPU", "value": "0.5"}, {"type": "MEMORY", "value": "512"}]}
    assert wants_of(container) == Wants(0.5, 512, 0)
    assert wants_of(container, Wants(2, 0, 1)) == Wants(2, 512, 1)
    assert wants_of({"vcpus": 3, "memory": 300}) == Wants(3, 300, 0)
    assert str(Wants(2, 512, 1)) == "2 vCPUs, 512 MiB, 1 GPU"
    assert str(Wants()) == "nothing"


def test_families_are_asked_for_whole() -> None:
    assert type_patterns([environment("g5", "c5.large"), environment("optimal")]) == ["c5.large", "g5.*"]


def test_shapes_are_read_from_the_answers_of_ec2() -> None:
    info = {
        "InstanceType": "g5.xlarge",
        "VCpuInfo": {"DefaultVCpus": 4},
        "MemoryInfo": {"SizeInMiB": 16_384},
        "GpuInfo": {"Gpus": [{"Count": 1}]},
    }
    assert shape_of(info) == Shape("g5.xlarge", 4, 16_384, 1)
    assert shape_of({**info, "GpuInfo": {}}).gpus == 0


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"state": "DISABLED"}, "is disabled"),
        ({"state": "ENABLED", "status": "INVALID", "statusReason": "no role"}, "is INVALID: no role"),
        ({"state": "ENABLED", "status": "VALID"}, ""),
    ],
)
def test_queues_and_environments_that_start_nothing_say_so(members: dict[str, Any], said: str) -> None:
    for problem in (
        queue_problem({"jobQueueName": "q", **members}),
        environment_problem({"computeEnvironmentName": "ce", **members}),
    ):
        assert said in problem
        assert bool(problem) is bool(said)


def test_environments_come_in_the_order_of_the_queue() -> None:
    order = [{"order": 2, "computeEnvironment": "b"}, {"order": 1, "computeEnvironment": "a"}]
    known = {name: environment(name=name) for name in "ab"}
    found = environments_of({"computeEnvironmentOrder": order}, known)
    assert [entry["computeEnvironmentName"] for entry in found] == ["a", "b"]


def test_a_queue_that_names_no_environments_is_no_error() -> None:
    ordered = {"computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "spot"}]}
    assert environment_names([{"jobQueueName": "other-kind"}, ordered]) == ["spot"]
