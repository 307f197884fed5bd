from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from rv_core import wording
from rv_core.plan.shares import job_of, split_text
from rv_core.record.event_tail import News
from rv_core.record.event_writer import timestamp
from rv_core.record.progress import JobPlan, RunProgress, state_of_counts
from rv_core.status.display import Display, make_drawing
from rv_core.status.live_table import LiveDisplay
from rv_core.status.plain_lines import PlainDisplay
from rv_core.wording import is_plain

START_S = 1_795_000_000.0
CHIP, TRAIN = JobPlan("p.chip", 2, 10, 4), JobPlan("p.train", 1, 1)
CHIP_1, CHIP_2 = "p.chip.1-of-2", "p.chip.2-of-2"


class Clock:
    def __init__(self) -> None:
        self.now = START_S

    def __call__(self) -> float:
        return self.now


def event(name: str, at: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"time": timestamp(START_S + at), "event": name, **fields}


def started(at: float = 0.0, attempt: int = 1) -> dict[str, Any]:
    return event("started", at, attempt=attempt, host="elsewhere", pid=1)


def items(*names: str, at: float = 0.0) -> list[dict[str, Any]]:
    return [event("item", at, item=name, state="done") for name in names]


def failed(at: float = 0.0, reason: str = "ValueError: 3", exit_code: int = 1) -> dict[str, Any]:
    return event("failed", at, reason=reason, exit_code=exit_code)


# --- counting up ---------------------------------------------------------------------------------------------------


def test_items_are_counted_over_the_tasks_of_a_job_and_on_top_of_those_done_before() -> None:
    progress = RunProgress([CHIP])
    progress.update({f"{CHIP_1}.1": [started(), *items("a", "b")], f"{CHIP_2}.1": [started(), *items("c")]})
    job = progress.jobs["p.chip"]
    assert (job.state, job.items_done, job.plan.items_total) == ("running", 7, 10)


def test_rate_and_remaining_time_come_from_the_items_of_this_run() -> None:
    progress = RunProgress([CHIP])
    progress.update({f"{CHIP_1}.1": [started(), *items("a", "b", "c", at=6)]})
    job = progress.jobs["p.chip"]
    assert job.rate(START_S + 6) == pytest.approx(0.5)
    assert job.remaining_s(START_S + 6) == pytest.approx(6.0)
    assert job.elapsed_s(START_S + 6) == 6.0


def test_before_the_start_nothing_is_said_about_time() -> None:
    job = RunProgress([CHIP]).jobs["p.chip"]
    assert (job.state, job.elapsed_s(START_S), job.rate(START_S), job.remaining_s(START_S)) == ("waiting", -1, 0, -1)


def test_the_remaining_time_of_a_single_task_comes_from_its_steps() -> None:
    progress = RunProgress([TRAIN])
    progress.update(
        {"p.train.1": [started(), event("progress", 6, done=3, total=12, numbers={"epoch": 3, "loss": 0.5})]}
    )
    job = progress.jobs["p.train"]
    assert job.remaining_s(START_S + 6) == pytest.approx(18.0)
    assert (job.count_text, job.fraction()) == ("3/12", 0.25)
    assert job.numbers == {"epoch": 3, "loss": 0.5}


def test_a_finished_job_has_all_its_items_and_its_time_stands_still() -> None:
    progress = RunProgress([TRAIN])
    progress.update({"p.train.1": [started(), event("finished", 5)]})
    job = progress.jobs["p.train"]
    assert (job.state, job.count_text, job.elapsed_s(START_S + 99), job.fraction()) == ("done", "1/1", 5.0, 1.0)
    assert progress.is_over()


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({}, "waiting"),
        ({"submitted": 3}, "submitted"),
        ({"done": 1}, "running"),
        ({"running": 1, "failed": 1}, "running"),
        ({"failed": 1, "done": 1, "cancelled": 1}, "failed"),
        ({"lost": 1, "stopped": 1}, "lost"),
        ({"stopped": 1, "done": 2}, "stopped"),
        ({"cancelled": 1, "stopped": 1}, "cancelled"),
        ({"unknown": 3}, "unknown"),
        ({"done": 3}, "done"),
    ],
)
def test_the_state_of_a_job_is_what_its_tasks_do_then_the_worst_of_their_ends(
    counts: dict[Any, int], state: str
) -> None:
    assert state_of_counts(counts, 3) == state


