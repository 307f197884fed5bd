"""One attempt of a job: its container, its log stream, how it ended. Each runs in a thread of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tests.local_batch.account import DEFAULT_LOG_GROUP, Account, ComputeEnvironment
from tests.local_batch.containers import Container
from tests.local_batch.images import ImageStore
from tests.local_batch.jobs import Job, now_ms
from tests.local_batch.retry_rules import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

#: Why an attempt was stopped from outside.
Cause = Literal["", "terminated", "timed out", "reclaimed", "out of memory"]

# From memory, except for "Host EC2" and "Task failed to start" (user guide, job_retries): nothing may depend on them.
EXITED = "Essential container in task exited"
FAILED_TO_START = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
_REGION_ARN = "arn:aws:ecs:{region}:123456789012:{kind}/local/{name}"


class Observer(Protocol):
    """Who is told of the life of attempts."""

    def may_start(self, attempt: Attempt) -> bool:
        """Wait until the container may start; False if it was stopped before."""

    def attempt_started(self, attempt: Attempt) -> None:
        """The container runs."""

    def attempt_ended(self, attempt: Attempt, outcome: Outcome) -> None:
        """It has ended or could not start."""

    def failed(self) -> None:
        """An error of the local Batch itself is being handled."""


class Runtime:
    """What attempts are made with.

    Args:
        folder: holds the disks of containers.
        environ: what every container gets: endpoint, region, credentials.
        region: the region.
        account: for logs.
        images: by name.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], region: str, account: Account, images: ImageStore
    ) -> None:
        self.folder = folder
        self.environ = environ
        self.region = region
        self.account = account
        self.images = images


class Attempt:
    """One attempt.

    Args:
        job: the plain job or child.
        environment: the compute environment that it has slots of.
        runtime: what it is made with.
        observer: who is told.
    """

    def __init__(self, job: Job, environment: ComputeEnvironment, runtime: Runtime, observer: Observer) -> None:
        self.job = job
        self.environment = environment
        self.number = len(job.attempts) + 1
        self.instance_id = f"i-0{uuid.uuid4().hex[:16]}"
        self.started_ms = 0
        self.cause: Cause = ""
        self.stop_reason = ""
        self.has_exit_code = True
        self.has_ended = False
        self._task_id = uuid.uuid4().hex
        self._runtime = runtime
        self._observer = observer
        self._container: Container | None = None
        self._log_group, self._log_stream = self._log_names()
        self._thread = threading.Thread(target=self._run, name=f"attempt {self.number} of {job.id}", daemon=True)

    def start(self) -> None:
        """Begin in a thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread."""
        self._thread.join()

    def send_signal(self, signum: int) -> None:
        """A signal to the container's first process, if it runs."""
        if self._container is not None:
            self._container.send_signal(signum)

    def kill(self) -> None:
        """KILL to the whole container, if it runs."""
        if self._container is not None:
            self._container.kill()

    def container_detail(self) -> dict[str, Any]:
        """Members of ContainerDetail that are known so far."""
        detail = {"containerInstanceArn": self._arn("container-instance", uuid.UUID(self._task_id).hex)}
        detail["taskArn"] = self._arn("task", self._task_id)
        if self.started_ms:
            detail["logStreamName"] = self._log_stream
        return detail

    def record(self, outcome: Outcome) -> dict[str, Any]:
        """The member of `attempts` once it has ended."""
        container: dict[str, Any] = self.container_detail()
        if outcome.exit_code is not None:
            container["exitCode"] = outcome.exit_code
        if outcome.reason:
            container["reason"] = outcome.reason
        times = {"startedAt": self.started_ms} if self.started_ms else {}
        return {"container": container, **times, "stoppedAt": now_ms(), "statusReason": outcome.status_reason}

    def _run(self) -> None:
        try:
            outcome = self._execute()
        except Exception:  # noqa: BLE001 – recorded, and raised when the local Batch is stopped
            self._observer.failed()
            outcome = Outcome(None, "the local Batch failed", "the local Batch failed")
        self._observer.attempt_ended(self, outcome)

    def _execute(self) -> Outcome:
        if not self._observer.may_start(self):
            return Outcome(None, "", self.stop_reason)
        problem = self._start_problem()
        if problem:
            return Outcome(None, problem, FAILED_TO_START)
        folder = self._runtime.folder / f"{self.job.id.replace(':', '-')}.{self.number}"
        writer = LineWriter(lambda lines: self._runtime.account.write_log(self._log_group, self._log_stream, lines))
        try:
            self._container = Container(self.job.spec.container["command"], self._environ(), folder, writer.write)
        except OSError as error:
            return Outcome(None, f"CannotStartContainerError: {error}", FAILED_TO_START)
        self.started_ms = now_ms()
        self._observer.attempt_started(self)
        exit_code = self._container.wait()
        writer.close()
        return self._outcome(exit_code)

    def _start_problem(self) -> str:
        container = self.job.spec.container
        image = self._runtime.images[container["image"]]
        if image.pull_error:
            return f"CannotPullContainerError: {image.pull_error}"
        if not container["command"]:
            return "CannotStartContainerError: no command specified"
        options = container.get("logConfiguration", {}).get("options", {})
        creates_group = options.get("awslogs-create-group", "false") == "true"
        is_open = self._runtime.account.open_log(self._log_group, self._log_stream, creates_group=creates_group)
        return "" if is_open else f"CannotStartContainerError: the log group {self._log_group} does not exist"

    def _outcome(self, exit_code: int) -> Outcome:
        known = exit_code if self.has_exit_code else None
        if self.cause == "out of memory":
            return Outcome(known, OUT_OF_MEMORY, EXITED)
        if self.cause == "reclaimed" and exit_code == 0:
            return Outcome(0, "", EXITED)
        return Outcome(known, "", self.stop_reason if self.cause else EXITED)

    def _environ(self) -> dict[str, str]:
        job, container = self.job, self.job.spec.container
        given = {v["name"]: v.get("value", "") for v in container.get("environment", [])}
        batch = {
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(self.number),
            "AWS_BATCH_JQ_NAME": job.spec.queue_name,
            "AWS_BATCH_CE_NAME": self.environment.name,
        }
        if job.parent is not None:
            batch["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
            batch["AWS_BATCH_JOB_ARRAY_SIZE"] = str(job.spec.array_size)
        return {**self._runtime.environ, **self._runtime.images.environ(container["image"]), **given, **batch}

    def _log_names(self) -> tuple[str, str]:
        options = self.job.spec.container.get("logConfiguration", {}).get("options", {})
        prefix = options.get("awslogs-stream-prefix", self.job.spec.definition_name)
        return options.get("awslogs-group", DEFAULT_LOG_GROUP), f"{prefix}/default/{self._task_id}"

    def _arn(self, kind: str, name: str) -> str:
        return _REGION_ARN.format(region=self._runtime.region, kind=kind, name=name)


class LineWriter:
    """Bytes into lines.

    Args:
        write_lines: gets whole lines, without their ends.
    """

    def __init__(self, write_lines: Callable[[list[str]], None]) -> None:
        self._write_lines = write_lines
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Hand over what is whole by now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._write_lines([_text(line) for line in lines])

    def close(self) -> None:
        """Hand over what has no end of line."""
        self._write_lines([_text(self._rest)])
        self._rest = b""


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\r")
