"""Work done ahead on threads, so that reading overlaps arithmetic. Results come in order, whatever the threads do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def in_advance(calls: Iterable[Callable[[], T]], *, num_threads: int = 1) -> Iterator[T]:
    """Make calls on threads, at most two per thread ahead of the consumer, and yield the results in order.

    An exception of a call is raised when its result is due. Closing the iterator waits for the calls that have begun.

    Args:
        calls: independent of each other; taken one by one, on the consumer's thread.
        num_threads: how many run at once.
    """
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="rv-ahead") as pool:
        try:
            for call in calls:
                pending.append(pool.submit(call))
                if len(pending) > 2 * num_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def iterate_ahead(make_iterator: Callable[[], Iterator[T]], *, num_ahead: int = 2) -> Iterator[T]:
    """Run an iterator on a thread of its own, from its making to its closing.

    What it opens, for instance a GDAL dataset, is used by that thread alone.

    Args:
        make_iterator: called on that thread; a generator is closed there as well.
        num_ahead: how many elements it may be ahead of the consumer.
    """
    iterator: list[Iterator[T]] = []

    def advance() -> T:
        if not iterator:
            iterator.append(make_iterator())
        element: T = next(iterator[0], _END)
        return element

    def close() -> None:
        for opened in iterator:
            getattr(opened, "close", lambda: None)()

    with ThreadPoolExecutor(1, thread_name_prefix="rv-ahead") as pool:
        pending = deque(pool.submit(advance) for _ in range(num_ahead))
        try:
            while (element := pending.popleft().result()) is not _END:
                pending.append(pool.submit(advance))
                yield element
        finally:
            for future in pending:
                future.cancel()
            pool.submit(close).result()
