"""The local Batch as a whole: what it starts with, what stopping it leaves, its fixtures, CloudFormation."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_batch.batch_testing import error_of, on_term, processes_of, shell, wait_for_file

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

pytest_plugins = ("tests.local_batch.fixtures",)
pytestmark = pytest.mark.s3


def submit(batch: LocalBatch, name: str, script: str = "true", **params: Any) -> str:
    job_id: str = batch.client("batch").submit_job(
        jobName=name,
        **{"jobQueue": "rv-cpu", "jobDefinition": "rv-cpu", "containerOverrides": {"command": shell(script)}, **params},
    )["jobId"]
    return job_id


def test_stopping_leaves_no_process(start_local_batch: Callable[..., LocalBatch], tmp_path: Path) -> None:
    batch = start_local_batch()
    setup = batch.make_setup()
    escape = f"setsid sh -c 'touch {tmp_path}/escaped; sleep 60' >/dev/null 2>&1 &"
    submit(batch, "stubborn", f"{escape} {on_term(tmp_path / 'ready', 'echo no')}", arrayProperties={"size": 20})
    wait_for_file(tmp_path / "ready")
    wait_for_file(tmp_path / "escaped")
    disks = batch.folder / "disks"
    assert len(processes_of(disks)) >= 3
    batch.stop()
    batch.stop()
    assert processes_of(disks) == []
    assert setup.root_uri == "s3://rv-test/root"


def test_the_fixtures_lead_boto3_and_the_core_to_a_fresh_account(
    local_batch: LocalBatch, batch_setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    assert {name: os.environ[name] for name in local_batch.environ} == local_batch.environ
    client = boto3.client("batch")
    queues = client.describe_job_queues()["jobQueues"]
    client.close()
    assert sorted(queue["jobQueueName"] for queue in queues) == ["rv-cpu", "rv-gpu"]
    assert local_batch.jobs() == []


def test_only_one_runs_in_a_process(local_batch: LocalBatch, tmp_path: Path) -> None:
    from tests.local_batch.server import LocalBatch

    with pytest.raises(RuntimeError, match="one account per process"):
        LocalBatch(tmp_path)


def test_submissions_above_the_rate_are_throttled(start_local_batch: Callable[..., LocalBatch]) -> None:
    batch = start_local_batch(submits_per_s=1)
    batch.make_setup()
    submit(batch, "first")
    assert error_of(submit, batch, "second")[0] == "TooManyRequestsException"


def test_an_error_of_its_own_is_not_mistaken_for_an_answer(
    start_local_batch: Callable[..., LocalBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.local_batch import verbs

    batch = start_local_batch()
    batch.make_setup()
    job_id = submit(batch, "one")
    monkeypatch.setattr(verbs, "detail_of", lambda job: {"jobId": job.id})
    code, message = error_of(batch.client("batch").describe_jobs, jobs=[job_id])
    assert code == "ServerException"
    assert "model does not allow" in message
    assert not batch.wait_for(lambda: True)
    with pytest.raises(AssertionError, match="model does not allow"):
        batch.stop()


def test_queues_and_definitions_of_a_stack_are_used_alike(local_batch: LocalBatch, batch_setup: Setup) -> None:
    described = local_batch.client("batch").describe_compute_environments(computeEnvironments=["rv-cpu-spot"])
    [environment] = described["computeEnvironments"]
    properties = {
        "Image": "rv:cpu",
        "Command": ["true"],
        "ResourceRequirements": [{"Type": "VCPU", "Value": {"Ref": "Vcpus"}}, {"Type": "MEMORY", "Value": "64"}],
        "LinuxParameters": {"SharedMemorySize": {"Ref": "Shared"}, "InitProcessEnabled": "true"},
        "Environment": [{"Name": "FROM", "Value": "stack"}],
    }
    template = {
        "Parameters": {"Vcpus": {"Type": "Number", "Default": 1}, "Shared": {"Type": "Number", "Default": 64}},
        "Resources": {
            "Queue": {
                "Type": "AWS::Batch::JobQueue",
                "Properties": {
                    "Priority": 1,
                    "ComputeEnvironmentOrder": [
                        {"Order": 1, "ComputeEnvironment": environment["computeEnvironmentArn"]}
                    ],
                },
            },
            "Definition": {
                "Type": "AWS::Batch::JobDefinition",
                "Properties": {
                    "Type": "container",
                    "ContainerProperties": properties,
                    "RetryStrategy": {"Attempts": 2, "EvaluateOnExit": [{"OnExitCode": "75", "Action": "RETRY"}]},
                },
            },
        },
        "Outputs": {name: {"Value": {"Ref": name}} for name in ("Queue", "Definition")},
    }
    cloudformation = local_batch.client("cloudformation")
    cloudformation.create_stack(StackName="rv", TemplateBody=json.dumps(template))
    [stack] = cloudformation.describe_stacks(StackName="rv")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    script = "echo $FROM; [ $AWS_BATCH_JOB_ATTEMPT = 2 ] || exit 75"
    submit(local_batch, "stacked", script, jobQueue=outputs["Queue"], jobDefinition=outputs["Definition"])
    job = local_batch.wait_for_status("stacked")
    assert (job["status"], len(job["attempts"])) == ("SUCCEEDED", 2)
    assert job["container"]["linuxParameters"] == {"sharedMemorySize": 64, "initProcessEnabled": True}
    assert local_batch.log_of("stacked") == "stack"
