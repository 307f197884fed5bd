from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import StorageError, UsageError
from rv_core.record.layout import RunPaths, new_run_id
from rv_core.task.process import Invocation, parse
from rv_core.task.running import outcome_of


def test_the_words_of_a_task_are_understood() -> None:
    words = ["/r/c.json", "chip", "--split-index", "2", "--num-splits=5", "--runner", "local", "-vv", "-p", "lab"]
    assert parse(words) == Invocation("/r/c.json", "chip", 2, 5, "local", "lab", 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["only-one"], "expected CONFIG_URI and COMMAND"),
        (["u", "c", "--split-index", "5", "--num-splits", "5"], r"--split-index 5 is outside 0\.\.4"),
        (["u", "c", "--split-index", "-1", "--num-splits", "5"], "--split-index -1 is outside"),
        (["u", "c", "--num-splits", "0"], "--num-splits 0 is below 1"),
        (["u", "c", "--num-splits", "many"], "'many' is not a whole number"),
        (["u", "c", "--num-split", "3"], "no option named '--num-split'"),
        (["u", "c", "--runner"], "--runner needs a value"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(words)


@pytest.mark.parametrize("runner", [[], ["--runner", "inprocess"]])
def test_a_share_is_not_guessed(rv: Any, tmp_path: Path, runner: list[str]) -> None:
    hello = ["rv_core.hello", "-a", "root_uri", tmp_path]
    assert rv("run", "inprocess", *hello).returncode == 0
    done = rv("run-command", tmp_path / "pipeline-config.json", "cpu_task", "--num-splits", "3", runner)
    assert done.returncode == 2
    assert "which of the 3 splits this task is, nothing says" in done.stderr


def test_a_run_is_found_from_the_place_of_its_config() -> None:
    paths = RunPaths.of_config("s3://bucket/out/.rv/runs/20260101-000000-abcdef/pipeline-config.json")
    assert paths == RunPaths("s3://bucket/out", "20260101-000000-abcdef")
    assert RunPaths.of_config("/root/pipeline-config.json") is None
    assert paths is not None
    assert RunPaths.of_config(paths.config) == paths


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            StorageError("cannot write 'a'", why="the disk is full:\n  0 bytes free"),
            "cannot write 'a': the disk is full: 0 bytes free",
        ),
        (ValueError("no"), "ValueError: no"),
        (AssertionError(), "AssertionError"),
        (SystemExit(5), "the command called sys.exit(5)"),
    ],
)
def test_why_a_task_ended_is_known_although_its_log_cannot_be_written(
    error: BaseException, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.open("/dev/full", os.O_WRONLY), "wb", buffering=0) as full:

        class Full:
            def write(self, text: str) -> int:
                return full.write(text.encode())

            def flush(self) -> None:
                full.flush()

        monkeypatch.setattr(sys, "stderr", Full())
        code, event, told = outcome_of(error)
    assert (event, told) == ("failed", reason)
    assert code == (5 if isinstance(error, SystemExit) else 1)


def test_run_ids_sort_by_time_within_a_second() -> None:
    ids = []
    for _ in range(5):
        ids.append(new_run_id())
        time.sleep(0.002)
    assert sorted(ids) == ids
