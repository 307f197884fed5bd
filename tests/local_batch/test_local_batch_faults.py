"""The local Batch: requests that fail as ordered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_batch.batch_testing import error_of
from tests.local_batch.faults import RateLimit

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

pytestmark = pytest.mark.s3

Submit = Callable[..., str]


@pytest.fixture
def patient(batch: LocalBatch) -> Iterator[Any]:
    """A client that repeats what is throttled."""
    import boto3
    from botocore.config import Config

    names = ("endpoint_url", "aws_access_key_id", "aws_secret_access_key", "region_name")
    options = dict(zip(names, batch.environ.values(), strict=False))
    client = boto3.client("batch", config=Config(retries={"mode": "standard", "max_attempts": 4}), **options)
    yield client
    client.close()


def test_every_second_call_is_throttled_and_a_client_that_repeats_gets_through(
    batch: LocalBatch, setup: Setup, patient: Any
) -> None:
    describe = batch.client("batch").describe_jobs
    batch.throttle(2, ("DescribeJobs",))
    try:
        for _ in range(2):
            describe(jobs=["x"])
            assert error_of(describe, jobs=["x"])[0] == "TooManyRequestsException"
        batch.client("batch").describe_job_queues(jobQueues=[setup.cpu_queue])
        describe(jobs=["x"])
        patient.describe_jobs(jobs=["x"])
    finally:
        batch.throttle(0)
    describe(jobs=["x"])
    assert [call.status for call in batch.calls_of("DescribeJobs")] == [200, 429, 200, 429, 200, 429, 200, 200]


def test_all_calls_of_batch_can_be_throttled_and_s3_is_not(batch: LocalBatch, setup: Setup) -> None:
    batch.throttle(1)
    try:
        code = error_of(batch.client("batch").describe_job_queues)[0]
        batch.client("s3").head_bucket(Bucket=setup.bucket)
    finally:
        batch.throttle(0)
    assert code == "TooManyRequestsException"


def test_the_nth_submission_fails_as_ordered_and_is_recorded(batch: LocalBatch, submit: Submit) -> None:
    batch.fail_submit_at(2)
    submit("sent-1")
    assert error_of(submit, "sent-2") == ("ClientException", "SubmitJob fails, as ordered (ClientException)")
    submit("sent-3")
    batch.fail_submit_at(1, times=2, code="ServerException", status=500)
    assert [error_of(submit, f"sent-{i}")[0] for i in (4, 5)] == ["ServerException"] * 2
    submit("sent-6")
    calls = batch.calls_of("SubmitJob")
    assert [call.params["jobName"] for call in calls] == [f"sent-{i}" for i in range(1, 7)]
    assert [call.status for call in calls] == [200, 400, 200, 500, 500, 200]
    assert [job["jobName"] for job in batch.jobs()] == ["sent-1", "sent-3", "sent-6"]


def test_the_answer_to_a_submission_can_be_lost(batch: LocalBatch, setup: Setup, patient: Any) -> None:
    batch.fail_submit_at(1, code="ServerException", status=500, is_accepted=True)
    sent = patient.submit_job(jobName="twice", jobQueue=setup.cpu_queue, jobDefinition=setup.cpu_definition)
    jobs = [job["jobId"] for job in batch.jobs() if job["jobName"] == "twice"]
    assert len(jobs) == 2
    assert sent["jobId"] == jobs[1]
    assert {batch.wait_for_status(job_id)["status"] for job_id in jobs} == {"SUCCEEDED"}


def test_s3_can_be_unavailable(batch: LocalBatch, setup: Setup) -> None:
    s3 = batch.client("s3")
    batch.s3_unavailable(f"{setup.bucket}/root/é *", times=2, methods=("PUT",))
    s3.put_object(Bucket=setup.bucket, Key="root/other", Body=b"x")
    for _ in range(2):
        code, _message = error_of(s3.put_object, Bucket=setup.bucket, Key="root/é 1", Body=b"x" * 1_000_000)
        assert code == "SlowDown"
    s3.put_object(Bucket=setup.bucket, Key="root/é 1", Body=b"first")
    assert s3.get_object(Bucket=setup.bucket, Key="root/é 1")["Body"].read() == b"first"


def test_s3_can_be_blind_to_what_was_just_written(batch: LocalBatch, setup: Setup) -> None:
    s3, name = batch.client("s3"), {"Bucket": setup.bucket, "Key": "late/1"}
    s3.put_object(**name, Body=b"early")
    batch.s3_not_seen_after_write(f"{setup.bucket}/late/*", times=2)
    assert s3.get_object(**name)["Body"].read() == b"early"
    for body in (b"late", b"later"):
        s3.put_object(**name, Body=body)
        assert error_of(s3.get_object, **name)[0] == "NoSuchKey"
        assert error_of(s3.head_object, **name)[0] == "404"
        assert s3.get_object(**name)["Body"].read() == body


def test_a_rate_limit_is_a_bucket_that_refills() -> None:
    now = [100.0]
    limit = RateLimit(50, lambda: now[0])
    assert [limit.take() for _ in range(51)] == [True] * 50 + [False]
    now[0] += 0.25
    assert [limit.take() for _ in range(13)] == [True] * 12 + [False]
    now[0] += 60
    assert [limit.take() for _ in range(51)] == [True] * 50 + [False]
    assert all(RateLimit(0).take() for _ in range(1000))
