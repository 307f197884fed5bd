"""`os._exit` in rv's own process is an exception there, and what it always was elsewhere."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from rv_core.machine.hard_exit import HardExit, called_exit, hard_exits_raise


def test_it_is_told_by_its_own_name_and_put_back() -> None:
    before = os._exit
    with hard_exits_raise():
        with pytest.raises(HardExit) as caught:
            os._exit(7)
        assert os._exit is not before
    assert os._exit is before
    assert (called_exit(caught.value), caught.value.code) == ("os._exit(7)", 7)
    assert called_exit(SystemExit("no")) == "sys.exit('no')"


def test_a_forked_process_ends_by_it() -> None:
    with hard_exits_raise():
        child = multiprocessing.get_context("fork").Process(target=os._exit, args=(7,))
        child.start()
        child.join(30)
    assert child.exitcode == 7
