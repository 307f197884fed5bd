"""The script of a job, run by the real shell: attempts, signals, the split index, what it leaves."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rv_runner_slurm.job_script import Traces, render_script

_SLURM = {"SLURM_JOB_ID": "12", "SLURM_CPUS_ON_NODE": "3"}


def script_of(
    folder: Path, argv: Sequence[str], *, first: int | None = None, attempts: int = 1, setup: Sequence[str] = ()
) -> str:
    traces = Traces(folder, "p.work", first)
    return render_script(argv, run_id="r1", job="p.work", traces=traces, attempts=attempts, setup=setup)


def start(script: str, environ: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        ["/bin/sh", "-s"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **_SLURM, **(environ or {})},
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(script)
    process.stdin.close()
    process.stdin = None
    return process


def run(script: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    process = start(script, environ)
    out, err = process.communicate(timeout=30)
    return process.returncode, out + err


def program(folder: Path, text: str) -> list[str]:
    """A program that appends a line to `calls` and then does what the text says."""
    path = folder / "task.py"
    calls = (
        f"import os, signal, sys, time\nopen({str(folder / 'calls')!r}, 'a').write(os.environ['RV_ATTEMPT'] + '\\n')\n"
    )
    path.write_text(calls + text)
    return [sys.executable, "-S", str(path)]


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().split()


def test_the_exit_code_is_that_of_the_task_and_is_left_for_later(tmp_path: Path) -> None:
    code, _ = run(script_of(tmp_path, program(tmp_path, "sys.exit(7)")))
    assert (code, (tmp_path / "p.work.exit").read_text()) == (7, "7\n")
    assert calls(tmp_path) == ["1"]


@pytest.mark.parametrize("end", ["sys.exit(75)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_task_that_was_stopped_or_killed_is_started_again_up_to_its_attempts(tmp_path: Path, end: str) -> None:
    code, _ = run(script_of(tmp_path, program(tmp_path, end), attempts=3))
    assert code == (75 if "75" in end else 137)
    assert calls(tmp_path) == ["1", "2", "3"]


def test_a_second_attempt_that_ends_well_ends_the_script_well(tmp_path: Path) -> None:
    end = "sys.exit(75 if os.environ['RV_ATTEMPT'] == '1' else 0)"
    assert run(script_of(tmp_path, program(tmp_path, end), attempts=3))[0] == 0
    assert calls(tmp_path) == ["1", "2"]


def test_a_task_that_fails_by_itself_is_not_started_again(tmp_path: Path) -> None:
    assert run(script_of(tmp_path, program(tmp_path, "sys.exit(1)"), attempts=3))[0] == 1
    assert calls(tmp_path) == ["1"]


def test_a_job_that_slurm_started_again_counts_on(tmp_path: Path) -> None:
    (tmp_path / "p.work.exit").write_text("1\n")  # of the start before
    script = script_of(tmp_path, program(tmp_path, "sys.exit(75)"), attempts=3)
    run(script, {"SLURM_RESTART_COUNT": "2"})
    assert calls(tmp_path) == ["3"]
    assert (tmp_path / "p.work.exit").read_text() == "75\n"


def test_a_task_of_an_array_gets_its_split_index_and_files_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "it's 100% ours; $HOME"
    folder.mkdir()
    argv = program(tmp_path, "print(sys.argv[1:])\nsys.exit(4)")
    code, said = run(script_of(folder, argv, first=1000), {"SLURM_ARRAY_TASK_ID": "5"})
    assert (code, said.strip()) == (4, "['--split-index', '1005']")
    assert (folder / "p.work.5.exit").read_text() == "4\n"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=4))
def test_words_of_the_command_line_arrive_unchanged(tmp_path: Path, words: list[str]) -> None:
    argv = program(tmp_path, "print(ascii(sys.argv[1:]))")
    code, said = run(script_of(tmp_path, [*argv, *words]), {"LC_ALL": "C.UTF-8"})
    assert (code, said.strip()) == (0, ascii(words))


def test_threads_are_the_cores_of_the_job_and_devices_are_slurms(tmp_path: Path) -> None:
    argv = program(tmp_path, "print(os.environ['RV_NUM_THREADS'], os.environ.get('RV_GPUS'))")
    environ = {"RV_NUM_THREADS": "64", "RV_GPUS": "0,1"}
    assert run(script_of(tmp_path, argv), environ)[1].split() == ["3", "None"]
    assert run(script_of(tmp_path, argv), {**environ, "SLURM_CPUS_PER_TASK": "2"})[1].split() == ["2", "None"]


def test_lines_of_the_setup_come_first_and_hold_for_the_task(tmp_path: Path) -> None:
    argv = program(tmp_path, "print(os.environ['LOADED'])")
    script = script_of(tmp_path, argv, setup=["LOADED='a {b} $'", "export LOADED"])
    assert run(script)[1].strip() == "a {b} $"


@pytest.mark.parametrize(
    ("setup", "code"),
    [
        (["no_such_program load cuda", "LOADED=1"], 127),
        (["exit 7"], 7),
        (["exit 0"], 1),
        (["cd /no/such/folder || exit 3", "LOADED=1"], 3),
        (["if true; then", "  false", "fi", "LOADED=1"], 1),
    ],
)
def test_a_line_of_the_setup_that_fails_ends_the_job(tmp_path: Path, setup: list[str], code: int) -> None:
    script = script_of(tmp_path, program(tmp_path, "print('the task ran')"), setup=setup)
    ended, said = run(script)
    assert ended == code
    assert f"the setup of this job ended with exit code {code}; its task was not started" in said
    assert "the task ran" not in said
    assert (tmp_path / "p.work.exit").read_text() == f"{code}\n"


def test_a_line_of_the_setup_may_allow_for_failing(tmp_path: Path) -> None:
    argv = program(tmp_path, "print(os.environ['LOADED']); sys.exit(9)")
    setup = ["no_such_program || true", "if false; then exit 5; fi", "export LOADED=yes"]
    ended, said = run(script_of(tmp_path, argv, setup=setup))
    assert ended == 9
    assert "yes" in said.splitlines()


WAITS = """
def stop(*_):
    time.sleep(0.2)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1], 'w').close()
