"""A faithful local AWS Batch for tests: real HTTP on loopback, jobs as real processes.

`LocalBatch` serves moto with its own answers for the job verbs (SubmitJob, DescribeJobs, ListJobs, CancelJob,
TerminateJob). What is checked and done as documented: requests and answers against botocore's model; the limits of
the service; states, arrays, dependencies, retries with rules, timeouts, cancelling and terminating; the environment
of a job; logs in CloudWatch, a stream per attempt; first in, first out in a queue; vCPU and GPU slots. Faults to
order: spot reclaim, out of memory, throttling, failing submissions, images that cannot be pulled, S3 trouble.

Not covered: IAM (every request is allowed, signatures are not checked), real capacity and its prices, images (a name
stands for a folder of commands), placement on instances (slots of an environment are summed), limits on memory, the
missing signals of a first process without an init, multi-node, EKS and Fargate jobs, fair shares (the order is that
of submission), time limits of queues, CancelJobs and TerminateJobs, and the eventual consistency of Batch itself: a
state is seen as soon as it is reached. What the service answers about a job id that it does not know is a guess, and
so are reason texts: code under test may depend on `Host EC2*` and on texts that the user guide or the model names,
on nothing else.

moto keeps one account per process: one LocalBatch at a time, each begins with an empty one.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.local_batch import limits
from tests.local_batch.account import Account
from tests.local_batch.answers import detail_of
from tests.local_batch.api_model import ApiError
from tests.local_batch.attempts import Runtime
from tests.local_batch.aws_setup import AwsSetup, Setup
from tests.local_batch.containers import kill_stragglers
from tests.local_batch.faults import Faults
from tests.local_batch.gateway import Call, Gateway
from tests.local_batch.images import ImageStore
from tests.local_batch.jobs import FINISHED, Job
from tests.local_batch.scheduler import Scheduler
from tests.local_batch.slots import Capacity
from tests.local_batch.verbs import Verbs

_POLL_S = 0.05
_ALL_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
_only_one = threading.Lock()


class LocalBatch:
    """A running local Batch.

    Args:
        folder: an empty folder, for the disks of containers.
        time_scale: how long a second of the service takes here, in seconds, for timeouts and the grace after TERM:
            with 0.01 a timeout of 60 s is over after 0.6 s.
        grace_s: the grace after TERM in seconds of this machine; the service's 30 s, scaled, if left out.
        submits_per_s: above this rate SubmitJob is throttled; 0 for no limit.
        region: the region.

    Raises:
        RuntimeError: if another one runs in this process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        time_scale: float = 1.0,
        grace_s: float | None = None,
        submits_per_s: float = limits.SUBMITS_PER_S,
        region: str = "us-east-1",
    ) -> None:
        if not _only_one.acquire(blocking=False):
            raise RuntimeError("a local Batch runs in this process already; moto keeps one account per process")
        self.folder = folder
        self.images = ImageStore(folder / "images")
        self._is_stopped = False
        self._clients: dict[str, Any] = {}
        self._faults = Faults(submits_per_s)
        self._server, address = _make_server(self._serve)
        self.url = f"http://{address}"
        self.environ = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }
        account = Account(region)
        runtime = Runtime(folder / "disks", self.environ, region, account, self.images)
        self.scheduler = Scheduler(runtime, time_scale=time_scale, grace_s=grace_s)
        self._gateway = Gateway(
            _moto(),
            Verbs(account, self.scheduler, self._faults),
            self._faults,
            on_change=self.scheduler.wake,
            on_failure=self.scheduler.failed,
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)
        self._thread.start()
        _reset_moto(address)
        self.calls.clear()

    # The account.

    @property
    def calls(self) -> list[Call]:
        """Every request that came, in order."""
        return self._gateway.calls

    def calls_of(self, operation: str) -> list[Call]:
        """The requests for an operation of Batch."""
        return [call for call in self.calls if call.operation == operation]

    def client(self, service: str) -> Any:
        """A boto3 client of this server; closed by `stop`."""
        if service not in self._clients:
            keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
            self._clients[service] = _session().client(
                service,
                endpoint_url=self.url,
                region_name=self.environ["AWS_REGION"],
                config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
                **keys,
            )
        return self._clients[service]

    @property
    def aws(self) -> AwsSetup:
        """Makes more compute environments, queues and definitions."""
        return AwsSetup(self.client)

    def make_setup(self, *, cpu_vcpus: int = 4, gpu_vcpus: int = 4) -> Setup:
        """A bucket, roles, a CPU and a GPU compute environment with a queue and a definition each."""
        return self.aws.make_all(cpu_vcpus=cpu_vcpus, gpu_vcpus=gpu_vcpus)

    # Jobs.

    def jobs(self) -> list[dict[str, Any]]:
        """Plain jobs and parents of arrays in the order of submission, as DescribeJobs shows them."""
        with self.scheduler.changed:
            return [detail_of(job) for job in self.scheduler.submitted_jobs()]

    def job(self, reference: str) -> dict[str, Any]:
        """A job or child by its id, or the last job submitted with this name, or `NAME:INDEX` of it."""
        with self.scheduler.changed:
            return detail_of(self._find(reference))

    def wait_for_status(self, reference: str, *statuses: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until a job is in one of these states; finished, if none is named.

        Raises:
            AssertionError: if that takes too long or the local Batch itself has failed.
        """
        job, wanted = self._find(reference), frozenset(statuses) or FINISHED
        if not self.wait_for(lambda: job.status in wanted, timeout_s):
            raise AssertionError(f"{reference} is {job.status} ({job.reason}), not {wanted}\n{self._failures()}")
        return self.job(job.id)

    def wait_for(self, is_so: Callable[[], bool], timeout_s: float = 30.0) -> bool:
        """Wait until something is so; it is asked after every change of a state.

        Args:
            is_so: may look at `jobs()` and `job()`; it must not send requests, which wait until it is done.
            timeout_s: how long to wait.

        Returns:
            False if it took too long.
        """
        return self.scheduler.wait_for(is_so, timeout_s)

    def log_of(self, reference: str, attempt: int = -1) -> str:
        """What an attempt of a finished job wrote, from its log stream."""
        job = self.job(reference)
        options = job["container"].get("logConfiguration", {}).get("options", {})
        stream = job["attempts"][attempt]["container"]["logStreamName"]
        group = options.get("awslogs-group", "/aws/batch/job")
        events = self.client("logs").get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
        return "\n".join(event["message"] for event in events["events"])

    # What can happen to jobs.

    def reclaim(self, reference: str, *, reports_exit_code: bool = False) -> str:
        """Take the spot instance of a running job away: TERM, KILL after the grace.

        Args:
            reference: the job, see `job`.
            reports_exit_code: whether the agent still tells the exit code before the instance is gone; it rarely does.

        Returns:
            The id of the instance.
        """
        return self.scheduler.reclaim(self._find(reference), reports_exit_code=reports_exit_code)

    def run_out_of_memory(self, reference: str) -> None:
        """Kill a running job as one that took more memory than it may."""
        self.scheduler.run_out_of_memory(self._find(reference))

    def send_signal(self, reference: str, signum: int) -> None:
        """A signal to the first process of a running job; the service gives no reason for how it ends."""
        self.scheduler.send_signal(self._find(reference), signum)

    def forget(self, reference: str) -> None:
        """Drop a finished job, as the service does after days."""
        self.scheduler.forget(self._find(reference))

    def holding(self, *statuses: str) -> AbstractContextManager[None]:
        """Inside, jobs stay in these states: SUBMITTED, RUNNABLE, STARTING."""
        return self.scheduler.holding(*statuses)

    @contextmanager
    def capacity(self, environment: str, *, vcpus: int | None = None, gpus: int | None = None) -> Iterator[None]:
        """Inside, the cloud has no more than this for a compute environment."""
        self.scheduler.slots.capacities[environment] = Capacity(vcpus, gpus)
        self.scheduler.wake()
        try:
            yield
        finally:
            del self.scheduler.slots.capacities[environment]
            self.scheduler.wake()

    # What can happen to requests.

    def throttle(self, every: int, operations: Collection[str] = ()) -> None:
        """Every so-manieth call of Batch answers 429: 2 for half of them, 1 for all, 0 for none.

        Args:
            every: which calls.
            operations: names of those that count; all of them if left out.
        """
        self._faults.throttle(every, operations)

    def fail_submit_at(
        self, n: int, *, times: int = 1, code: str = "ClientException", status: int = 400, is_accepted: bool = False
    ) -> None:
        """The n-th SubmitJob from now fails.

        Args:
            n: from 1.
            times: so many in a row; clients repeat what fails with status 500.
            code: the error's name.
            status: its HTTP status.
            is_accepted: the job is there all the same: only the answer is lost.
        """
        error = ApiError(f"SubmitJob fails, as ordered ({code})", code=code, status=status)
        self._faults.fail_submit(n, times=times, error=error, is_accepted=is_accepted)

    def s3_unavailable(self, pattern: str, times: int = 1, methods: Collection[str] = _ALL_METHODS) -> None:
        """The next requests for a `bucket/key` that fits the pattern (`*`, `?`) answer 503 SlowDown."""
        self._faults.s3_unavailable(pattern, times, methods)

    def s3_not_seen_after_write(self, pattern: str, times: int = 1) -> None:
        """After each write of a `bucket/key` that fits, the next reads of it answer 404; listings show it."""
        self._faults.s3_late(pattern, times)

    def stop(self) -> None:
        """Kill every job and stop serving; nothing is left. A second call does nothing.

        Raises:
            AssertionError: if the local Batch itself has failed meanwhile.
        """
        if self._is_stopped:
            return
        self._is_stopped = True
        try:
            self.scheduler.stop()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            for client in self._clients.values():
                client.close()
            kill_stragglers(self.folder)
        finally:
            _only_one.release()
        if self.scheduler.errors:
            raise AssertionError(self._failures())

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return self._gateway(environ, start_response)

    def _failures(self) -> str:
        return "\n".join(self.scheduler.errors)

    def _find(self, reference: str) -> Job:
        with self.scheduler.changed:
            found = self.scheduler.find(reference)
            name, _, index = reference.partition(":")
            named = [job for job in self.scheduler.submitted_jobs() if job.spec.name == name]
        if found is not None:
            return found
        if not named:
            raise KeyError(f"no job {reference}; there are {sorted({job['jobName'] for job in self.jobs()})}")
        return named[-1].children[int(index)] if index else named[-1]


def _make_server(application: Any) -> tuple[Any, str]:
    from moto.server import MotoRequestHandler
    from werkzeug.serving import make_server

    class QuietHandler(MotoRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            """Say nothing: the requests are in `LocalBatch.calls`."""

    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=QuietHandler)
    return server, f"127.0.0.1:{server.server_port}"


@cache
def _moto() -> Any:
    """One application: it makes one for each service, which takes a while; the state of all is reset."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


@cache
def _session() -> boto3.Session:
    """One session: it keeps the models of services, which are large."""
    return boto3.Session()


def _reset_moto(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("POST", "/moto-api/reset")
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise RuntimeError(f"moto did not reset ({status})")
