"""The only module that talks to AWS: AWS Batch and what belongs to it, through boto3.

Every call is tried again with growing pauses, and slower where the service says that it is too fast (botocore's
adaptive mode); lists come whole; errors say what to do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

from rv_core import RunnerError
from rv_runner_batch import limits

#: Calls are repeated up to ten times: the limit of SubmitJob, 50 a second, holds for a whole account and region.
_MAX_CALLS = 10
#: A laptop without a network should say so soon. What submits and ends jobs keeps trying, as half a run costs money.
_MAX_CONNECTS = 4
_PATIENT_OPERATIONS = ("SubmitJob", "TerminateJob")
#: How many log lines a page holds is the service's business; this bounds what one task may print to a terminal.
MAX_LOG_EVENTS = 100_000
_CREDENTIAL_CODES = (
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "RequestExpired",
)
_LOOK_AT_NETWORK = "look at the network, and at AWS_ENDPOINT_URL if it is set"
_DENIED_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")


class AwsError(RunnerError):
    """AWS could not be asked, or refused; `kind` says whether credentials, the region, a permission or something else.

    Args:
        kind: credentials, region, denied, network, throttled or refused.
    """

    def __init__(self, what: str, *, kind: str, where: str = "", why: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.kind = kind


@contextlib.contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn what botocore raises into an `AwsError`.

    Args:
        action: what was asked for, for instance "batch:SubmitJob".
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refusal(action, error.response.get("Error", {})) from error
    except ResponseParserError as error:
        raise _strange_answer(action) from error
    except BotoCoreError as error:
        raise _failure(action, error) from error


def _refusal(action: str, error: Mapping[str, str]) -> AwsError:
    code, message = error.get("Code", ""), error.get("Message", "")
    if code in _CREDENTIAL_CODES:
        return AwsError(
            f"the AWS credentials are refused ({code})",
            kind="credentials",
            where=action,
            why=message,
            fix="renew them (`aws sso login`, or new keys), or choose others with AWS_PROFILE",
        )
    if code in _DENIED_CODES:
        fix = f"allow {action} to whoever submits; docs/aws-batch.md has the whole policy"
        return AwsError(f"{action} is not allowed", kind="denied", why=message, fix=fix)
    if "throttl" in code.lower() or code == "TooManyRequestsException":
        fix = "run the same command again in a minute"
        return AwsError(f"AWS is being asked too fast: {action}", kind="throttled", why=message or code, fix=fix)
    return AwsError(f"AWS refuses {action}: {message or code}", kind="refused", why=code)


def _failure(action: str, error: Exception) -> AwsError:
    name = type(error).__name__
    if name in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"):
        return no_credentials(str(error))
    if name == "ProfileNotFound":
        fix = "name one that is in ~/.aws/config, or unset AWS_PROFILE"
        return AwsError("the AWS profile does not exist", kind="credentials", why=str(error), fix=fix)
    if name == "NoRegionError":
        return no_region()
    return AwsError(f"AWS cannot be reached: {action}", kind="network", why=str(error), fix=_LOOK_AT_NETWORK)


def _strange_answer(action: str) -> AwsError:
    why = "what answered is not AWS, or not this service: a proxy, perhaps"
    return AwsError(f"AWS cannot be reached: {action}", kind="network", why=why, fix=_LOOK_AT_NETWORK)


def no_credentials(why: str = "") -> AwsError:
    """There are no AWS credentials."""
    fix = "set AWS_PROFILE or log in (`aws sso login`, `aws configure`); rv keeps no credentials of its own"
    return AwsError("no AWS credentials found", kind="credentials", why=why, fix=fix)


def no_region() -> AwsError:
    """There is no AWS region."""
    return AwsError(
        "no AWS region is set", kind="region", fix="set AWS_REGION, or batch.region in a profile (RV_BATCH_REGION)"
    )


def _give_up_connecting(
    operation: Any, attempts: int, caught_exception: BaseException | None = None, **_others: Any
) -> None:
    """End botocore's attempts where there is no connection at all; returning leaves it to botocore."""
    from botocore.exceptions import ConnectionError as NoConnection

    is_patient = operation.name in _PATIENT_OPERATIONS
    if isinstance(caught_exception, NoConnection) and attempts >= _MAX_CONNECTS and not is_patient:
        raise caught_exception