while True:
    time.sleep(0.05)
"""


def _signalled(script: str, started: Path, signum: int, environ: Mapping[str, str] | None = None) -> int:
    process = start(script, environ)
    end = time.monotonic() + 20
    while not started.exists():
        assert time.monotonic() < end, process.communicate()
        time.sleep(0.02)
    process.send_signal(signum)
    process.communicate(timeout=30)
    return process.returncode


def test_term_reaches_the_task_which_is_waited_for_and_not_started_again(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = script_of(tmp_path, [*program(tmp_path, WAITS), str(started)], attempts=3)
    assert _signalled(script, started, signal.SIGTERM) == 75
    assert calls(tmp_path) == ["1"]
    assert (tmp_path / "p.work.exit").read_text() == "75\n"


@pytest.mark.parametrize(
    ("first", "asked"), [(None, "requeue 12"), (0, "requeue 11_4")], ids=["a plain job", "a task of an array"]
)
def test_before_the_time_limit_the_task_saves_its_state_and_slurm_is_asked_to_go_on(
    tmp_path: Path, first: int | None, asked: str
) -> None:
    """The real scontrol is asked in test_slurm_runs.py; here it refuses, as it does where requeueing is off."""
    words, started = tmp_path / "words", tmp_path / "started"
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$*" > {words}\nexit 1\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    environ = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_ARRAY_JOB_ID": "11",
        "SLURM_ARRAY_TASK_ID": "4",
    }
    script = script_of(tmp_path, [*program(tmp_path, WAITS), str(started)], first=first, attempts=2)
    # The script waits a little for its end; that is cut short here.
    assert _signalled(script.replace("sleep 5", "sleep 0.1"), started, signal.SIGUSR1, environ) == 75
    assert words.read_text().strip() == asked
    assert calls(tmp_path) == ["1"]


def test_before_the_time_limit_a_task_without_attempts_left_just_ends(tmp_path: Path) -> None:
    started = tmp_path / "started"
    script = script_of(tmp_path, [*program(tmp_path, WAITS), str(started)], attempts=1)
    assert _signalled(script, started, signal.SIGUSR1) == 75