def test_changes_name_the_state_before_and_after() -> None:
    progress = RunProgress([CHIP])
    (change,) = progress.update({f"{CHIP_1}.1": [started()]})
    assert (change.before, change.status.state) == (None, "running")
    assert progress.update({f"{CHIP_1}.1": items("a")}) == []
    (change,) = progress.update({f"{CHIP_1}.1": [failed(1)]})
    assert (change.before, change.status.state) == ("running", "failed")


def test_cancelling_the_run_changes_every_task_that_runs() -> None:
    progress = RunProgress([CHIP])
    progress.update({f"{CHIP_1}.1": [started()], f"{CHIP_2}.1": [started(), event("finished", 1)]})
    changes = progress.update({"submission": [event("cancelled", 2)]})
    assert [(c.status.task, c.status.state) for c in changes] == [(CHIP_1, "cancelled")]


def test_settling_calls_tasks_lost_whose_process_is_gone() -> None:
    progress = RunProgress([CHIP])
    progress.update({f"{CHIP_1}.1": [started()], f"{CHIP_2}.1": [started()]})
    changes = progress.settle(lambda status: status.task == CHIP_2)
    assert [(c.status.task, c.status.state) for c in changes] == [(CHIP_2, "lost")]


def test_events_of_tasks_outside_the_plan_are_passed_over() -> None:
    assert RunProgress([CHIP]).update({"other.job.1": [started()]}) == []


def test_names_of_tasks_tell_job_and_split() -> None:
    assert job_of("my.pipe.chip.3-of-5") == "my.pipe.chip"
    assert job_of("p.train") == "p.train"
    assert split_text("p.chip.3-of-5") == "split 3 of 5"
    assert split_text("p.train") == ""


# --- plain lines -----------------------------------------------------------------------------------------------------


class PlainRun:
    """A plain display of some jobs, fed by hand."""

    def __init__(self, *jobs: JobPlan, quiet: bool = False) -> None:
        self.clock = Clock()
        self.stream = io.StringIO()
        self.progress = RunProgress(jobs)
        self.display = PlainDisplay(self.stream, is_quiet=quiet, clock=self.clock)

    def feed(self, batch: News | None = None, at: float = 0.0, *, is_last: bool = False) -> list[str]:
        """Feed events and give the lines that they cause, without dates."""
        self.clock.now = START_S + at
        start = len(self.stream.getvalue())
        self.display.draw(self.progress, self.progress.update(batch or {}), is_last=is_last)
        lines = self.stream.getvalue()[start:].splitlines()
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
        return [line[20:] for line in lines]


def test_plain_lines_tell_each_change_of_state_once() -> None:
    run = PlainRun(CHIP)
    assert run.feed({f"{CHIP_1}.1": [started()]}) == [
        "p.chip started: 2 tasks, 10 items, 4 done before",
        "p.chip (split 1 of 2) started",
    ]
    assert run.feed(at=1) == []
    batch = {f"{CHIP_1}.1": [event("finished", 2, duration_s=2.0)], f"{CHIP_2}.1": [started(1), event("finished", 3)]}
    assert run.feed(batch, at=3) == [
        "p.chip (split 1 of 2) is done after 0:02",
        "p.chip (split 2 of 2) is done after 0:02",
        "p.chip is done: 6 of 10 items in 0:03",
    ]


def test_jobs_that_end_in_the_same_moment_are_told_in_the_order_of_the_plan() -> None:
    last = JobPlan("p.bundle", 1, 1)
    run = PlainRun(TRAIN, last)
    ended = [started(), event("finished", 1)]
    lines = run.feed({"p.bundle.1": ended, "p.train.1": ended}, at=1)
    assert [line.partition(" ")[0] for line in lines] == ["p.train", "p.bundle"]


def test_plain_lines_of_a_single_task_are_those_of_its_job() -> None:
    run = PlainRun(TRAIN)
    assert run.feed({"p.train.1": [started()]}) == ["p.train started: 1 item"]
    assert run.feed({"p.train.1": [event("finished", 61)]}, at=61) == ["p.train is done: 1 item in 1:01"]


