"""What counts as done: the evidence of an item counts when its work is complete, however its command goes about it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

MODULE = str(Path(__file__).with_name("share_pipeline.py"))
PLAIN = "for n in names: write(n)"


class Share:
    """Runs the pipeline of this test under one root, with one body of its command after the other."""

    def __init__(self, runner: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runner = runner
        self.root = root
        self._environ = monkeypatch

    def run(self, body: str, *more: str, fail_at: str = "") -> tuple[int, str]:
        """(exit code, what was said) of one `rv run`."""
        self._environ.setenv("WORK_BODY", body)
        self._environ.setenv("FAIL_AT", fail_at)
        argv = [sys.executable, "-m", "rv_core", "run", self.runner, MODULE, "-a", f"root_uri={self.root}", *more]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def status(self) -> str:
        """What `rv status` says."""
        argv = [sys.executable, "-m", "rv_core", "status", str(self.root)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60).stdout

    def done(self, command: str = "work") -> list[str]:
        """The items that have a manifest."""
        return sorted(path.name.split(".")[0] for path in (self.root / ".rv" / "done" / command).glob("*.json"))

    def files(self) -> list[str]:
        """The items that have an output."""
        return sorted(path.stem for path in (self.root / "work").glob("*.txt"))


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Share:
    return Share("inprocess", tmp_path / "root", monkeypatch)


@pytest.fixture(params=["inprocess", "local"])
def each_runner(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Share]:
    if request.param == "local":
        pytest.importorskip("rv_runner_local.hooks")
    yield Share(request.param, tmp_path / "root", monkeypatch)


@pytest.mark.parametrize(
    "after",
    [
        "raise ValueError('no summary')",
        pytest.param("raise SystemExit(3)", marks=pytest.mark.slow),
        "raise SystemExit(0)",
        pytest.param("self.stopped()", marks=pytest.mark.slow),
    ],
)
def test_a_task_that_fails_behind_its_loop_is_a_run_that_failed(each_runner: Share, after: str) -> None:
    code, said = each_runner.run(f"{PLAIN}\n{after}")
    assert code in ((130,) if "stopped" in after and each_runner.runner == "inprocess" else (1,)), said
    assert each_runner.done() == ["a", "b", "c"]
    assert " failed " in each_runner.status() or "stopped" in after
    code, said = each_runner.run(PLAIN)
    assert code == 0 and "1 of 4 items" in said
    assert (each_runner.root / "join.txt").read_text() == "a,b,c,d"


def test_a_task_that_dies_behind_its_loop_is_a_run_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    share = Share("local", tmp_path / "root", monkeypatch)
    code, said = share.run(f"{PLAIN}\nos.kill(os.getpid(), 11)")
    assert code == 1 and "SIGSEGV" in said
    code, said = share.run(f"{PLAIN}\ntime.sleep(30)", "-a", "timed=true")
    assert code == 1 and "timed out after 1 s" in said


@pytest.mark.parametrize(
    "body",
    [
        "for n in list(names): write(n)",
        pytest.param("names = sorted(names)\nfor n in names: write(n)", marks=pytest.mark.slow),
        pytest.param("list(ThreadPoolExecutor(2).map(write, names))", marks=pytest.mark.slow),
        "with ThreadPoolExecutor(2) as pool: pool.map(write, names)",  # nobody looks at what it raises
        "for n in names: pass\nfor n in names: write(n)",
        pytest.param("'z' in names\nfor n in names: write(n)", marks=pytest.mark.slow),
        "each = iter(names)\nbefore = next(each)\nfor n in each: write(before); before = n\nwrite(before)",
        "for n in 'abcd': write(n)",
        pytest.param("for n in names: pass\nfor n in 'abcd': write(n)", marks=pytest.mark.slow),
    ],
)
def test_outputs_that_no_item_can_be_credited_with_are_an_error(share: Share, body: str) -> None:
    code, said = share.run(body)
    assert code == 1, said
    assert "item" in said and "next: " in said
    assert share.done() == []
    code, said = share.run(PLAIN)
    assert code == 0 and "4 of 4 items" in said
    assert share.files() == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "body",
    [
        "for n in names: fail_at(n); write(n)",
        "for i, n in enumerate(names): fail_at(n); write(n)",
        "each = iter(names)\nwhile (n := next(each, None)) is not None: fail_at(n); write(n)",
        "list(map(lambda n: (fail_at(n), write(n)), names))",
        "first = next(iter(names))\nfor n in names: fail_at(n); write(n)",
    ],
)
def test_a_loop_that_works_on_one_item_after_the_other_goes_on_where_it_was_killed(share: Share, body: str) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    share.runner = "local"
    code, said = share.run(body, fail_at="c")
    assert code == 1, said
    assert share.done() == ["a"] or share.done() == ["a", "b"]
    code, said = share.run(body)
    assert code == 0, said
    assert (share.root / "join.txt").read_text() == "a,b,c,d"


def test_items_without_outputs_are_done_when_their_command_has_returned(share: Share) -> None:
    code, said = share.run("for n in names:\n    if n == 'c': raise ValueError(n)", "work")
    assert code == 1 and share.done() == [], said
    code, said = share.run("for n in sorted(names): print(n)", "work")
    assert code == 0 and share.done() == ["a", "b", "c", "d"], said


def test_an_item_behind_one_without_outputs_waits_for_the_end_of_its_command(share: Share) -> None:
    body = "for n in names:\n    if n == 'd': raise ValueError(n)\n    if n != 'b': write(n)"
    code, said = share.run(body, "work")
    assert code == 1 and share.done() == ["a"], said


def test_batches_of_one_iterator_work_and_those_of_many_are_told_how(share: Share) -> None:
    code, said = share.run("while batch := list(itertools.islice(names, 2)):\n    for n in batch: write(n)")
    assert code == 1 and "keep one iterator" in said
    code, said = share.run(
        "each = iter(names)\nwhile batch := list(itertools.islice(each, 2)):\n    for n in batch: write(n)"
    )
    assert code == 0, said
    assert share.files() == ["a", "b", "c", "d"]


def test_an_output_that_a_child_process_writes_is_an_error(share: Share) -> None:
    child = "p = multiprocessing.get_context('fork').Process(target=write, args=(n,)); p.start(); p.join()"
    code, said = share.run(f"for n in names: {child}; assert p.exitcode == 0")
    assert code == 1 and "AssertionError" in said
    assert share.files() == []


def test_two_items_that_write_one_file_are_an_error_that_names_both(share: Share) -> None:
    code, said = share.run("for n in names: self.storage.write_text('work/same.txt', n)")
    assert code == 1 and "'work/same.txt' is an output of two items of work: a and b" in said


def test_two_tasks_that_write_one_file_are_an_error_that_names_both(each_runner: Share) -> None:
    body = "for n in names: write('ab' if n in 'ab' else n)"
    code, said = each_runner.run(body, "work", "-s", "4")
    assert code == 1 and "work/ab.txt is an output of a of work and of b of work" in said
    assert each_runner.done() == ["c", "d"]
    code, said = each_runner.run(body, "work")  # what one task sees it says at once
    assert code == 1 and "'work/ab.txt' is an output of two items of work: a and b" in said
    code, said = each_runner.run(PLAIN)
    assert code == 0 and "2 of 4 items" in said, said


def test_two_commands_that_write_one_file_are_an_error_that_names_both(share: Share) -> None:
    code, said = share.run(
        f"{PLAIN}\n".replace("write(n)", "write(n); self.storage.write_text('join.txt', n)"), "-s", "4"
    )
    assert code == 1, said
    code, said = share.run(PLAIN + " if n != 'd' else (write(n), self.storage.write_text('join.txt', n))")
    assert code == 1 and "join.txt is an output of d of work and of join" in said, said


def test_a_manifest_whose_output_is_gone_does_not_make_a_failed_task_done(each_runner: Share) -> None:
    code, said = each_runner.run(PLAIN)
    assert code == 0, said
    (each_runner.root / "work" / "b.txt").unlink()
    (each_runner.root / ".rv" / "done" / "work").joinpath("not a manifest.json").write_text("{")
    code, said = each_runner.run("raise ValueError('out of order')")
    assert code == 1 and "out of order" in said
    assert each_runner.done() == ["a", "c", "d", "not a manifest"]
    assert " failed " in each_runner.status()
    code, said = each_runner.run(PLAIN)
    assert code == 0 and (each_runner.root / "work" / "b.txt").read_text() == "b"


@pytest.mark.parametrize("num_splits", [1, 4])
def test_an_output_that_another_item_writes_now_is_not_deleted_as_stale(each_runner: Share, num_splits: int) -> None:
    legend = "(write(n), n == {!r} and (write('legend'), write('old')))"
    code, said = each_runner.run(f"for n in names: {legend.format('d')}")
    assert code == 0, said
    body = "for n in names: (write(n), n == 'a' and write('legend'))"
    code, said = each_runner.run(body, "-a", "salt=1", "-s", str(num_splits))
    assert code == 0, said
    assert each_runner.files() == ["a", "b", "c", "d", "legend"]  # and what nobody writes any more is gone
    assert "Nothing to do" in each_runner.run(body, "-a", "salt=1")[1]


@pytest.mark.parametrize(("gone", "at"), [("", "b"), (".rv", "d")], ids=["root", "record"])
def test_a_root_that_is_removed_while_a_run_is_going_on_is_told(each_runner: Share, gone: str, at: str) -> None:
    remove = f"import shutil\nfor n in names:\n    write(n)\n    if n == {at!r}: shutil.rmtree("
    code, said = each_runner.run(f"{remove}{str(each_runner.root / gone)!r})")
    assert code == 1 and "was removed while the run was going on" in said, said
    assert "Traceback" not in said and "done:" not in said, said