def _is_unclear(response: tuple[Any, Any] | None, error: BaseException | None) -> bool:
    """Whether a request may have been obeyed although the answer was none: an error of the service, or silence."""
    from botocore.exceptions import ConnectionError as NoConnection

    if error is not None:
        return not isinstance(error, NoConnection)
    return response is not None and response[0].status_code >= 500


@cache
def _session(region: str, environ: tuple[tuple[str, str], ...]) -> Any:
    """One session for the same settings: it keeps the models of services, which take a while to read."""
    import boto3

    with explained("the AWS profile"):
        return boto3.Session(region_name=region or None)


class BatchClient:
    """AWS Batch in one region.

    Args:
        region: the region; "" for that of the environment or the AWS profile.
    """

    def __init__(self, region: str = "") -> None:
        # boto3 itself knows AWS_DEFAULT_REGION only.
        self._wanted_region = region or os.environ.get("AWS_REGION", "")
        self._clients: dict[str, Any] = {}
        self._is_unclear = False

    @cached_property
    def _session(self) -> Any:
        return _session(self._wanted_region, tuple(sorted((k, v) for k, v in os.environ.items() if k[:4] == "AWS_")))

    @property
    def region(self) -> str:
        """The region that is asked.

        Raises:
            AwsError: if there is none.
        """
        if not self._session.region_name:
            raise no_region()
        return str(self._session.region_name)

    def check_credentials(self) -> None:
        """Look for credentials without asking anybody.

        Raises:
            AwsError: if there are none.
        """
        with explained("the AWS credentials"):
            if self._session.get_credentials() is None:
                raise no_credentials()

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            from botocore.config import Config

            # AWS_MAX_ATTEMPTS holds where it is set.
            more = {} if os.environ.get("AWS_MAX_ATTEMPTS") else {"max_attempts": _MAX_CALLS}
            config = Config(
                region_name=self.region,
                retries={"mode": "adaptive", **more},
                connect_timeout=10,
                read_timeout=60,
                user_agent_extra="rv-runner-batch",
            )
            with explained(service):
                client = self._session.client(service, config=config)
            client.meta.events.register_first("needs-retry", _give_up_connecting)
            client.meta.events.register_first("needs-retry", self._note_unclear)
            self._clients[service] = client
        return self._clients[service]

    def _call(self, operation: str, **params: Any) -> dict[str, Any]:
        """One call; `operation` is `service:Name`."""
        service, _, name = operation.partition(":")
        client = self._client(service)
        method = next(method for method, known in client.meta.method_to_api_mapping.items() if known == name)
        with explained(operation):
            return dict(getattr(client, method)(**params))

    def _pages(self, operation: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        token: str | None = None
        while True:
            answer = self._call(operation, **params, **({"nextToken": token} if token else {}))
            yield from answer.get(key, ())
            token = answer.get("nextToken")
            if not token:
                return

    def submit(self, request: Mapping[str, Any]) -> str:
        """Send a `SubmitJob` request; the job's id.

        SubmitJob has no token that would tell that it is repeated. So where an answer was lost on the way, it is looked
        afterwards whether the job is there twice, and the other one is ended before it has a machine.
        """
        self._is_unclear = False
        answer = self._call("batch:SubmitJob", **request)
        if "jobId" not in answer:
            raise _strange_answer("batch:SubmitJob")
        job_id = str(answer["jobId"])
        if self._is_unclear:
            self._end_twins(str(request["jobQueue"]), str(request["jobName"]), job_id)
        return job_id

    def _note_unclear(
        self, response: tuple[Any, Any] | None = None, caught_exception: BaseException | None = None, **_others: Any
    ) -> None:
        self._is_unclear = self._is_unclear or _is_unclear(response, caught_exception)

    def _end_twins(self, queue: str, name: str, job_id: str) -> None:
        try:
            twins = [job["jobId"] for job in self.named(queue, name) if job["jobName"] == name]
        except AwsError as error:
            if error.kind == "denied":
                return  # who may not list may still submit; two copies do no harm, they only cost
            raise
        for twin in twins:
            if twin != job_id:
                self.terminate(twin, "was submitted twice, as the answer to the first was lost")

    def describe(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Job id -> JobDetail, 100 ids a call; jobs that AWS Batch does not know are left out."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(wanted), limits.MAX_DESCRIBED_JOBS):
            answer = self._call("batch:DescribeJobs", jobs=wanted[start : start + limits.MAX_DESCRIBED_JOBS])
            found.update({detail["jobId"]: detail for detail in answer.get("jobs", ())})
        return found

    def children(self, array_id: str, status: str) -> list[dict[str, Any]]:
        """JobSummary of every child of an array that is in a state; without one only running ones would come."""
        pages = self._pages(
            "batch:ListJobs",
            "jobSummaryList",
            arrayJobId=array_id,
            jobStatus=status,
            maxResults=limits.MAX_LISTED_JOBS,
        )
        return list(pages)

    def named(self, queue: str, prefix: str) -> list[dict[str, Any]]:
        """JobSummary of every job of a queue whose name begins like this, in any state; no children of arrays."""
        filters = [{"name": "JOB_NAME", "values": [f"{prefix}*"]}]
        return list(self._pages("batch:ListJobs", "jobSummaryList", jobQueue=queue, filters=filters))

    def terminate(self, job_id: str, reason: str) -> None:
        """End a job in whatever state it is, with its children; one that has ended stays as it is."""
        self._call("batch:TerminateJob", jobId=job_id, reason=reason)

    def queues(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Name and ARN -> JobQueueDetail; queues that do not exist are left out."""
        wanted = sorted({name for name in names if name})
        if not wanted:
            return {}
        found = list(self._pages("batch:DescribeJobQueues", "jobQueues", jobQueues=wanted))
        return {queue[key]: queue for queue in found for key in ("jobQueueName", "jobQueueArn")}

    def environments(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Name and ARN -> ComputeEnvironmentDetail; those that do not exist are left out."""
        wanted = sorted({name for name in names if name})
        if not wanted:
            return {}
        pages = self._pages("batch:DescribeComputeEnvironments", "computeEnvironments", computeEnvironments=wanted)
        keys = ("computeEnvironmentName", "computeEnvironmentArn")
        return {environment[key]: environment for environment in pages for key in keys}

    def definition(self, name: str) -> dict[str, Any] | None:
        """JobDefinition of a name (the newest active revision), `name:revision` or ARN; None if there is none.

        A revision that is named is found whatever its state.
        """
        base, _, revision = name.rpartition("/")[2].partition(":")
        wanted = {} if revision else {"status": "ACTIVE"}
        found = self._pages("batch:DescribeJobDefinitions", "jobDefinitions", jobDefinitionName=base, **wanted)
        fitting = [entry for entry in found if not revision or str(entry["revision"]) == revision]
        return max(fitting, key=lambda entry: int(entry["revision"]), default=None)

    def instance_types(self, patterns: Sequence[str]) -> list[dict[str, Any]]:
        """InstanceTypeInfo of instance types by name or pattern (`g5.*`); those that do not exist are left out."""
        filters = [{"Name": "instance-type", "Values": list(patterns)}]
        found: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            extra = {"NextToken": token} if token else {}
            answer = self._call("ec2:DescribeInstanceTypes", Filters=filters, **extra)
            found += answer.get("InstanceTypes", ())
            token = answer.get("NextToken")
            if not token:
                return found

    def log_lines(self, group: str, stream: str) -> Iterator[str]:
        """The lines of a log stream from its beginning, as far as they have arrived."""
        token: str | None = None
        num_lines = 0
        while num_lines < MAX_LOG_EVENTS:
            extra = {"nextToken": token} if token else {}
            answer = self._call(
                "logs:GetLogEvents", logGroupName=group, logStreamName=stream, startFromHead=True, **extra
            )
            yield from (str(event["message"]) for event in answer["events"])
            num_lines += len(answer["events"])
            # The last page names itself as the next one.
            if answer.get("nextForwardToken") in (token, None):
                return
            token = answer["nextForwardToken"]
