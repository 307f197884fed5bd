"""The local Batch does what the service is documented to do, over HTTP and with boto3: jobs, arrays, dependencies."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.local_batch.job_scripts import on_term, shell, telling, until, wait_for_file

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

pytestmark = pytest.mark.s3

Submit = Callable[..., str]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBatch]:
    """One for all tests of this module: each names its jobs differently and undoes the faults it orders."""
    pytest.importorskip("moto.server", reason="the local AWS (moto[server]) is not installed")
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("batch"), time_scale=0.01)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def setup(batch: LocalBatch) -> Setup:
    return batch.make_setup()


@pytest.fixture
def submit(batch: LocalBatch, setup: Setup) -> Submit:
    """`submit(name, script, **members of the request)` to the CPU queue; returns the job's id."""

    def call(name: str, script: str | Sequence[str] = "true", **params: Any) -> str:
        overrides = {"command": shell(script) if isinstance(script, str) else list(script)}
        request = {"jobQueue": setup.cpu_queue, "jobDefinition": setup.cpu_definition, **params}
        request["containerOverrides"] = {**overrides, **params.get("containerOverrides", {})}
        if "array" in request:
            request["arrayProperties"] = {"size": request.pop("array")}
        job_id: str = batch.client("batch").submit_job(jobName=name, **request)["jobId"]
        return job_id

    return call


def retries(attempts: int, *rules: dict[str, str]) -> dict[str, Any]:
    return {"retryStrategy": {"attempts": attempts, **({"evaluateOnExit": list(rules)} if rules else {})}}


def after(*job_ids: str) -> dict[str, Any]:
    return {"dependsOn": [{"jobId": job_id} for job_id in job_ids]}


def listed(batch: LocalBatch, **params: Any) -> list[str]:
    pages = batch.client("batch").get_paginator("list_jobs").paginate(**params)
    return [job["jobName"] for page in pages for job in page["jobSummaryList"]]


