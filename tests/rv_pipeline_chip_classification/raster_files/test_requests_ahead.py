"""Requests of a file: few to begin with, more with each answer, and what is waited for first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, wait

import pytest

from rv_pipeline_chip_classification.raster_files.requests_ahead import Requests


class Line:
    """A store that answers when it is told to, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self._changed = threading.Condition()
        self._num_answers = 0

    def fetch(self, begin: int, end: int) -> bytes:
        with self._changed:
            place = len(self.asked)
            self.asked.append(begin)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._num_answers > place, timeout=10)
        if begin == 13:
            raise OSError("gone")
        return bytes([begin]) * (end - begin)

    def answer(self, count: int = 1) -> None:
        """Answer the next ones in the order in which they were asked."""
        with self._changed:
            self._num_answers += count
            self._changed.notify_all()

    def holds(self, count: int) -> bool:
        """Whether so many were asked for, after a moment in which more could have been."""
        with self._changed:
            reached = self._changed.wait_for(lambda: len(self.asked) >= count, timeout=10)
            return reached and not self._changed.wait_for(lambda: len(self.asked) > count, timeout=0.05)


@pytest.fixture
def line() -> Line:
    return Line()


def test_each_answer_makes_room_for_two(line: Line) -> None:
    requests = Requests(line.fetch, 20)
    answers = [requests.start(begin, begin + 10) for begin in range(0, 200, 10)]
    assert line.holds(2)
    line.answer(2)
    assert line.holds(2 + 4)
    line.answer(4)
    assert line.holds(2 + 4 + 8)
    line.answer(8)
    assert line.holds(20)  # never more than eight
    line.answer(6)
    assert [answer.result(timeout=10) for answer in answers] == [bytes([begin]) * 10 for begin in range(0, 200, 10)]
    assert line.asked[:2] == [0, 10]
    requests.close()


def test_a_large_one_is_asked_for_alone_and_what_is_waited_for_now(line: Line) -> None:
    requests = Requests(line.fetch, 5)
    answers = [requests.start(begin, begin + 10) for begin in (0, 10, 20)]
    assert line.holds(1)
    requests.hurry(answers[2])
    assert line.holds(2) and line.asked == [0, 20]
    requests.hurry(answers[2])  # it is on its way
    assert line.holds(2)
    line.answer(3)
    assert answers[2].result(timeout=10) == bytes([20]) * 10
    wait(answers, timeout=10)
    requests.close()


@pytest.mark.parametrize("close", [Requests.close, lambda requests: None])
def test_one_that_fails_is_told_to_who_reads_it(line: Line, close: Callable[[Requests], None]) -> None:
    requests = Requests(line.fetch, 1)
    failing, waiting = requests.start(13, 14), requests.start(20, 21)
    assert line.holds(1)
    close(requests)
    line.answer(2)
    with pytest.raises(OSError, match="gone"):
        failing.result(timeout=10)
    if close is Requests.close:
        with pytest.raises(CancelledError):
            waiting.result(timeout=10)
        assert line.asked == [13]
    else:
        assert waiting.result(timeout=10) == bytes([20])
        requests.close()
