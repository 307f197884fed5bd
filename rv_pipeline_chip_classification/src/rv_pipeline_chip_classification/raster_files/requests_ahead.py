"""Requests for bytes that are on their way at the same time: as many as the line holds, and what is waited for first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

_MAX_REQUESTS = 8

Span = tuple[int, int]


class Requests:
    """The requests of a file, in the order in which they are started: few bytes at first, twice as many with each round.

    With all of them at once every file has a share of the line for what it needs last, and what is read first comes as
    late as everything: nothing is decoded meanwhile.

    Args:
        fetch: asks for the bytes from the first argument to before the second.
        first_bytes: how many are on their way to begin with; one request always is.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], first_bytes: int) -> None:
        self._fetch, self._max_bytes = fetch, first_bytes
        self._waiting: dict[Future[bytes], Span] = {}
        self._num_on_way = self._bytes_on_way = 0
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def start(self, begin: int, end: int) -> Future[bytes]:
        """Ask for bytes when it is their turn."""
        answer: Future[bytes] = Future()
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(_MAX_REQUESTS, thread_name_prefix="rv-remote")
            self._waiting[answer] = (begin, end)
            self._send()
        return answer

    def hurry(self, answer: Future[bytes]) -> None:
        """Ask next for what is waited for, however much is on its way."""
        with self._lock:
            if span := self._waiting.pop(answer, None):
                self._waiting = {answer: span, **self._waiting}
                self._max_bytes = max(self._max_bytes, self._bytes_on_way + 1)
                self._send()

    def close(self) -> None:
        """Ask for nothing more; what is on its way ends by itself."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            pool, self._pool = self._pool, None
        for answer in waiting:
            answer.cancel()
        if pool is not None:
            pool.shutdown(wait=False)

    def _send(self) -> None:
        """Ask for what may be on its way; whoever calls holds the lock."""
        while self._waiting and self._pool is not None and self._has_room():
            answer = next(iter(self._waiting))
            begin, end = self._waiting.pop(answer)
            self._num_on_way, self._bytes_on_way = self._num_on_way + 1, self._bytes_on_way + end - begin
            self._pool.submit(self._answer, answer, begin, end)

    def _has_room(self) -> bool:
        return self._num_on_way == 0 or (self._num_on_way < _MAX_REQUESTS and self._bytes_on_way < self._max_bytes)

    def _answer(self, answer: Future[bytes], begin: int, end: int) -> None:
        try:
            data, error = self._fetch(begin, end), None
        except BaseException as err:  # noqa: BLE001 - told by who reads it
            data, error = b"", err
        with self._lock:
            self._num_on_way, self._bytes_on_way = self._num_on_way - 1, self._bytes_on_way - (end - begin)
            self._max_bytes += end - begin
            self._send()
        if error is None:
            answer.set_result(data)
        else:
            answer.set_exception(error)