def test_plain_lines_say_why_a_task_failed() -> None:
    run = PlainRun(TRAIN)
    assert run.feed({"p.train.1": [started(), failed(1)]}) == ["p.train FAILED: exit code 1, ValueError: 3"]


def test_plain_progress_is_at_most_one_line_per_job_in_ten_seconds() -> None:
    run = PlainRun(TRAIN)
    run.feed({"p.train.1": [started()]})
    lines: list[str] = []
    for tenth in range(1, 251):
        numbers = {"epoch": tenth, "loss": 1 / tenth}
        batch = {"p.train.1": [event("progress", tenth / 10, done=tenth, total=500, numbers=numbers)]}
        lines += run.feed(batch, at=tenth / 10)
    assert lines == [
        "p.train: 100 of 500, epoch 100  loss 0.01, 0:10 elapsed, about 0:40 left",
        "p.train: 200 of 500, epoch 200  loss 0.005, 0:20 elapsed, about 0:30 left",
    ]


def test_plain_progress_that_does_not_move_is_not_repeated() -> None:
    run = PlainRun(CHIP)
    run.feed({f"{CHIP_1}.1": [started(), *items("a")]})
    assert len(run.feed(at=11)) == 1
    assert run.feed(at=22) == []
    assert len(run.feed({f"{CHIP_1}.1": items("b")}, at=33)) == 1


def test_ten_thousand_tasks_print_few_lines_and_name_the_first_failures() -> None:
    num = 10_000
    run = PlainRun(JobPlan("p.chip", num, num))
    num_lines, failed_lines = 0, 0
    for first in range(1, num + 1, 100):
        batch: News = {}
        for n in range(first, first + 100):
            end = failed() if n % 100 == 0 else event("finished")
            batch[f"p.chip.{n}-of-{num}.1"] = [started(), end]
        lines = run.feed(batch, at=first / 100)
        num_lines += len(lines)
        failed_lines += sum("FAILED: exit code" in line for line in lines)
    assert failed_lines == 10
    assert num_lines < 60


def test_plain_lines_carry_no_markup_and_no_control_characters() -> None:
    run = PlainRun(TRAIN)
    (line,) = run.feed({"p.train.1": [started(), failed(reason="[bold]x[/bold] \x1b[31mred\x1b[0m\nnext")]})
    assert line == "p.train FAILED: exit code 1, [bold]x[/bold] \\x1b[31mred\\x1b[0m next"


def test_a_quiet_display_tells_failures_alone() -> None:
    run = PlainRun(CHIP, quiet=True)
    assert run.feed({f"{CHIP_1}.1": [started(), event("finished", 1)]}) == []
    lines = run.feed({f"{CHIP_2}.1": [started(), failed(1)]})
    assert lines[0] == "p.chip (split 2 of 2) FAILED: exit code 1, ValueError: 3"
    assert lines[1].startswith("p.chip FAILED: 1 of 2 tasks")


def test_stopped_cancelled_and_lost_are_told_apart() -> None:
    run = PlainRun(JobPlan("p.chip", 3, 3))
    batch = {f"p.chip.{n}-of-3.1": [started()] for n in (1, 2, 3)}
    run.feed(batch)
    run.feed({"p.chip.1-of-3.1": [event("stopped", 1, reason="TERM", exit_code=75)]})
    run.display.draw(run.progress, run.progress.settle(lambda status: status.task == "p.chip.2-of-3"))
    run.feed({"submission": [event("cancelled", 2)]})
    text = run.stream.getvalue()
    assert "(split 1 of 3) was stopped with its state saved" in text
    assert "(split 2 of 3) is LOST: its process ended without a word (killed?)" in text
    assert "(split 3 of 3) was cancelled" in text


# --- the live table ------------------------------------------------------------------------------------------------


def drawn(progress: RunProgress, at: float = 0.0, *, width: int = 100, height: int = 30, is_last: bool = True) -> str:
    """What the live display leaves on a screen, without escape codes."""
    clock = Clock()
    clock.now = START_S + at
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=width, height=height, color_system="standard")
    display = LiveDisplay(None, console=console, clock=clock)
    display.start()
    display.draw(progress, [], is_last=is_last)
    display.stop()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    head = "job " if "job " in text else "pipeline "
    return text[text.rindex(head) :]  # the last of several drawings


