"""From a plan to SubmitJob requests: order, arrays, dependencies, what each asks for, and names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rv_core.plan.graph import Job, Plan, Resources, make_tasks
from rv_runner_batch.limits import is_job_name, request_findings
from rv_runner_batch.settings import BatchSettings, CommandSettings
from rv_runner_batch.submission import JobRequest, job_name, name_prefix, render, requests_of

RUN_ID = "20261123-121500-3fa9c1"
SETTINGS = BatchSettings(
    cpu_job_queue="cpu-q", gpu_job_queue="gpu-q", cpu_job_definition="cpu-d", gpu_job_definition="gpu-d:7"
)


def job(name: str, *requires: str, splits: int = 1, pipeline: str = "pipe1", **resources: Any) -> Job:
    job_id = f"{pipeline}.{name}"
    tasks = make_tasks(job_id, splits)
    return Job(job_id, pipeline, name, tasks, tuple(f"{pipeline}.{r}" for r in requires), Resources(**resources))


def requests(*jobs: Job, settings: BatchSettings = SETTINGS) -> list[JobRequest]:
    return requests_of(
        Plan(jobs),
        settings,
        run_id=RUN_ID,
        argv=lambda job: ["rv", "run-command", "s3://b/r/config.json", job.command],
        environ=lambda job: {"RV_RUN_ID": RUN_ID},
    )


def only(*jobs: Job, settings: BatchSettings = SETTINGS) -> dict[str, Any]:
    (request,) = requests(*jobs, settings=settings)
    return dict(request.params)


def asked_for(params: dict[str, Any]) -> dict[str, str]:
    return {r["type"]: r["value"] for r in params["containerOverrides"].get("resourceRequirements", [])}


def test_a_split_job_is_one_array_and_what_requires_it_depends_on_the_whole_array() -> None:
    chip, train = requests(job("chip", splits=5), job("train", "chip", gpus=1))
    assert chip.params["arrayProperties"] == {"size": 5}
    assert "arrayProperties" not in train.params, "an array of one does not exist"
    assert "dependsOn" not in chip.with_ids({})
    assert train.with_ids({"pipe1.chip": "id-1"})["dependsOn"] == [{"jobId": "id-1"}]


def test_jobs_that_want_a_gpu_go_to_the_gpu_queue_with_the_gpu_definition() -> None:
    chip, train = requests(job("chip"), job("train", gpus=2))
    assert (chip.params["jobQueue"], chip.params["jobDefinition"]) == ("cpu-q", "cpu-d")
    assert (train.params["jobQueue"], train.params["jobDefinition"]) == ("gpu-q", "gpu-d:7")
    assert asked_for(dict(train.params)) == {"GPU": "2"}


def test_pipelines_do_not_depend_on_each_other() -> None:
    found = requests(job("a", pipeline="p"), job("b", "a", pipeline="p"), job("a", pipeline="q"))
    assert [request.depends_on for request in found] == [(), ("p.a",), ()]


@pytest.mark.parametrize("attempts", [1, 3])
def test_retry_rules_come_in_the_order_in_which_they_count(attempts: int) -> None:
    strategy = only(job("chip", attempts=attempts))["retryStrategy"]
    assert strategy["attempts"] == (5 if attempts == 1 else attempts)
    assert strategy["evaluateOnExit"] == [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onExitCode": "75", "action": "RETRY"},
        {"onReason": "CannotPullContainerError*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ]


def test_what_a_command_declares_counts_before_the_general_settings() -> None:
    general = BatchSettings(cpus=1, memory_mib=1000, timeout_s=3600, attempts=3)
    declared = only(job("chip", cpus=2, memory_mib=2000, timeout_s=120, attempts=7), settings=general)
    assert asked_for(declared) == {"VCPU": "2", "MEMORY": "2000"}
    assert declared["timeout"] == {"attemptDurationSeconds": 120}
    assert declared["retryStrategy"]["attempts"] == 7
    silent = only(job("chip"), settings=general)
    assert asked_for(silent) == {"VCPU": "1", "MEMORY": "1000"}
    assert silent["timeout"] == {"attemptDurationSeconds": 3600}
    assert silent["retryStrategy"]["attempts"] == 3


def test_what_nobody_says_is_left_to_the_job_definition() -> None:
    params = only(job("chip"))
    assert "resourceRequirements" not in params["containerOverrides"]
    assert not {"timeout", "shareIdentifier", "schedulingPriorityOverride"} & set(params)


def test_a_table_of_the_command_counts_before_all_and_one_of_the_job_before_that() -> None:
    settings = BatchSettings(
        cpu_job_queue="cpu-q",
        environment={"A": "general", "B": "general"},
        tags={"team": "general"},
        commands={
            "train": CommandSettings(
                job_queue="big-q",
                job_definition="big-d",
                cpus=8,
                memory_mib=60_000,
                gpus=0,
                timeout_s=90,
                attempts=2,
                share_identifier="blue",
                scheduling_priority=7,
                environment={"B": "command", "C": "command"},
                tags={"team": "command"},
            ),
            "pipe1.train": CommandSettings(memory_mib=70_000, environment={"C": "job"}),
        },
    )
    params = only(job("train", gpus=1, cpus=2, attempts=9), settings=settings)
    assert (params["jobQueue"], params["jobDefinition"]) == ("big-q", "big-d")
    assert asked_for(params) == {"VCPU": "8", "MEMORY": "70000"}
    assert params["timeout"] == {"attemptDurationSeconds": 90}
    assert params["retryStrategy"]["attempts"] == 2
    assert (params["shareIdentifier"], params["schedulingPriorityOverride"]) == ("blue", 7)
    environment = {v["name"]: v["value"] for v in params["containerOverrides"]["environment"]}
    assert environment == {"RV_RUN_ID": RUN_ID, "A": "general", "B": "command", "C": "job"}
    assert params["tags"] == {"rv-run": RUN_ID, "rv-job": "pipe1.train", "team": "command"}


def test_a_timeout_below_that_of_the_service_is_left_to_the_task() -> None:
    assert only(job("chip", timeout_s=5))["timeout"] == {"attemptDurationSeconds": 60}


def test_the_old_members_for_memory_and_vcpus_are_never_used() -> None:
    overrides = only(job("chip", cpus=2, memory_mib=2000))["containerOverrides"]
    assert set(overrides) == {"command", "environment", "resourceRequirements"}


def test_a_request_is_small_however_large_the_job() -> None:
    params = only(job("chip", splits=10_000, cpus=2, memory_mib=2000, timeout_s=600))
    assert len(json.dumps(params)) < 1024
    assert list(request_findings("chip", params)) == []


@pytest.mark.parametrize("num_parents", [20, 21, 40, 399, 401])
def test_more_parents_than_a_job_can_have_are_joined_in_a_tree(num_parents: int) -> None:
    parents = [job(f"p{i}") for i in range(num_parents)]
    found = requests(*parents, job("last", *(f"p{i}" for i in range(num_parents))))
    by_key = {request.key: request for request in found}
    assert all(len(request.depends_on) <= 20 for request in found)
    assert (len(found) == num_parents + 1) == (num_parents <= 20)

    def leaves(key: str) -> set[str]:
        request = by_key[key]
        return {key} if request.job and request.key != "pipe1.last" else set().union(*map(leaves, request.depends_on))

    assert leaves("pipe1.last") == {f"pipe1.p{i}" for i in range(num_parents)}
    order = [request.key for request in found]
    assert all(order.index(parent) < order.index(r.key) for r in found for parent in r.depends_on)
    joins = [request for request in found if request.job is None]
    assert all(join.params["containerOverrides"] == {"command": ["true"]} for join in joins)
    assert all(join.params["jobQueue"] == "cpu-q" for join in joins)
    names = [request.params["jobName"] for request in found]
    assert len(set(names)) == len(names)
    assert all(map(is_job_name, names))


@given(st.text(min_size=1), st.text(min_size=1))
@example(":", ";")
def test_names_are_valid_deterministic_and_different_for_different_jobs(one: str, other: str) -> None:
    first, second = f"{one}.chip", f"{other}.chip"
    assert is_job_name(job_name(RUN_ID, first))
    assert job_name(RUN_ID, first) == job_name(RUN_ID, first)
    assert job_name(RUN_ID, first).startswith(name_prefix(RUN_ID))
    assert (job_name(RUN_ID, first) == job_name(RUN_ID, second)) == (first == second)


@given(st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True), st.from_regex(r"[a-z0-9.-]{1,30}", fullmatch=True))
def test_names_that_only_differ_in_a_dot_or_a_dash_stay_apart(one: str, other: str) -> None:
    assert (job_name(RUN_ID, one) == job_name(RUN_ID, other)) == (one == other)


def test_long_names_are_cut_and_still_differ() -> None:
    one, other = (job_name(RUN_ID, f"{'x' * 200}.{end}") for end in ("chip", "train"))
    assert len(one) == len(other) == 128
    assert one != other


def test_names_people_read_are_not_touched() -> None:
    assert job_name(RUN_ID, "pipe1.cpu_task") == f"rv-{RUN_ID}-pipe1-cpu_task"


def test_a_dry_run_shows_the_requests_with_the_names_of_those_they_wait_for() -> None:
    shown = json.loads(render(requests(job("chip", splits=2), job("train", "chip"))))
    assert [entry["jobName"] for entry in shown] == [f"rv-{RUN_ID}-pipe1-{name}" for name in ("chip", "train")]
    assert shown[1]["dependsOn"] == [{"jobId": f"<id of rv-{RUN_ID}-pipe1-chip>"}]
