"""The local Batch: what requests are refused, what is described and listed, how it copes with size."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_batch.batch_testing import after, error_of, until

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

pytestmark = pytest.mark.s3

Submit = Callable[..., str]


def listed(batch: LocalBatch, **params: Any) -> list[str]:
    pages = batch.client("batch").get_paginator("list_jobs").paginate(**params)
    return [job["jobName"] for page in pages for job in page["jobSummaryList"]]


# What is asked and refused.


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"array": 1}, "2 to 10000"),
        ({"containerOverrides": {"command": ["x" * 31_000]}}, "30720 at most"),
        ({"jobQueue": "no-queue"}, "no-queue not found"),
        ({"jobDefinition": "no-definition:3"}, "no-definition:3 not found"),
        ({"dependsOn": [{"jobId": "no-job"}]}, "no-job not found"),
        ({"shareIdentifier": "a"}, "no fair-share policy"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "MAYBE", "onExitCode": "1"}]}}, "MAYBE"),
        ({"array": 2, "dependsOn": [{"jobId": "x", "type": "ALL"}]}, "'ALL' is none of N_TO_N"),
    ],
)
def test_a_refused_submission_leaves_no_job(
    batch: LocalBatch, submit: Submit, params: dict[str, Any], complaint: str
) -> None:
    before = len(batch.jobs())
    code, message = error_of(submit, name="refused", **params)
    assert (code, complaint in message) == ("ClientException", True), message
    assert len(batch.jobs()) == before


def test_n_to_n_needs_arrays_of_one_size(batch: LocalBatch, submit: Submit) -> None:
    array, plain = submit("size-3", array=3), submit("size-0")
    for other in (array, plain):
        message = error_of(submit, name="size-2", array=2, dependsOn=[{"jobId": other, "type": "N_TO_N"}])[1]
        assert "N_TO_N needs an array of 2" in message


def test_a_disabled_queue_takes_no_job_and_finishes_what_it_has(
    batch: LocalBatch, submit: Submit, setup: Setup
) -> None:
    batch.aws.make_queue("switched", setup.cpu_environment)
    with batch.holding("RUNNABLE"):
        submit("in-time", jobQueue="switched")
        batch.client("batch").update_job_queue(jobQueue="switched", state="DISABLED")
        assert "is disabled" in error_of(submit, name="too-late", jobQueue="switched")[1]
    assert batch.wait_for_status("in-time")["status"] == "SUCCEEDED"


def test_a_fair_share_queue_wants_a_share(batch: LocalBatch, submit: Submit, setup: Setup) -> None:
    policy = batch.client("batch").create_scheduling_policy(name="fair")["arn"]
    batch.aws.make_queue("fair", setup.cpu_environment, scheduling_policy=policy)
    assert "shareIdentifier is required" in error_of(submit, name="shareless", jobQueue="fair")[1]
    submit("share", jobQueue="fair", shareIdentifier="red", schedulingPriorityOverride=3)
    job = batch.wait_for_status("share")
    assert (job["shareIdentifier"], job["schedulingPriority"]) == ("red", 3)


def test_definitions_are_checked_before_moto_takes_them(batch: LocalBatch) -> None:
    code, message = error_of(
        batch.client("batch").register_job_definition,
        jobDefinitionName="bad",
        type="container",
        containerProperties={"image": "x", "environment": [{"name": "AWS_BATCH_X", "value": "1"}]},
        timeout={"attemptDurationSeconds": 5},
    )
    assert code == "ClientException"
    assert "AWS_BATCH_X" in message
    assert "at least 60" in message


@pytest.mark.parametrize(
    ("body", "code", "complaint"),
    [
        (b'{"jobName": 5, "jobQueue": "q", "jobDefinition": "d"}', "ClientException", "Invalid type"),
        (b'{"jobName": "a", "jobQueue": "q"}', "ClientException", "jobDefinition"),
        (b'{"jobName": "a", "jobQueue": "q", "jobDefinition": "d", "jobNmae": 1}', "ClientException", "jobNmae"),
        (b"{", "SerializationException", "JSON"),
        (b"[]", "SerializationException", "object"),
    ],
)
def test_what_boto3_would_not_send_is_refused_as_the_service_does(
    batch: LocalBatch, setup: Setup, body: bytes, code: str, complaint: str
) -> None:
    connection = http.client.HTTPConnection(batch.url.removeprefix("http://"), timeout=10)
    scope = "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/batch/aws4_request, SignedHeaders=host, Signature=0"
    connection.request("POST", "/v1/submitjob", body, {"Authorization": scope})
    response = connection.getresponse()
    message = json.loads(response.read())["message"]
    connection.close()
    assert (response.status, response.getheader("x-amzn-ErrorType")) == (400, code)
    assert complaint in message


def test_describing_leaves_out_what_is_not_known_and_takes_100_ids(batch: LocalBatch, submit: Submit) -> None:
    client, job_id = batch.client("batch"), submit("described")
    found = client.describe_jobs(jobs=["no-job", job_id, job_id])["jobs"]
    assert [job["jobId"] for job in found] == [job_id]
    assert "100" in error_of(client.describe_jobs, jobs=[job_id] * 101)[1]


def test_lists_show_running_jobs_unless_told_otherwise_page_by_page(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    client = batch.client("batch")
    names = [f"listed-{i}" for i in range(5)]
    for name in names:
        submit(name, tags={"a": "b"})
        batch.wait_for_status(name)
    running = submit("listed-running", until(tmp_path / "go"), array=2)
    batch.wait_for_status(f"{running}:0", "RUNNING")
    batch.wait_for_status(f"{running}:1", "RUNNING")
    assert listed(batch, jobQueue="rv-cpu") == []  # the parent is PENDING, children are listed by their parent alone
    assert listed(batch, arrayJobId=running) == ["listed-running"] * 2
    pattern = [{"name": "JOB_NAME", "values": ["LISTED-*"]}]
    first = client.list_jobs(jobQueue="rv-cpu", filters=pattern, maxResults=4)
    second = client.list_jobs(jobQueue="rv-cpu", filters=pattern, maxResults=4, nextToken=first["nextToken"])
    found = [job["jobName"] for page in (first, second) for job in page["jobSummaryList"]]
    assert found == ["listed-running", *reversed(names)]
    assert len(first["jobSummaryList"]) == 4
    assert "nextToken" not in second
    assert "exactly one" in error_of(client.list_jobs)[1]
    assert "nextToken" in error_of(client.list_jobs, jobQueue="rv-cpu", nextToken="x")[1]
    (tmp_path / "go").touch()
    batch.wait_for_status(running)


def test_lists_can_be_filtered(batch: LocalBatch, submit: Submit) -> None:
    arn = batch.aws.make_definition("filtering")
    batch.wait_for_status(submit("filtered-1", jobDefinition="filtering"))
    created = batch.wait_for_status(submit("filtered-2", jobDefinition="filtering"))["createdAt"]

    def found(name: str, value: str) -> list[str]:
        names = listed(batch, jobQueue="rv-cpu", filters=[{"name": name, "values": [value]}])
        return [name for name in names if name.startswith("filtered-")]

    both = ["filtered-2", "filtered-1"]
    assert (
        found("JOB_DEFINITION", "filtering") == found("JOB_DEFINITION", arn) == found("JOB_DEFINITION", "filt*") == both
    )
    assert found("BEFORE_CREATED_AT", str(created)) == ["filtered-1"]
    assert found("AFTER_CREATED_AT", str(created - 1)) == ["filtered-2"]


# Size.


def test_an_array_of_10000_is_submitted_listed_described_and_ended_within_seconds(
    batch: LocalBatch, submit: Submit
) -> None:
    client, began_s = batch.client("batch"), time.process_time()
    with batch.holding("RUNNABLE"):
        array = submit("huge", array=10_000)
        follower = submit("after-huge", **after(array))
        batch.wait_for_status(f"{array}:9999", "RUNNABLE")
        ids = [
            job["jobId"]
            for page in client.get_paginator("list_jobs").paginate(arrayJobId=array, jobStatus="RUNNABLE")
            for job in page["jobSummaryList"]
        ]
        assert ids == [f"{array}:{i}" for i in range(10_000)]
        assert len(client.describe_jobs(jobs=ids[-100:])["jobs"]) == 100
        client.terminate_job(jobId=array, reason="enough")
        assert batch.wait_for_status(follower)["status"] == "FAILED"
    assert batch.job("huge")["arrayProperties"]["statusSummary"]["FAILED"] == 10_000
    assert time.process_time() - began_s < 5  # of the server and its client together


def test_a_pipeline_with_one_bad_index_runs_through_within_seconds(
    batch: LocalBatch, setup: Setup, submit: Submit
) -> None:
    began_s = time.process_time()
    on_gpu = {"jobQueue": setup.gpu_queue, "jobDefinition": setup.gpu_definition}
    chip = submit("chip", array=20)
    same = submit("check", array=20, dependsOn=[{"jobId": chip, "type": "N_TO_N"}])
    train = submit("train", **after(chip, same), **on_gpu)
    rules = [{"onExitCode": "7", "action": "EXIT"}]
    predict = submit(
        "predict",
        "[ $AWS_BATCH_JOB_ARRAY_INDEX != 5 ] || exit 7",
        array=20,
        **after(train),
        retryStrategy={"attempts": 3, "evaluateOnExit": rules},
    )
    submit("eval", **after(predict))
    submit("bundle", **after(train))
    statuses = {n: batch.wait_for_status(n)["status"] for n in ("chip", "check", "train", "predict", "eval", "bundle")}
    assert statuses == {n: "FAILED" if n in ("predict", "eval") else "SUCCEEDED" for n in statuses}
    assert batch.job("predict")["arrayProperties"]["statusSummary"]["FAILED"] == 1
    assert len(batch.job("predict:5")["attempts"]) == 1
    assert batch.job("train")["container"]["containerInstanceArn"]
    assert time.process_time() - began_s < 5  # of the server and its client together
