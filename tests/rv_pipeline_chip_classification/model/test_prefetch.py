"""Work ahead on threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from rv_pipeline_chip_classification.model.prefetch import in_advance, iterate_ahead


@pytest.mark.parametrize("num_threads", [1, 3])
def test_results_come_in_order(num_threads: int) -> None:
    assert list(in_advance((partial(pow, n, 2) for n in range(50)), num_threads=num_threads)) == [
        n * n for n in range(50)
    ]


def test_calls_are_made_before_they_are_asked_for_but_not_all() -> None:
    made: list[int] = []
    results = in_advance((partial(made.append, n) for n in range(100)), num_threads=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert 1 < len(made) < 10


def test_an_exception_is_raised_where_its_result_is_due() -> None:
    results = in_advance(partial(divmod, 6, n) for n in (3, 0, 2))
    assert next(results) == (2, 0)
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    results = in_advance((partial(pow, n, 2) for n in range(9)), num_threads=3)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def _traced(places: list[int], length: int, error: Exception | None = None) -> Iterator[int]:
    places.append(threading.get_ident())
    try:
        yield from range(length)
        if error is not None:
            raise error
    finally:
        places.append(threading.get_ident())


def test_an_iterator_is_made_run_and_closed_on_one_thread_that_is_not_ours() -> None:
    places: list[int] = []
    assert list(iterate_ahead(lambda: _traced(places, 20))) == list(range(20))
    assert len(places) == 2 and len(set(places)) == 1 and places[0] != threading.get_ident()


def test_an_iterator_that_is_left_early_is_closed_on_its_thread() -> None:
    places: list[int] = []
    elements = iterate_ahead(lambda: _traced(places, 1000))
    assert next(elements) == 0
    elements.close()  # type: ignore[attr-defined]
    assert len(places) == 2 and places[0] == places[1]


def test_an_error_of_the_iterator_comes_after_the_elements_before_it() -> None:
    places: list[int] = []
    elements = iterate_ahead(lambda: _traced(places, 3, ValueError("cut short")))
    assert [next(elements) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="cut short"):
        next(elements)
    assert len(places) == 2


def test_an_error_in_making_the_iterator_is_raised() -> None:
    def make() -> Iterator[int]:
        raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        next(iterate_ahead(make))
