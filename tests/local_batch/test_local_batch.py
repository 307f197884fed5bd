"""The local Batch does what the service is documented to do, over HTTP and with boto3: jobs, arrays, dependencies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_batch.batch_testing import after, error_of, eventually, processes_of, telling, until, wait_for_file

if TYPE_CHECKING:
    from tests.local_batch.aws_setup import Setup
    from tests.local_batch.server import LocalBatch

pytestmark = pytest.mark.s3

Submit = Callable[..., str]


def listed(batch: LocalBatch, **params: Any) -> list[str]:
    pages = batch.client("batch").get_paginator("list_jobs").paginate(**params)
    return [job["jobName"] for page in pages for job in page["jobSummaryList"]]


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
    parent = submit(
        "indices", "echo $AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ARRAY_INDEX of $AWS_BATCH_JOB_ARRAY_SIZE", array=3
    )
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
    assert "memory" not in job["container"]


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
    eventually(lambda: messages() == ["fïrst"], "the line is not there")
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
    hidden = f"setsid sh -c 'touch {tmp_path}/hidden; sleep 60'"
    submit("family", f"echo $HOME; sleep 60 & {hidden} & {until(tmp_path / 'hidden')}; {until(tmp_path / 'go')}")
    wait_for_file(tmp_path / "hidden")
    disk = next(batch.folder.glob(f"disks/{batch.job('family')['jobId']}.1"))
    assert len(processes_of(disk)) >= 3
    (tmp_path / "go").touch()
    assert batch.wait_for_status("family")["status"] == "SUCCEEDED"
    assert processes_of(disk) == []
    batch.wait_for_status(submit("quiet", "sleep 60 >/dev/null 2>&1 &"))
    eventually(lambda: not processes_of(batch.folder / "disks"), "there are processes")


# States.


def test_a_job_goes_through_every_state(batch: LocalBatch, submit: Submit, tmp_path: Path) -> None:
    def is_listed(status: str) -> bool:
        return "states" in listed(batch, jobQueue="rv-cpu", jobStatus=status)

    before = submit("states-before", until(tmp_path / "before"))
    with batch.holding("SUBMITTED"):
        submit("states", until(tmp_path / "go"), **after(before))
        assert is_listed("SUBMITTED")
        assert batch.job("states")["startedAt"] == 0
    batch.wait_for_status("states", "PENDING")
    assert is_listed("PENDING")
    with batch.holding("STARTING"):
        with batch.holding("RUNNABLE"):
            (tmp_path / "before").touch()
            batch.wait_for_status("states", "RUNNABLE")
            assert is_listed("RUNNABLE")
        batch.wait_for_status("states", "STARTING")
        assert is_listed("STARTING")
    batch.wait_for_status("states", "RUNNING")
    assert is_listed("RUNNING")
    (tmp_path / "go").touch()
    job = batch.wait_for_status("states", "SUCCEEDED")
    assert is_listed("SUCCEEDED")
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert job["container"]["exitCode"] == 0


def test_waiting_costs_nothing(batch: LocalBatch, submit: Submit) -> None:
    with batch.holding("RUNNABLE"):
        submit("waiting", array=100)
        batch.wait_for_status("waiting:99", "RUNNABLE")
        began_s = time.process_time()
        assert not batch.wait_for(lambda: False, 0.4)
        assert time.process_time() - began_s < 0.1
        with pytest.raises(ValueError, match="cannot be held in RUNNING"), batch.holding("RUNNING"):
            pass
    batch.wait_for_status("waiting", "SUCCEEDED")


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
    assert all(one["stoppedAt"] <= two["startedAt"] for one, two in pairwise(children))
    submit("broken-row", "[ $AWS_BATCH_JOB_ARRAY_INDEX != 1 ]", array=4, dependsOn=[{"type": "SEQUENTIAL"}])
    batch.wait_for_status("broken-row")
    statuses = [batch.job(f"broken-row:{i}")["status"] for i in range(4)]
    assert statuses == ["SUCCEEDED", "FAILED", "FAILED", "FAILED"]


def test_a_failed_dependency_fails_all_that_follows_once_its_retries_are_used_up(
    batch: LocalBatch, submit: Submit, tmp_path: Path
) -> None:
    first = submit(
        "bad",
        f"[ $AWS_BATCH_JOB_ATTEMPT = 1 ] || {{ {until(tmp_path / 'go')}; }}; exit 1",
        retryStrategy={"attempts": 2},
    )
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
