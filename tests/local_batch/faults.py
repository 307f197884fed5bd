"""Faults to order: throttling, failing submissions, S3 that is unavailable or does not see what was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.local_batch.api_model import ApiError

THROTTLED = "TooManyRequestsException"


@dataclass
class _SubmitFault:
    """The next failing SubmitJob: how many to go, what it answers, whether the job is there all the same."""

    countdown: int
    times: int
    error: ApiError
    is_accepted: bool


@dataclass
class _S3Fault:
    """Requests that are still to fail."""

    pattern: str
    methods: Collection[str]
    times: int


class RateLimit:
    """A bucket of tokens that refills at a constant rate.

    Args:
        per_s: tokens a second, and the size of the bucket; 0 for no limit.
        clock: tells seconds.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._clock = clock
        self._tokens = per_s
        self._at = clock()

    def take(self) -> bool:
        """Whether there was a token."""
        if not self._per_s:
            return True
        now = self._clock()
        self._tokens = min(self._per_s, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Faults:
    """What is to go wrong.

    Args:
        submits_per_s: the rate of SubmitJob above which it is throttled; 0 for none.
    """

    def __init__(self, submits_per_s: float) -> None:
        self._lock = threading.Lock()
        self._submit_rate = RateLimit(submits_per_s)
        self._throttle_every = 0
        self._throttled_operations: Collection[str] = ()
        self._num_throttleable = 0
        self._submit_fault: _SubmitFault | None = None
        self._unavailable: list[_S3Fault] = []
        self._late: list[_S3Fault] = []
        self._hidden: dict[str, int] = {}

    def throttle(self, every: int, operations: Collection[str] = ()) -> None:
        """Every so-manieth call of Batch (of these operations, if any are named) is throttled; 0 for none."""
        with self._lock:
            self._throttle_every = every
            self._throttled_operations = operations
            self._num_throttleable = 0

    def fail_submit(self, n: int, *, times: int, error: ApiError, is_accepted: bool) -> None:
        """The n-th SubmitJob from now fails, and the `times - 1` after it."""
        with self._lock:
            self._submit_fault = _SubmitFault(n, times, error, is_accepted)

    def s3_unavailable(self, pattern: str, times: int, methods: Collection[str]) -> None:
        """The next requests for `bucket/key` fail with 503."""
        with self._lock:
            self._unavailable.append(_S3Fault(pattern, methods, times))

    def s3_late(self, pattern: str, times: int) -> None:
        """After each write of a `bucket/key` that fits, so many reads of it find nothing."""
        with self._lock:
            self._late.append(_S3Fault(pattern, (), times))

    def throttles(self, operation: str) -> bool:
        """Whether a call of Batch is throttled."""
        with self._lock:
            if operation == "SubmitJob" and not self._submit_rate.take():
                return True
            if not self._throttle_every or (self._throttled_operations and operation not in self._throttled_operations):
                return False
            self._num_throttleable += 1
            return self._num_throttleable % self._throttle_every == 0

    def submit_error(self) -> tuple[ApiError | None, bool]:
        """What a SubmitJob fails with, if it does, and whether the job is accepted all the same."""
        with self._lock:
            fault = self._submit_fault
            if fault is None:
                return None, True
            fault.countdown -= 1
            if fault.countdown > 0:
                return None, True
            fault.times -= 1
            if fault.times <= 0:
                self._submit_fault = None
            return fault.error, fault.is_accepted

    def s3_error(self, method: str, key: str) -> tuple[int, str]:
        """Status and code that a request for `bucket/key` fails with; (0, "") if it does not."""
        with self._lock:
            for fault in self._unavailable:
                if fault.times > 0 and method in fault.methods and fnmatchcase(key, fault.pattern):
                    fault.times -= 1
                    return 503, "SlowDown"
            if method in ("GET", "HEAD") and self._hidden.get(key, 0) > 0:
                self._hidden[key] -= 1
                return 404, "NoSuchKey"
        return 0, ""

    def s3_written(self, key: str) -> None:
        """A `bucket/key` was written."""
        with self._lock:
            for fault in self._late:
                if fnmatchcase(key, fault.pattern):
                    self._hidden[key] = fault.times


def throttled() -> ApiError:
    """What a throttled call answers."""
    return ApiError("Too Many Requests", code=THROTTLED, status=429)


def s3_error_body(code: str, key: str) -> bytes:
    """An error as S3 answers it."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}: {key}</Message></Error>'
    return text.encode()