def error_of(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """Code and message that a call of boto3 fails with."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(**params)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


# What a job finds.


def test_a_job_runs_in_a_clean_environment_and_an_empty_folder_of_its_own(
    batch: LocalBatch, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    job_id = submit("clean", "env; echo files=$(ls -A . $HOME $TMPDIR | grep -v :$); echo cwd=$PWD; rv --version")
    assert batch.wait_for_status("clean")["status"] == "SUCCEEDED"
    *lines, version = batch.log_of("clean").splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert version.startswith("rv ")
    assert found.pop("cwd") == found.pop("PWD") not in (found["HOME"], found["TMPDIR"], os.getcwd())
    assert found.pop("files") == ""
    assert "SECRET_OF_THE_HOST" not in found
    assert {name: value for name, value in found.items() if name.startswith("AWS_")} == {
        **batch.environ,
        "AWS_BATCH_JOB_ID": job_id,
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JQ_NAME": "rv-cpu",
        "AWS_BATCH_CE_NAME": "rv-cpu-spot",
    }
    others = {name for name in found if not name.startswith("AWS_")}
    assert others <= {"PATH", "HOME", "TMPDIR", "PYTHONPATH", "SHLVL", "OLDPWD", "_"}
    assert not Path(found["HOME"]).exists(), "the disk of a container goes with it"


def test_children_of_an_array_know_their_index_and_the_size(batch: LocalBatch, submit: Submit) -> None:
    parent = submit("indices", "echo $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE", array=3)
    assert batch.wait_for_status("indices")["status"] == "SUCCEEDED"
    assert [batch.log_of(f"indices:{i}") for i in range(3)] == [f"{parent}:{i} {i} of 3" for i in range(3)]


def test_overrides_and_parameters_complete_the_definition(batch: LocalBatch, setup: Setup, submit: Submit) -> None:
    environment = [{"name": "A", "value": "definition"}, {"name": "B", "value": "definition"}]
    command = ["sh", "-c", "echo $A $B $C $1", "x", "Ref::who"]
    batch.aws.make_definition("completed", command=command, environment=environment, memory_mib=700)
    overrides = {"environment": [{"name": "B", "value": "job"}, {"name": "C", "value": "job"}], "memory": 999}
    resources = [{"type": "VCPU", "value": "2"}]
    batch.client("batch").submit_job(
        jobName="completed",
        jobQueue=setup.cpu_queue,
        jobDefinition="completed",
        containerOverrides={**overrides, "resourceRequirements": resources},
        parameters={"who": "world"},
    )
    job = batch.wait_for_status("completed")
    assert batch.log_of("completed") == "definition job job world"
    # The old member `memory` does not override a resource requirement of the definition.
    assert {r["type"]: r["value"] for r in job["container"]["resourceRequirements"]} == {"VCPU": "2", "MEMORY": "700"}


def test_a_definition_is_found_by_name_revision_and_arn_and_the_latest_active_one_counts(
    batch: LocalBatch, submit: Submit
) -> None:
    first, second = (batch.aws.make_definition("revised", timeout_s=60 * i) for i in (1, 2))
    without = first.rpartition(":")[0]
    for name, reference in enumerate(("revised:1", first, "revised", second, without)):
        submit(f"revised{name}", jobDefinition=reference)
    assert [batch.job(f"revised{i}")["jobDefinition"] for i in range(5)] == [first, first, second, second, second]
    batch.client("batch").deregister_job_definition(jobDefinition=second)
    submit("revised5", jobDefinition="revised")
    assert batch.job("revised5")["jobDefinition"] == first
    assert "not found" in error_of(submit, name="revised6", jobDefinition=second)[1]


def test_logs_go_to_the_group_of_the_definition_while_the_job_runs(
    batch: LocalBatch, setup: Setup, submit: Submit, tmp_path: Path
) -> None:
    logs = batch.client("logs")
    submit("log", f"echo 'fïrst'; {telling(tmp_path / 'ready')} {until(tmp_path / 'go')}; printf 'lást' >&2")
    wait_for_file(tmp_path / "ready")
    stream = batch.wait_for_status("log", "RUNNING")["container"]["logStreamName"]

    def messages() -> list[str]:
        answer = logs.get_log_events(logGroupName=setup.log_group, logStreamName=stream, startFromHead=True)
        return [event["message"] for event in answer["events"]]

    assert stream.startswith("rv-cpu/default/")
    assert batch.wait_for(lambda: messages() == ["fïrst"], 1.0)
    (tmp_path / "go").touch()
    job = batch.wait_for_status("log")
    assert messages() == ["fïrst", "lást"]
    assert job["attempts"][0]["container"]["logStreamName"] == stream


def test_without_a_group_logs_go_to_that_of_batch_and_a_missing_group_fails_the_start(
    batch: LocalBatch, submit: Submit
) -> None:
    batch.aws.make_definition("default-group")
    batch.aws.make_definition("missing-group", log_group="/no/such/group")
    submit("default-group", "echo hello", jobDefinition="default-group")
    submit("missing-group", "echo hello", jobDefinition="missing-group")
    batch.wait_for_status("default-group")
    assert batch.log_of("default-group") == "hello"
    [attempt] = batch.wait_for_status("missing-group")["attempts"]
    assert "/no/such/group" in attempt["container"]["reason"]
    assert "startedAt" not in attempt


def test_jobs_read_and_write_s3(batch: LocalBatch, setup: Setup, submit: Submit) -> None:
    script = (
        "import boto3, os; s3 = boto3.client('s3'); i = os.environ['AWS_BATCH_JOB_ARRAY_INDEX']; "
        f"s3.put_object(Bucket='{setup.bucket}', Key='out/' + i, Body=i.encode())"
    )
    submit("s3", ["python", "-c", script], array=2)
    assert batch.wait_for_status("s3")["status"] == "SUCCEEDED"
    s3 = batch.client("s3")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=setup.bucket, Prefix="out/")["Contents"]]
    assert [s3.get_object(Bucket=setup.bucket, Key=key)["Body"].read() for key in keys] == [b"0", b"1"]


def test_nothing_of_a_container_outlives_its_first_process(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hidden = "python -c 'import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)'"
    submit("family", f"sleep 60 & echo $! > {pids}; {hidden} & sleep 0.3; exit 0")
    assert batch.wait_for_status("family")["status"] == "SUCCEEDED"
    for pid in (pids.read_text(), batch.log_of("family")):
        assert not _lives(int(pid))


def _lives(pid: int) -> bool:
    """Whether a process still does something; one that has ended and was not collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# States.


def test_a_job_goes_through_every_state(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    def seen(status: str) -> bool:
        names = listed(batch, jobQueue="rv-cpu", jobStatus=status)
        return batch.job("states")["status"] == status and "states" in names

    blocker = submit("states-before", until(tmp_path / "before"))
    with batch.holding("STARTING"):
        with batch.holding("RUNNABLE"):
            with batch.holding("SUBMITTED"):
                submit("states", until(tmp_path / "go"), **after(blocker))
                assert seen("SUBMITTED")
                assert batch.job("states")["startedAt"] == 0
            batch.wait_for_status("states", "PENDING")
            assert seen("PENDING")
    (tmp_path / "before").touch()
    batch.wait_for_status(blocker)
    with batch.holding("STARTING"):
        pass
    batch.wait_for_status("states", "RUNNING")
    assert seen("RUNNING")
    (tmp_path / "go").touch()
    job = batch.wait_for_status("states")
    assert seen("SUCCEEDED")
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert job["container"]["exitCode"] == 0


def test_jobs_wait_in_runnable_and_starting(batch: LocalBatch, submit: Submit) -> None:
    with batch.holding("STARTING"):
        with batch.holding("RUNNABLE"):
            submit("held")
            batch.wait_for_status("held", "RUNNABLE")
        batch.wait_for_status("held", "STARTING")
    batch.wait_for_status("held", "SUCCEEDED")


def test_the_parent_of_an_array_is_pending_while_children_run_and_fails_when_all_are_done(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    script = f"if [ $AWS_BATCH_JOB_ARRAY_INDEX = 1 ]; then exit 3; fi; {until(tmp_path / 'go')}"
    parent_id = submit("parent", script, array=3)
    batch.wait_for_status("parent:1", "FAILED")
    for index in (0, 2):
        batch.wait_for_status(f"parent:{index}", "RUNNING")
    parent = batch.job("parent")
    assert parent["status"] == "PENDING"
    assert parent["arrayProperties"]["size"] == 3
    counts = {status: n for status, n in parent["arrayProperties"]["statusSummary"].items() if n}
    assert counts == {"RUNNING": 2, "FAILED": 1}
    assert "startedAt" not in parent
    assert batch.job("parent:2")["arrayProperties"] == {"index": 2}
    (tmp_path / "go").touch()
    assert batch.wait_for_status("parent")["status"] == "FAILED"
    failed = batch.client("batch").list_jobs(arrayJobId=parent_id, jobStatus="FAILED")["jobSummaryList"]
    assert [(job["jobId"], job["container"]["exitCode"]) for job in failed] == [(f"{parent_id}:1", 3)]


# Dependencies.


def test_what_depends_on_an_array_waits_for_all_its_children(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    array = submit("many", f"[ $AWS_BATCH_JOB_ARRAY_INDEX = 0 ] || {{ {until(tmp_path / 'go')}; }}", array=2)
    submit("after-many", **after(array))
    submit("array-after-many", array=2, **after(array))
    batch.wait_for_status("many:0", "SUCCEEDED")
    batch.wait_for_status("many:1", "RUNNING")
    assert [batch.job(name)["status"] for name in ("after-many", "array-after-many:0")] == ["PENDING", "PENDING"]
    (tmp_path / "go").touch()
    for name in ("after-many", "array-after-many"):
        assert batch.wait_for_status(name)["status"] == "SUCCEEDED"
        assert batch.job("many")["stoppedAt"] <= batch.job(name)["stoppedAt"]


def test_n_to_n_waits_index_by_index(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    script = f"case $AWS_BATCH_JOB_ARRAY_INDEX in 0) ;; 1) exit 1;; *) {until(tmp_path / 'go')};; esac"
    array = submit("n1", script, array=3)
    submit("n2", array=3, dependsOn=[{"jobId": array, "type": "N_TO_N"}])
    assert batch.wait_for_status("n2:0")["status"] == "SUCCEEDED"
    assert batch.wait_for_status("n2:1")["status"] == "FAILED"
    assert batch.job("n2:1")["attempts"] == []
    assert batch.job("n2:2")["status"] == "PENDING"
    (tmp_path / "go").touch()
    assert batch.wait_for_status("n2:2")["status"] == "SUCCEEDED"
    assert batch.wait_for_status("n2")["status"] == "FAILED"


def test_sequential_children_run_one_after_the_other(batch: LocalBatch, submit: Submit) -> None:
    submit("row", "sleep 0.02", array=4, dependsOn=[{"type": "SEQUENTIAL"}])
    assert batch.wait_for_status("row")["status"] == "SUCCEEDED"
    children = [batch.job(f"row:{i}") for i in range(4)]
    assert all(one["stoppedAt"] <= two["startedAt"] for one, two in zip(children, children[1:], strict=False))
    submit("broken-row", "[ $AWS_BATCH_JOB_ARRAY_INDEX != 1 ]", array=4, dependsOn=[{"type": "SEQUENTIAL"}])
    batch.wait_for_status("broken-row")
    statuses = [batch.job(f"broken-row:{i}")["status"] for i in range(4)]
    assert statuses == ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]


def test_a_failed_dependency_fails_all_that_follows_once_its_retries_are_used_up(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    first = submit("bad", f"[ $AWS_BATCH_JOB_ATTEMPT = 1 ] || {{ {until(tmp_path / 'go')}; }}; exit 1", **retries(2))
    second = submit("bad-second", array=2, **after(first))
    submit("bad-third", **after(second))
    assert batch.wait_for(lambda: len(batch.job("bad")["attempts"]) == 1)
    assert batch.job("bad-second")["status"] == "PENDING"
    (tmp_path / "go").touch()
    for name in ("bad", "bad-second", "bad-second:0", "bad-third"):
        assert batch.wait_for_status(name)["status"] == "FAILED"
    assert batch.job("bad-third")["attempts"] == []


def test_dependencies_that_have_ended_count_at_once(batch: LocalBatch, submit: Submit) -> None:
    good, bad = submit("ended-good"), submit("ended-bad", "exit 1")
    batch.wait_for_status(good)
    batch.wait_for_status(bad)
    submit("after-good", **after(good))
    submit("after-bad", array=2, **after(good, bad))
    assert batch.wait_for_status("after-good")["status"] == "SUCCEEDED"
    assert batch.wait_for_status("after-bad")["status"] == "FAILED"
    batch.forget(good)
    assert "not found" in error_of(submit, name="after-forgotten", **after(good))[1]


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
    assert found("JOB_DEFINITION", "filtering") == found("JOB_DEFINITION", arn) == found("JOB_DEFINITION", "filt*") == both
    assert found("BEFORE_CREATED_AT", str(created)) == ["filtered-1"]
    assert found("AFTER_CREATED_AT", str(created - 1)) == ["filtered-2"]


# Size.


def test_an_array_of_10000_is_submitted_listed_described_and_ended_within_seconds(
    batch: LocalBatch, submit: Submit
) -> None:
    client, began = batch.client("batch"), time.monotonic()
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
    assert time.monotonic() - began < 10


def test_a_pipeline_with_one_bad_index_runs_through_within_seconds(
    batch: LocalBatch, setup: Setup, submit: Submit
) -> None:
    began = time.monotonic()
    on_gpu = {"jobQueue": setup.gpu_queue, "jobDefinition": setup.gpu_definition}
    chip = submit("chip", array=20)
    same = submit("check", array=20, dependsOn=[{"jobId": chip, "type": "N_TO_N"}])
    train = submit("train", **after(chip, same), **on_gpu)
    rules = [{"onExitCode": "7", "action": "EXIT"}]
    predict = submit("predict", "[ $AWS_BATCH_JOB_ARRAY_INDEX != 5 ] || exit 7", array=20, **after(train), **retries(3, *rules))
    submit("eval", **after(predict))
    submit("bundle", **after(train))
    statuses = {n: batch.wait_for_status(n)["status"] for n in ("chip", "check", "train", "predict", "eval", "bundle")}
    assert statuses == {n: "FAILED" if n in ("predict", "eval") else "SUCCEEDED" for n in statuses}
    assert batch.job("predict")["arrayProperties"]["statusSummary"]["FAILED"] == 1
    assert len(batch.job("predict:5")["attempts"]) == 1
    assert batch.job("train")["container"]["containerInstanceArn"]
    assert time.monotonic() - began < 10