def test_the_table_has_a_line_per_job_with_state_items_rate_and_times() -> None:
    progress = RunProgress([CHIP, TRAIN])
    progress.update({f"{CHIP_1}.1": [started(), *items("a", "b", "c", at=6)], f"{CHIP_2}.1": [started(1), failed(2)]})
    lines = drawn(progress, at=6).splitlines()
    (chip,) = [line for line in lines if line.startswith("p.chip ")]
    assert chip.split()[0:2] == ["p.chip", "running"]
    assert chip.split()[3:] == ["7/10", "30/min", "0:06", "0:06"]
    assert "p.chip: 1 running  1 failed" in lines
    (train,) = [line for line in lines if line.startswith("p.train ")]
    assert train.split()[1] == "waiting"
    assert "0/1" in train


def test_the_table_shows_the_numbers_of_a_training() -> None:
    progress = RunProgress([TRAIN])
    numbers = {"epoch": 3, "loss": 0.41234567, "val_f1": 0.871}
    progress.update({"p.train.1": [started(), event("progress", 6, done=3, total=20, numbers=numbers)]})
    text = drawn(progress, at=6)
    assert "epoch 3  loss 0.4123  val_f1 0.871" in text
    assert "3/20" in text


def test_the_numbers_of_a_finished_training_stay_and_are_cut_last() -> None:
    name = "an-experiment-with-a-very-long-name-indeed.train"
    progress = RunProgress([JobPlan(name, 1, 1)])
    numbers = {"epoch": 8, "num_epochs": 8, "validation_macro_f1": 0.8238, "validation_accuracy": 0.8421, "loss": 0.61}
    progress.update({f"{name}.1": [started(), event("progress", 6, done=8, total=8, numbers=numbers)]})
    running = drawn(progress, at=6, width=80)
    progress.update({f"{name}.1": [event("finished", 7)]})
    for text in (running, drawn(progress, at=7, width=80)):
        (line,) = [line for line in text.splitlines() if "epoch" in line]
        assert "train: epoch 8/8  validation_macro_f1 0.8238  validation_accuracy 0.8421" in line
        assert len(line) <= 80


def test_the_time_left_is_told_once_it_is_steady_and_by_the_pace_of_now() -> None:
    progress = RunProgress([TRAIN])
    job = progress.jobs["p.train"]

    def at(second: float, done: int) -> float:
        progress.update({"p.train.1": [started(), event("progress", second, done=done, total=400)]})
        return job.remaining_s(START_S + second)

    assert at(38, 1) == -1, "38 seconds of imports say nothing of the steps"
    assert at(40, 3) == -1
    assert at(48, 21) == pytest.approx(379 / 2)
    resumed = RunProgress([TRAIN])
    job, progress = resumed.jobs["p.train"], resumed
    assert at(4, 200) == -1, "what a checkpoint held took no time"
    assert at(14, 220) == pytest.approx(90)


def test_of_more_jobs_than_lines_a_line_is_a_pipeline_with_totals_below() -> None:
    plans = [JobPlan(f"lr{n}.{name}", 1, items) for n in range(6) for name, items in (("chip", 10), ("train", 1))]
    progress = RunProgress(plans)
    numbers = {"epoch": 3, "num_epochs": 8}
    progress.update(
        {
            "lr0.chip.1": [started(), *items(*"abcdefghij", at=6), event("finished", 6)],
            "lr0.train.1": [started(6), event("progress", 8, done=3, total=8, numbers=numbers)],
            "lr1.chip.1": [started(), *items("a", "b", "c", at=6), failed(7)],
        }
    )
    lines = drawn(progress, at=8, height=13, is_last=False).splitlines()
    assert lines[0].split() == ["pipeline", "state", "done", "rate", "time", "left"]
    rows = {line.split()[0]: line.split() for line in lines[1:7]}
    assert (rows["lr0"][1], rows["lr1"][1], rows["lr5"][1]) == ("running", "failed", "waiting")
    assert "10/11" in rows["lr0"] and "3/11" in rows["lr1"]
    assert "6 pipelines, 12 jobs: 9 waiting, 1 running, 1 done, 1 failed; 13/66 items" in lines
    assert "lr0: epoch 3/8  1 running" in lines
    assert [line.strip() for line in lines if line.startswith("lr1.chip failed")]
    assert (
        len(drawn(progress, at=8, height=40, is_last=False).splitlines()) > 13
    )  # where there is room, each job is one


