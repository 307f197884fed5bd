from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rv_core.cli.app import main
from rv_core.machine.process_table import process_started

Make = Callable[..., Any]
Rv = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rv_here(capsys: pytest.CaptureFixture[str]) -> Rv:
    """`rv` in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    reaper = threading.Thread(target=process.wait, daemon=True)
    reaper.start()
    yield process
    process.kill()
    reaper.join()


@pytest.fixture
def failed_run(run_folder: Make) -> Any:
    """Two splits, one done, one failed twice; what follows did not start."""
    run = run_folder()
    run.job("greet", ["a", "b"], splits=2)
    run.job("train", requires=["greet"])
    run.write()
    run.finish_item("greet", "a")
    run.started("hello.greet.1-of-2")
    run.event("hello.greet.1-of-2", "finished", 2, duration_s=2.0)
    for attempt in (1, 2):
        run.started("hello.greet.2-of-2", attempt, attempt=attempt)
        reason = "cannot open https://ada:hunter22@host/b.tif"
        run.event("hello.greet.2-of-2", "failed", attempt + 0.5, attempt=attempt, reason=reason, exit_code=1)
        run.log("hello.greet.2-of-2", f"attempt {attempt}\nTraceback\n  [bold]b.tif[/bold]\n", attempt)
    run.submission("run_finished", 3, succeeded=False)
    return run


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_tells_jobs_failed_tasks_and_what_to_do(failed_run: Any, rv_here: Rv) -> None:
    code, out, err = rv_here("status", failed_run.root)
    assert (code, err) == (0, "")
    assert f"run {failed_run.run_id}  failed" in out
    assert re.search(r"hello\.greet +failed +1/2", out)
    assert "split 2 of 2, exit code 1, 2 attempts" in out
    assert "|   [bold]b.tif[/bold]" in out
    assert f"log: rv logs {failed_run.root} hello.greet.2-of-2 --run {failed_run.run_id}" in out
    assert "next: the same command goes on from here: rv run local experiment.py -s 5" in out
    assert "\x1b" not in out


def test_status_shows_no_secret(failed_run: Any, rv_here: Rv) -> None:
    for options in ([], ["--json"], ["--all"], ["--all", "--json"]):
        code, out, _ = rv_here("status", failed_run.root, *options)
        assert code == 0
        assert "hunter22" not in out


def test_status_json_holds_everything(failed_run: Any, rv_here: Rv) -> None:
    plain = json.loads(rv_here("status", failed_run.root, "--json")[1])
    assert (plain["run_id"], plain["state"], plain["runner"]) == (failed_run.run_id, "failed", "local")
    greet, train = plain["jobs"]
    assert (greet["state"], greet["items_done"], greet["items_total"]) == ("failed", 1, 2)
    assert [t["state"] for t in greet["tasks"]] == ["done", "failed"]
    assert (greet["tasks"][0]["duration_s"], greet["tasks"][1]["exit_code"]) == (2.0, 1)
    assert train["tasks"][0]["reason"] == "did not start: hello.greet is not done (failed)"
    assert plain["next"].startswith("the same command")


def test_status_of_a_folder_without_a_run_is_a_usage_error(tmp_path: Path, rv_here: Rv) -> None:
    for options in ([], ["--all"], ["--watch"], ["--json"]):
        code, out, err = rv_here("status", tmp_path, *options)
        assert (code, out) == (2, "")
        assert "no run found here" in err


@pytest.mark.parametrize("options", [["--all", "--watch"], ["--all", "--run", "x"], ["--watch", "--json"]])
def test_options_that_do_not_go_together_are_refused(failed_run: Any, rv_here: Rv, options: list[str]) -> None:
    code, _, err = rv_here("status", failed_run.root, *options)
    assert code == 2
    assert "together" in err


def test_status_of_a_named_run(failed_run: Any, run_folder: Make, rv_here: Rv) -> None:
    newer = run_folder(run_id="20991231-000000-ffffff")
    newer.job("greet", ["a"])
    newer.write()
    assert "20991231-000000-ffffff" in rv_here("status", failed_run.root)[1]
    assert f"run {failed_run.run_id}" in rv_here("status", failed_run.root, "--run", failed_run.run_id)[1]
    code, _, err = rv_here("status", failed_run.root, "--run", "20991231-000000-fffffe")
    assert code == 2
    assert "did you mean '20991231-000000-ffffff'" in err


def test_all_runs_of_a_root_are_listed(failed_run: Any, run_folder: Make, rv_here: Rv) -> None:
    newer = run_folder(run_id="20991231-000000-ffffff")
    newer.job("greet", ["a"])
    newer.write()
    lines = rv_here("status", failed_run.root, "--all")[1].splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["20991231-000000-ffffff", "stopped"],
        [failed_run.run_id, "failed"],
    ]
    listed = json.loads(rv_here("status", failed_run.root, "--all", "--json")[1])
    assert [run["state"] for run in listed] == ["stopped", "failed"]


def test_watching_a_run_that_has_ended_shows_it_and_ends(failed_run: Any, rv_here: Rv) -> None:
    code, out, _ = rv_here("status", failed_run.root, "--watch")
    assert code == 0
    assert "failed tasks" in out


def test_watching_follows_a_run_until_it_ends(run_folder: Make, rv_here: Rv) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.marker()
    run.started("hello.greet")

    def finish() -> None:
        run.finish_item("greet", "a")
        run.event("hello.greet", "item", 1, item="a", state="done")
        run.event("hello.greet", "finished", 2)

    timer = threading.Timer(0.3, finish)
    timer.start()
    code, out, _ = rv_here("status", run.root, "--watch")
    timer.join()
    assert code == 0
    assert "hello.greet started: 1 item" in out
    assert "hello.greet is done: 1 item in 0:02" in out
    assert "nothing is left to do" in out


def test_enough_of_watching_is_no_failure(run_folder: Make, rv_here: Rv, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.marker()

    def interrupted(self: object, poll: object = None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rv_core.status.display.Display.wait_until_over", interrupted)
    code, _, err = rv_here("status", run.root, "--watch")
    assert code == 0
    assert "the run goes on" in err


def test_a_terminal_gets_colours_and_no_markup(failed_run: Any, rv_here: Rv, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert rv_here("status", failed_run.root)[0] == 0
    text = terminal.getvalue()
    assert "\x1b[1;31mfailed" in text
    assert "[bold]b.tif[/bold]" in text


# --- logs --------------------------------------------------------------------------------------------------------------


def test_logs_prints_the_last_attempt_or_the_one_asked_for(failed_run: Any, rv_here: Rv) -> None:
    assert rv_here("logs", failed_run.root, "greet.2-of-2")[1].splitlines()[0] == "attempt 2"
    assert rv_here("logs", failed_run.root, "hello.greet.2-of-2", "--attempt", 1)[1].splitlines()[0] == "attempt 1"
    code, _, err = rv_here("logs", failed_run.root, "hello.greet.2-of-2", "--attempt", 3)
    assert code == 2
    assert "attempts with a log: 1, 2" in err


def test_logs_without_a_task_lists_what_there_is(failed_run: Any, rv_here: Rv) -> None:
    code, out, _ = rv_here("logs", failed_run.root)
    assert code == 0
    assert re.fullmatch(r"hello\.greet\.2-of-2  failed +\d+ bytes, 2 attempts\n", out)


def test_logs_of_a_task_without_one_says_why(failed_run: Any, rv_here: Rv) -> None:
    code, out, err = rv_here("logs", failed_run.root, "train")
    assert (code, out) == (2, "")
    assert "hello.train has no log" in err
    assert "has not started (waiting: did not start: hello.greet is not done (failed))" in err


def test_logs_of_an_unknown_task_names_the_nearest(failed_run: Any, rv_here: Rv) -> None:
    code, _, err = rv_here("logs", failed_run.root, "hello.tarin")
    assert code == 2
    assert "did you mean 'hello.train'" in err


def test_logs_of_a_run_without_any_and_follow_without_a_task_are_refused(run_folder: Make, rv_here: Rv) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    assert "has no logs yet" in rv_here("logs", run.root)[2]
    code, _, err = rv_here("logs", run.root, "--follow")
    assert code == 2
    assert "which task's log?" in err


def test_following_the_log_of_an_ended_task_prints_it_and_ends(failed_run: Any, rv_here: Rv) -> None:
    code, out, _ = rv_here("logs", failed_run.root, "greet.2-of-2", "--follow")
    assert code == 0
    assert out.splitlines() == ["attempt 2", "Traceback", "  [bold]b.tif[/bold]"]


def test_an_empty_log_is_said_to_be_empty(failed_run: Any, rv_here: Rv) -> None:
    failed_run.log("hello.greet.1-of-2", "")
    for options in ([], ["--follow"]):
        code, out, err = rv_here("logs", failed_run.root, "greet.1-of-2", *options)
        assert (code, out, err) == (0, "", "hello.greet.1-of-2 printed nothing\n")


def test_following_a_task_that_printed_nothing_says_why(failed_run: Any, rv_here: Rv) -> None:
    code, out, err = rv_here("logs", failed_run.root, "train", "--follow")
    assert (code, out) == (0, "")
    assert "hello.train printed nothing: the task has not started" in err


def test_logs_that_only_the_engine_has_are_asked_for(
    run_folder: Make, rv_here: Rv, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(runner="far", capabilities={"detaches": True})
    run.job("greet", ["a"])
    run.write()

    class Engine:
        def observe(self, record: object) -> dict[str, object]:
            return {}

        def logs(self, record: object, task: str) -> Iterator[str]:
            if self.lines is None:
                raise ConnectionError("no credentials")
            yield from self.lines

        lines: list[str] | None = None

    engine = Engine()
    monkeypatch.setattr("rv_core.runner.loading.runner_of", lambda record: engine)
    code, _, err = rv_here("logs", run.root, "greet")
    assert code == 2
    assert "could not ask far: no credentials" in err
    engine.lines = ["from far\n", "away"]
    assert rv_here("logs", run.root, "greet")[1] == "from far\naway\n"


# --- cancel ------------------------------------------------------------------------------------------------------------


def test_cancel_ends_the_run_and_is_idempotent(run_folder: Make, rv_here: Rv, sleeper: subprocess.Popen[bytes]) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.marker(pid=sleeper.pid)
    code, out, _ = rv_here("cancel", run.root)
    assert code == 0
    assert out == f"run {run.run_id} is cancelled; what was done stays done\n"
    assert process_started(sleeper.pid) is None
    code, out, _ = rv_here("cancel", run.root)
    assert (code, out) == (0, f"nothing to cancel: run {run.run_id} has ended\n")


def test_cancel_of_a_folder_without_a_run_is_a_usage_error(tmp_path: Path, rv_here: Rv) -> None:
    code, _, err = rv_here("cancel", tmp_path)
    assert code == 2
    assert "no run found here" in err


def test_a_run_elsewhere_is_not_cancelled_from_here(run_folder: Make, rv_here: Rv) -> None:
    run = run_folder()
    run.job("greet", ["a"])
    run.write()
    run.marker(host="far-away", pid=7, started="x")
    code, _, err = rv_here("cancel", run.root)
    assert code == 2
    assert "on far-away: rv cancel" in err


# --- the real thing ------------------------------------------------------------------------------------------------------


def test_status_and_logs_of_a_real_run(rv: Any, tmp_path: Path) -> None:
    """A run by the real command line: what was written by hand above is what runs write."""
    arguments = ["-a", "root_uri", "out dir", "-a", "num_items", "4", "-a", "fail_on", "item-2"]
    assert rv("run", "inprocess", "rv_core.hello", "-s", 2, *arguments).returncode == 1
    plain = json.loads(rv("status", "out dir", "--json").stdout)
    assert plain["state"] == "failed"
    cpu, gpu = plain["jobs"]
    assert [t["state"] for t in cpu["tasks"]] == ["done", "failed"]
    assert (cpu["items_done"], cpu["items_total"], gpu["state"]) == (2, 4, "waiting")
    assert cpu["tasks"][1]["reason"] == "RuntimeError: asked to fail on item-2"
    assert "RuntimeError: asked to fail on item-2" in rv("logs", "out dir", "cpu_task.2-of-2").stdout
    text = rv("status", "out dir").stdout
    assert "'out dir' hello.cpu_task.2-of-2 --run" in text
    assert rv("run", "inprocess", "rv_core.hello", *arguments[:-1], "").returncode == 0
    assert "nothing is left to do" in rv("status", "out dir").stdout
    states = [line.split()[1] for line in rv("status", "out dir", "--all").stdout.splitlines()[1:]]
    assert states == ["done", "failed"]
