"""The WSGI application: answers the job verbs, passes all else on to moto, and keeps a record of every request."""

from __future__ import annotations

import io
import json
import re
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from tests.local_batch import limits
from tests.local_batch.api_model import ApiError, input_problems, operation_of, output_problems
from tests.local_batch.faults import Faults, s3_error_body, throttled
from tests.local_batch.verbs import Verbs

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/aws4_request")
_CHUNK_BYTES = 1 << 16
#: Services whose requests may change what placement depends on.
_WAKING = frozenset({"batch", "cloudformation"})


@dataclass
class Call:
    """A request that came.

    Args:
        service: that it was signed for; "" for an unsigned one.
        method: of HTTP.
        path: without the query.
        operation: of Batch; else "".
        params: the body of a request to Batch.
        status: of the answer.
        error: the answer's error, where Batch's verbs answered one.
        time_s: since 1970.
    """

    service: str
    method: str
    path: str
    operation: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    status: int = 0
    error: str = ""
    time_s: float = field(default_factory=time.time)


class Gateway:
    """The application.

    Args:
        moto: moto's application.
        verbs: the job verbs.
        faults: what is to go wrong.
        on_change: called after requests that may change queues, definitions or compute environments.
        on_failure: called while an error of the local Batch itself is handled.
    """

    def __init__(
        self,
        moto: Callable[[Environ, StartResponse], Iterable[bytes]],
        verbs: Verbs,
        faults: Faults,
        *,
        on_change: Callable[[], None],
        on_failure: Callable[[], None],
    ) -> None:
        self.calls: list[Call] = []
        self._moto = moto
        self._verbs = verbs
        self._faults = faults
        self._on_change = on_change
        self._on_failure = on_failure

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        call = Call(_service(environ), environ["REQUEST_METHOD"], environ["PATH_INFO"])
        self.calls.append(call)
        if call.service == "batch":
            return self._batch(call, environ, start_response)
        if call.service == "s3" or (not call.service and not call.path.startswith("/moto-api")):
            return self._s3(call, environ, start_response)
        return self._pass_on(call, environ, start_response)

    def _batch(self, call: Call, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = _read_body(environ)
        call.operation = operation_of(call.path)
        try:
            call.params = _parse(body)
            self._check(call, len(body))
            if call.operation in self._verbs.answers:
                return self._answer(call, start_response)
        except ApiError as error:
            return self._refuse(call, error, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        return self._pass_on(call, environ, start_response)

    def _check(self, call: Call, num_bytes: int) -> None:
        if self._faults.throttles(call.operation):
            raise throttled()
        problems = input_problems(call.operation, call.params) if call.operation else []
        if not problems and call.operation in limits.CHECKS:
            problems = limits.CHECKS[call.operation](call.params, num_bytes)
        if problems:
            raise ApiError(limits.joined(problems))

    def _answer(self, call: Call, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._verbs.answers[call.operation](call.params)
            problems = output_problems(call.operation, _with_required_times(answer))
            if problems:
                raise AssertionError(f"{call.operation} would answer what the model does not allow: {problems}")
        except ApiError:
            raise
        except Exception as error:
            self._on_failure()
            raise ApiError(traceback.format_exc(), code="ServerException", status=500) from error
        call.status = 200
        return _json(start_response, 200, answer)

    def _refuse(self, call: Call, error: ApiError, start_response: StartResponse) -> Iterable[bytes]:
        call.status, call.error = error.status, f"{error.code}: {error.message}"
        return _json(start_response, error.status, {"message": error.message}, error.code)

    def _s3(self, call: Call, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        key = call.path.strip("/").encode("latin-1").decode(errors="replace")
        status, code = self._faults.s3_error(call.method, key)
        if status:
            call.status = status
            _drain(environ)
            body = b"" if call.method == "HEAD" else s3_error_body(code, key)
            _start(start_response, status, "application/xml", len(body))
            return [body]
        answer = self._pass_on(call, environ, start_response)
        is_part = "partNumber=" in environ.get("QUERY_STRING", "")
        if call.method in ("PUT", "POST") and call.status == 200 and not is_part:
            self._faults.s3_written(key)
        return answer

    def _pass_on(self, call: Call, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: Any, *more: Any) -> Any:
            call.status = int(status.split()[0])
            return start_response(status, headers, *more)

        answer = self._moto(environ, start)
        if call.service in _WAKING:
            self._on_change()
        return answer


def _service(environ: Environ) -> str:
    found = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found.group(1) if found else ""


def _read_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body


def _drain(environ: Environ) -> None:
    """Take in a body that nobody wants: a client that is cut off while it sends sees no answer."""
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0 and (data := environ["wsgi.input"].read(min(left, _CHUNK_BYTES))):
        left -= len(data)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        params = json.loads(body or b"{}")
    except ValueError as error:
        raise ApiError("the body is no JSON", code="SerializationException") from error
    if not isinstance(params, dict):
        raise ApiError("the body is no object", code="SerializationException")
    return params


def _with_required_times(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as the model wants it: JobDetail.startedAt is required there and may be missing all the same."""
    if "jobs" not in answer:
        return answer
    return {**answer, "jobs": [{"startedAt": 0, **job} for job in answer["jobs"]]}


def _json(start_response: StartResponse, status: int, answer: dict[str, Any], error: str = "") -> list[bytes]:
    body = json.dumps(answer).encode()
    _start(start_response, status, "application/json", len(body), error)
    return [body]


def _start(start_response: StartResponse, status: int, kind: str, num_bytes: int, error: str = "") -> None:
    headers = [("Content-Type", kind), ("Content-Length", str(num_bytes)), ("x-amzn-RequestId", str(uuid.uuid4()))]
    if error:
        headers.append(("x-amzn-ErrorType", error))
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