def test_failed_tasks_are_named_below_the_table_up_to_five() -> None:
    progress = RunProgress([JobPlan("p.chip", 8, 8)])
    progress.update({f"p.chip.{n}-of-8.1": [started(), failed(1)] for n in range(1, 8)})
    lines = drawn(progress).splitlines()
    assert "p.chip.1-of-8 failed: exit code 1, ValueError: 3" in [line.strip() for line in lines]
    assert sum("ValueError" in line for line in lines) == 5
    assert any("and 2 more failed tasks" in line for line in lines)


def test_text_of_others_is_no_markup_in_the_table() -> None:
    progress = RunProgress([TRAIN])
    progress.update({"p.train.1": [started(), failed(reason="[bold red]x[/] \x1b]0;title\x07")]})
    assert "[bold red]x[/] \\x1b]0;title\\x07" in drawn(progress)


def test_a_low_terminal_shows_what_runs_and_counts_the_rest() -> None:
    progress = RunProgress([JobPlan(f"p.job{n}", 1, 1) for n in range(20)])
    progress.update({f"p.job{n}.1": [started(), event("finished", 1)] for n in range(10)})
    progress.update({"p.job15.1": [started()]})
    text = drawn(progress, height=12, is_last=False)
    assert "p.job15" in text
    assert "and 15 more jobs" in text
    assert "and 15 more jobs" not in drawn(progress, height=12, is_last=True)


@pytest.mark.parametrize(
    ("width", "columns"),
    [(100, 7), (80, 6), (60, 6), (45, 5), (40, 4), (32, 3)],
)
def test_a_narrow_terminal_goes_without_bar_and_rate_and_shows_state_and_items_in_full(
    width: int, columns: int
) -> None:
    job = JobPlan("chip-classification.predict", 2, 1000)
    progress = RunProgress([job])
    batch = [started(), *items(*(f"i{n}" for n in range(250)), at=50)]
    progress.update({"chip-classification.predict.1-of-2.1": batch})
    head, line = drawn(progress, at=50, width=width).splitlines()[:2]
    assert max(len(head.rstrip()), len(line.rstrip())) <= width
    assert re.match(r"\S*\.predict  running ", line)
    assert " 250/1000" in line
    assert len(line.split()) == columns


def test_drawing_stays_cheap() -> None:
    progress = RunProgress([JobPlan(f"p.job{n}", 100, 1000) for n in range(8)])
    progress.update({f"p.job{n}.{i}-of-100.1": [started()] for n in range(8) for i in range(1, 101)})
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
    display = LiveDisplay(None, console=console)
    display.start()
    before = time.thread_time()
    for _ in range(20):
        display.draw(progress, [])
    spent = (time.thread_time() - before) / 20
    display.stop()
    assert spent < 0.03


# --- choosing, and the thread ----------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "plain"),
    [
        ({}, False),
        ({"NO_COLOR": "1"}, True),
        ({"CI": "true"}, True),
        ({"TERM": "dumb"}, True),
        ({"NO_COLOR": ""}, False),
    ],
)
def test_a_terminal_gets_plain_lines_where_the_environment_asks_for_them(environ: dict[str, str], plain: bool) -> None:
    assert is_plain(Terminal(), environ) is plain
    assert is_plain(io.StringIO(), environ)


def test_a_closed_stream_is_plain() -> None:
    stream = io.StringIO()
    stream.close()
    assert is_plain(stream, {})


def test_the_drawing_follows_the_stream_and_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_drawing(Terminal(), is_quiet=False), LiveDisplay)
    assert isinstance(make_drawing(Terminal(), is_quiet=True), PlainDisplay)
    assert isinstance(make_drawing(Terminal(), is_quiet=False, live=False), PlainDisplay)
    assert isinstance(make_drawing(io.StringIO(), is_quiet=False, live=True), LiveDisplay)


