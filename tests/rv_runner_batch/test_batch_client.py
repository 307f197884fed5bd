"""The one module that talks to AWS: whole lists, in as few calls as the service allows, and errors with a next step."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from rv_core.errors import EXIT_ENVIRONMENT
from rv_runner_batch.client import AwsError, BatchClient, _give_up_connecting, explained

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud

pytestmark = pytest.mark.s3


@pytest.fixture
def client(cloud: Cloud) -> BatchClient:
    return BatchClient("us-east-1")


class _Stranger(BaseHTTPRequestHandler):
    """Answers everything with a page, as a proxy that wants a password does."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stranger(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS Batch is reached through somebody else."""
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
        thread.join()


def submit(cloud: Cloud, client: BatchClient, name: str, *command: str, **params: Any) -> str:
    return client.submit(
        {
            "jobName": name,
            "jobQueue": cloud.setup.cpu_queue,
            "jobDefinition": cloud.setup.cpu_definition,
            "containerOverrides": {"command": list(command or ("true",))},
            **params,
        }
    )


def test_more_ids_than_a_call_takes_are_asked_for_in_several(cloud: Cloud, client: BatchClient) -> None:
    with cloud.batch.holding("SUBMITTED"):
        array = submit(cloud, client, "many", arrayProperties={"size": 230})
        ids = [f"{array}:{index}" for index in range(230)]
        before = len(cloud.batch.calls_of("DescribeJobs"))
        found = client.describe([*ids, ids[0], "00000000-0000-0000-0000-000000000000"])
        assert set(found) == set(ids)
        assert len(cloud.batch.calls_of("DescribeJobs")) - before == 3
        client.terminate(array, "test")


def test_children_come_over_all_pages_and_in_every_state(cloud: Cloud, client: BatchClient) -> None:
    with cloud.batch.holding("RUNNABLE"):
        array = submit(cloud, client, "pages", arrayProperties={"size": 2100})
        cloud.batch.wait_for_status(f"{array}:2099", "RUNNABLE")
        before = len(cloud.batch.calls_of("ListJobs"))
        assert len(client.children(array, "RUNNABLE")) == 2100
        assert len(cloud.batch.calls_of("ListJobs")) - before == 3
        assert client.children(array, "RUNNING") == []
        client.terminate(array, "test")


def test_jobs_are_found_by_the_beginning_of_their_name_in_any_state(cloud: Cloud, client: BatchClient) -> None:
    first = submit(cloud, client, "rv-one-a", "false")
    cloud.batch.wait_for_status(first)
    with cloud.batch.holding("SUBMITTED"):
        second = submit(cloud, client, "rv-one-b")
        submit(cloud, client, "rv-other")
        assert {job["jobId"] for job in client.named("rv-cpu", "rv-one-")} == {first, second}


def test_queues_environments_and_definitions_are_found_by_name_or_arn(cloud: Cloud, client: BatchClient) -> None:
    queues = client.queues(["rv-cpu", "nowhere"])
    assert set(queues) == {"rv-cpu", queues["rv-cpu"]["jobQueueArn"]}
    order = queues["rv-cpu"]["computeEnvironmentOrder"]
    assert "rv-cpu-spot" in client.environments(entry["computeEnvironment"] for entry in order)
    assert client.queues([]) == client.environments([]) == {}
    arn = cloud.batch.aws.make_definition("twice")
    newest = cloud.batch.aws.make_definition("twice")
    assert client.definition("twice")["jobDefinitionArn"] == newest  # type: ignore[index]
    for name in (arn, "twice:1"):
        assert client.definition(name)["revision"] == 1  # type: ignore[index]
    assert client.definition("never") is None
    assert client.definition("never:3") is None


def test_instance_types_come_by_name_and_family(client: BatchClient) -> None:
    found = {info["InstanceType"] for info in client.instance_types(["c5.*", "g4dn.xlarge"])}
    assert {"c5.large", "c5.xlarge", "g4dn.xlarge"} <= found
    assert not any(name.startswith("m5") for name in found)


def test_log_streams_are_read_to_their_end(cloud: Cloud, client: BatchClient) -> None:
    job = submit(cloud, client, "talks", "sh", "-c", "seq 1 2500")
    cloud.batch.wait_for_status(job)
    stream = cloud.batch.job(job)["container"]["logStreamName"]
    assert list(client.log_lines(cloud.setup.log_group, stream)) == [str(n) for n in range(1, 2501)]


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("ExpiredTokenException", "credentials", "the AWS credentials are refused (ExpiredTokenException)"),
        ("AccessDeniedException", "denied", "batch:SubmitJob is not allowed"),
        ("TooManyRequestsException", "throttled", "AWS is being asked too fast: batch:SubmitJob"),
        ("ClientException", "refused", "AWS refuses batch:SubmitJob: no such queue"),
    ],
)
def test_refusals_say_what_to_do(code: str, kind: str, said: str) -> None:
    from botocore.exceptions import ClientError

    with pytest.raises(AwsError) as caught, explained("batch:SubmitJob"):
        raise ClientError({"Error": {"Code": code, "Message": "no such queue"}}, "SubmitJob")
    assert (caught.value.kind, caught.value.block.what) == (kind, said)
    assert caught.value.exit_code == EXIT_ENVIRONMENT
    assert caught.value.block.fix or kind == "refused"


def test_a_region_is_needed_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AwsError, match="no AWS region is set"):
        BatchClient().queues(["rv-cpu"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert BatchClient().region == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert BatchClient().region == "eu-west-3"
    assert BatchClient("eu-west-1").region == "eu-west-1"


def test_an_answer_of_somebody_else_is_no_connection() -> None:
    from botocore.parsers import ResponseParserError

    with pytest.raises(AwsError) as caught, explained("ec2:DescribeInstanceTypes"):
        raise ResponseParserError("not well-formed")
    assert "AWS cannot be reached: ec2:DescribeInstanceTypes" in caught.value.block.what
    assert (caught.value.kind, "a proxy" in caught.value.block.why) == ("network", True)


def test_a_submission_that_is_answered_without_an_id_is_an_error(stranger: None) -> None:
    with pytest.raises(AwsError, match="AWS cannot be reached: batch:SubmitJob"):
        BatchClient("us-east-1").submit({"jobName": "a", "jobQueue": "q", "jobDefinition": "d"})


def test_who_only_looks_gives_up_soon_where_there_is_no_connection(
    cloud: Cloud, client: BatchClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_BATCH", f"http://127.0.0.1:{port}")
    sent: list[str] = []
    client._client("batch").meta.events.register("before-send", lambda **_: sent.append("once"))
    with pytest.raises(AwsError, match="AWS cannot be reached: batch:DescribeJobs"):
        client.describe(["some-id"])
    assert len(sent) == 4


@pytest.mark.parametrize(
    ("operation", "attempts", "gives_up"),
    [("DescribeJobs", 3, False), ("DescribeJobs", 4, True), ("SubmitJob", 9, False), ("TerminateJob", 9, False)],
)
def test_who_submits_or_ends_jobs_is_patient(operation: str, attempts: int, *, gives_up: bool) -> None:
    from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

    error = EndpointConnectionError(endpoint_url="http://nowhere")
    asked = SimpleNamespace(name=operation)
    with pytest.raises(EndpointConnectionError) if gives_up else nullcontext():
        _give_up_connecting(asked, attempts, caught_exception=error)
    _give_up_connecting(asked, attempts, caught_exception=ReadTimeoutError(endpoint_url="http://nowhere"))