def test_plain_output_never_imports_rich() -> None:
    code = (
        "import sys, io; from rv_core.status.display import Display\n"
        "with Display([('p.a', 1, 1, 0)], '/nonexistent', stream=io.StringIO()): pass\n"
        "assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_the_display_follows_the_event_files_of_a_run(run_folder: Callable[..., Any]) -> None:
    run = run_folder()
    stream = io.StringIO()
    with Display([("hello.greet", 1, 2, 0)], run.dir, stream=stream, interval_s=0.02):
        run.started("hello.greet")
        wait_for(lambda: "hello.greet started" in stream.getvalue())
        run.event("hello.greet", "item", 1, item="a", state="done")
        run.event("hello.greet", "item", 1, item="b", state="done")
        run.event("hello.greet", "finished", 2)
    assert "hello.greet is done: 2 items in 0:02" in stream.getvalue()


def test_the_last_look_finds_killed_tasks(run_folder: Callable[..., Any]) -> None:
    run = run_folder()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    stream = io.StringIO()
    with Display([("hello.greet", 1, 1, 0)], [run.dir], stream=stream):
        run.started("hello.greet", pid=process.pid)
    assert "hello.greet is LOST: its process ended without a word (killed?)" in stream.getvalue()


def test_a_display_that_cannot_write_ends_and_the_run_goes_on(
    run_folder: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError("no such terminal")

    run = run_folder()
    run.started("hello.greet")
    with Display([("hello.greet", 1, 1, 0)], run.dir, stream=Broken()) as display:
        pass
    assert display.problem == "no such terminal"
    assert capsys.readouterr().err.count("the display ended") == 1


def test_a_reader_that_went_away_is_no_news(run_folder: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    run = run_folder()
    run.started("hello.greet")
    with Display([("hello.greet", 1, 1, 0)], run.dir, stream=Closed()):
        pass
    assert capsys.readouterr().err == ""


def test_an_exception_inside_is_not_swallowed_and_the_thread_ends(run_folder: Callable[..., Any]) -> None:
    with pytest.raises(KeyboardInterrupt), Display([], run_folder().dir, stream=io.StringIO()):
        raise KeyboardInterrupt
    assert not [thread for thread in threading.enumerate() if thread.name == "rv-display"]


def test_waiting_ends_with_the_run(run_folder: Callable[..., Any]) -> None:
    run = run_folder()
    with Display([("hello.greet", 1, 1, 0)], run.dir, stream=io.StringIO(), interval_s=0.02) as display:
        timer = threading.Timer(0.1, lambda: run.submission("run_finished", 1, succeeded=False))
        timer.start()
        display.wait_until_over()
        timer.join()
    assert display.progress.is_over()


# --- wording ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, ""), (0, "0:00"), (0.44, "0.4 s"), (42, "0:42"), (3723, "1:02:03"), (190_000, "2 d 4 h"), (float("nan"), "")],
)
def test_durations(seconds: float, text: str) -> None:
    assert wording.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, ""), (12.3, "12/s"), (1.25, "1.2/s"), (0.05, "3.0/min"), (0.001, "3.6/h"), (float("inf"), "")],
)
def test_rates_come_in_a_readable_unit(rate: float, text: str) -> None:
    assert wording.rate_text(rate) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, ""),
        (1, "exit code 1"),
        (-9, "killed by SIGKILL"),
        (137, "exit code 137 (SIGKILL)"),
        (75, "exit code 75 (stopped with its state saved)"),
        (-250, "killed by signal 250"),
        (255, "exit code 255"),
    ],
)
def test_exit_codes_in_words(code: int | None, text: str) -> None:
    assert wording.exit_text(code) == text


def test_foreign_text_fits_on_one_line() -> None:
    assert wording.printable("a\tb\r\nc\x00é") == "a b  c\\x00é"
    assert wording.printable("abcdef", 4) == "abc…"


def test_at_most_six_numbers_are_shown_and_text_values_are_cut() -> None:
    assert wording.numbers_text({str(n): n for n in range(9)}).split("  ") == [f"{n} {n}" for n in range(6)]
    assert wording.numbers_text({"epoch": 3, "num_epochs": 8, "f1": 0.5}) == "epoch 3/8  f1 0.5"
    assert wording.numbers_text({"loss": "nan", "flag": True, "lr": 1e-5}) == "loss nan  flag True  lr 1e-05"
