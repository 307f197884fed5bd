"""Real processes, real signals: whatever ends a run, no process of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import RunnerError
from rv_core.machine.process_table import is_alive, process_started, processes_of_run, snapshot
from rv_core.machine.processes import (
    end_process,
    end_processes_of_run,
    may_restart,
    run_in_session,
    run_task_process,
    stop_on_signals,
)
from rv_core.machine.shutdown import Interrupted

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finds processes by their environment in /proc")
pytestmark = linux_only

#: Runs argv[1] (JSON) in a session as run argv[2] with the grace argv[3]; exits with 200 + signal if interrupted.
ENGINE_DRIVER = """
import json, sys
from rv_core.machine.processes import run_in_session
from rv_core.machine.shutdown import Interrupted
try:
    sys.exit(run_in_session(json.loads(sys.argv[1]), run_id=sys.argv[2], grace_s=float(sys.argv[3])))
except Interrupted as interrupted:
    sys.exit(200 + interrupted.signum)
"""

#: The same with run_task_process from threads, three tasks on two threads; prints the exit codes.
THREADS_DRIVER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from rv_core.machine.processes import run_task_process, stop_on_signals
from rv_core.machine.shutdown import Interrupted
argv, run_id, grace_s = json.loads(sys.argv[1]), sys.argv[2], float(sys.argv[3])
codes = []
def run(number):
    codes.append(run_task_process(argv, run_id=run_id, grace_s=grace_s))
try:
    with stop_on_signals(run_id, grace_s=grace_s), ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(run, number) for number in range(3)]
        for future in futures:
            future.result()
except Interrupted as interrupted:
    print(json.dumps(sorted(codes)), flush=True)
    sys.exit(200 + interrupted.signum)
"""

SLEEPS = ["sleep", "60"]
TREE = ["sh", "-c", "sleep 60 & sleep 60 & wait"]
IGNORES_TERM = ["sh", "-c", "trap '' TERM INT HUP; sleep 60 & while :; do wait; done"]
LEAVES_SESSION = ["sh", "-c", "setsid sh -c 'sleep 60; :' & wait"]


@pytest.fixture
def run_id(request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"test-{os.getpid()}-{request.node.name}"
    yield name
    for pid in processes_of_run(name):
        os.kill(pid, signal.SIGKILL)


class Driver:
    """A process that runs something of a run, as `rv run` does."""

    def __init__(self, script: str, argv: list[str], run_id: str, grace_s: float, *, ignores_int: bool = False) -> None:
        self.run_id = run_id
        command = [sys.executable, "-c", script, json.dumps(argv), run_id, str(grace_s)]
        if ignores_int:
            command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait_for_processes(self, count: int) -> set[int]:
        return wait_until(lambda: found if len(found := processes_of_run(self.run_id)) >= count else None)

    def end(self, timeout_s: float = 10.0) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out


def wait_until(look: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def none_left(run_id: str) -> bool:
    return not processes_of_run(run_id)


def test_returns_the_exit_code_and_appends_the_output(tmp_path: Path, run_id: str) -> None:
    output = tmp_path / "engine.log"
    output.write_text("before\n")
    script = "echo out $RV_RUN_ID $EXTRA; echo err >&2; exit 7"

    code = run_in_session(
        ["sh", "-c", script], environ={**os.environ, "EXTRA": "a b"}, run_id=run_id, output=output, cwd=tmp_path
    )

    assert code == 7
    assert output.read_text() == f"before\nout {run_id} a b\nerr\n"


def test_starts_in_the_folder_and_in_a_session_of_its_own(tmp_path: Path, run_id: str) -> None:
    seen: list[int] = []
    sessions: list[int] = []

    def look(pid: int) -> None:
        seen.append(pid)
        sessions.append(os.getsid(pid))

    assert run_in_session(["sh", "-c", "pwd > here"], cwd=tmp_path, run_id=run_id, on_start=look) == 0
    assert sessions == seen
    assert (tmp_path / "here").read_text().strip() == str(tmp_path)


def test_death_by_a_signal_is_a_negative_exit_code(run_id: str) -> None:
    assert run_in_session(["sh", "-c", "kill -KILL $$"], run_id=run_id) == -signal.SIGKILL


@pytest.mark.parametrize("run", [run_in_session, run_task_process])
def test_what_cannot_be_started_is_explained(run: Callable[..., int], run_id: str) -> None:
    with pytest.raises(RunnerError, match="cannot start /no/such/program"):
        run(["/no/such/program"], run_id=run_id)


def test_handlers_are_put_back(run_id: str) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    threads = threading.active_count()

    run_in_session(["true"], run_id=run_id)

    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert threading.active_count() == threads


def test_no_descriptor_is_left_open(run_id: str) -> None:
    before = os.listdir("/proc/self/fd")
    run_in_session(["true"], run_id=run_id)
    run_task_process(["true"], run_id=run_id)
    assert os.listdir("/proc/self/fd") == before


def test_what_the_engine_leaves_in_its_session_is_ended(run_id: str) -> None:
    assert run_in_session(["sh", "-c", "sleep 60 & exit 0"], run_id=run_id, grace_s=5) == 0
    assert none_left(run_id)


def test_an_error_while_it_starts_ends_it(run_id: str) -> None:
    def fail(_pid: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_in_session(SLEEPS, run_id=run_id, grace_s=5, on_start=fail)
    assert none_left(run_id)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_whole_tree_at_once(signum: signal.Signals, run_id: str) -> None:
    driver = Driver(ENGINE_DRIVER, TREE, run_id, grace_s=30)
    driver.wait_for_processes(3)

    driver.process.send_signal(signum)

    assert driver.end()[0] == 200 + signum
    assert none_left(run_id)


def test_what_ignores_term_is_killed_after_the_grace(run_id: str) -> None:
    driver = Driver(ENGINE_DRIVER, IGNORES_TERM, run_id, grace_s=0.4)
    driver.wait_for_processes(2)
    started = time.monotonic()

    driver.process.terminate()

    assert driver.end()[0] == 200 + signal.SIGTERM
    assert 0.4 <= time.monotonic() - started < 5
    assert none_left(run_id)


def test_a_second_signal_kills_at_once(run_id: str) -> None:
    driver = Driver(ENGINE_DRIVER, IGNORES_TERM, run_id, grace_s=60)
    driver.wait_for_processes(2)

    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert driver.process.poll() is None
    driver.process.send_signal(signal.SIGINT)

    assert driver.end()[0] == 200 + signal.SIGINT
    assert none_left(run_id)


def test_what_left_the_session_is_found_by_its_run_id(run_id: str) -> None:
    driver = Driver(ENGINE_DRIVER, LEAVES_SESSION, run_id, grace_s=5)
    pids = driver.wait_for_processes(3)
    assert len({os.getsid(pid) for pid in pids}) == 2

    driver.process.terminate()

    driver.end()
    assert none_left(run_id)


def test_a_process_of_another_run_is_left_alone(run_id: str) -> None:
    other = subprocess.Popen(SLEEPS, env={**os.environ, "RV_RUN_ID": run_id + "-other"}, start_new_session=True)
    driver = Driver(ENGINE_DRIVER, SLEEPS, run_id, grace_s=5)
    driver.wait_for_processes(1)

    driver.process.terminate()

    driver.end()
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("script", [ENGINE_DRIVER, THREADS_DRIVER])
@pytest.mark.parametrize("argv", [TREE, IGNORES_TERM])
def test_nothing_is_left_when_the_starter_itself_is_killed(script: str, argv: list[str], run_id: str) -> None:
    driver = Driver(script, argv, run_id, grace_s=0.3)
    driver.wait_for_processes(2)

    driver.process.kill()

    driver.end()
    wait_until(lambda: none_left(run_id))


def test_no_moment_of_starting_is_without_a_guard(run_id: str) -> None:
    drivers = [Driver(THREADS_DRIVER, SLEEPS, run_id, grace_s=0.3) for _ in range(8)]
    drivers[0].wait_for_processes(1)  # by now the others are at different points of their start

    for driver in drivers:
        driver.process.kill()

    for driver in drivers:
        driver.end()  # waits for the end of what they started, too: it holds the pipe
    assert none_left(run_id)


def test_tasks_have_their_grace_when_the_starter_is_killed(run_id: str, tmp_path: Path) -> None:
    saves = ["sh", "-c", f"trap 'sleep 0.2; echo saved > {tmp_path}/state; exit 75' TERM; sleep 60 & wait"]
    driver = Driver(ENGINE_DRIVER, saves, run_id, grace_s=20)
    driver.wait_for_processes(2)

    driver.process.kill()

    wait_until((tmp_path / "state").exists)
    wait_until(lambda: none_left(run_id))
    driver.end()


def test_a_run_goes_on_without_its_guard(run_id: str) -> None:
    driver = Driver(ENGINE_DRIVER, ["sleep", "0.4"], run_id, grace_s=5)
    driver.wait_for_processes(1)
    (guard,) = [
        e.pid for e in snapshot().values() if e.parent == driver.process.pid and e.pid not in processes_of_run(run_id)
    ]

    os.kill(guard, signal.SIGKILL)

    assert driver.end()[0] == 0


def test_death_of_the_engine_alone_ends_its_tasks(run_id: str) -> None:
    driver = Driver(ENGINE_DRIVER, TREE, run_id, grace_s=5)
    pids = driver.wait_for_processes(3)
    (engine,) = [pid for pid in pids if os.getsid(pid) == pid]

    os.kill(engine, signal.SIGKILL)

    code, _ = driver.end()
    assert code == (-signal.SIGKILL) % 256
    assert none_left(run_id)


def test_an_ignored_interrupt_stays_ignored_here_but_not_in_what_is_started(run_id: str, tmp_path: Path) -> None:
    script = f"echo {tmp_path}; grep SigIgn /proc/$$/status > {tmp_path}/ignored; exec sleep 60"
    driver = Driver(ENGINE_DRIVER, ["sh", "-c", script], run_id, grace_s=5, ignores_int=True)
    wait_until(lambda: (tmp_path / "ignored").exists() and (tmp_path / "ignored").read_text())

    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert driver.process.poll() is None
    driver.process.terminate()

    assert driver.end()[0] == 200 + signal.SIGTERM
    mask = int((tmp_path / "ignored").read_text().split()[1], 16)
    assert not mask & (1 << (signal.SIGINT - 1))


def test_a_run_inside_a_task_ends_with_it(run_id: str) -> None:
    inner = run_id + "-inner"
    nested = [sys.executable, "-c", ENGINE_DRIVER, json.dumps(TREE), inner, "5"]
    driver = Driver(ENGINE_DRIVER, nested, run_id, grace_s=10)
    wait_until(lambda: len(processes_of_run(inner)) == 3)

    driver.process.terminate()

    driver.end()
    assert none_left(inner)
    assert none_left(run_id)


def test_tasks_started_from_threads_end_and_no_further_one_starts(run_id: str) -> None:
    driver = Driver(THREADS_DRIVER, SLEEPS, run_id, grace_s=10)
    driver.wait_for_processes(2)

    driver.process.send_signal(signal.SIGINT)

    code, out = driver.end()
    assert code == 200 + signal.SIGINT
    assert json.loads(out) == [-signal.SIGTERM, -signal.SIGTERM, 75]
    assert none_left(run_id)


def test_task_processes_of_threads_return_their_own_codes(run_id: str, tmp_path: Path) -> None:
    codes: dict[int, int] = {}

    def run(code: int) -> None:
        argv = ["sh", "-c", f"echo {code}; exit {code}"]
        codes[code] = run_task_process(argv, run_id=run_id, log_path=tmp_path / f"{code}.log")

    threads = [threading.Thread(target=run, args=(code,)) for code in range(4)]
    with stop_on_signals(run_id, grace_s=1):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert codes == {0: 0, 1: 1, 2: 2, 3: 3}
    assert (tmp_path / "3.log").read_text() == "3\n"


def test_a_signal_while_nothing_runs_interrupts_at_once(run_id: str) -> None:
    with pytest.raises(Interrupted) as caught, stop_on_signals(run_id, grace_s=1):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert caught.value.signum == signal.SIGTERM
    assert str(caught.value) == "ended by SIGTERM"


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (0, False),
        (1, False),
        (2, False),
        (75, True),
        (-9, True),
        (137, True),
        (192, True),
        (128, False),
        (200, False),
        (255, False),
    ],
)
def test_only_stopped_or_killed_tasks_are_worth_another_attempt(exit_code: int, expected: bool) -> None:
    assert may_restart(exit_code) is expected


def test_processes_of_a_run_are_ended_without_their_starter(run_id: str) -> None:
    process = subprocess.Popen(TREE, env={**os.environ, "RV_RUN_ID": run_id}, start_new_session=True)
    wait_until(lambda: len(processes_of_run(run_id)) == 3)

    assert end_processes_of_run(run_id, grace_s=5) == set()

    process.wait()
    assert none_left(run_id)


def test_a_process_is_asked_to_end_and_then_killed() -> None:
    obeys, ignores = subprocess.Popen(SLEEPS), subprocess.Popen(IGNORES_TERM, start_new_session=True)
    wait_until(lambda: any(entry.parent == ignores.pid for entry in snapshot().values()))

    assert end_process(obeys.pid, str(process_started(obeys.pid)), grace_s=10)
    assert end_process(ignores.pid, str(process_started(ignores.pid)), grace_s=0.1)

    assert obeys.wait() == -signal.SIGTERM
    assert ignores.wait() == -signal.SIGKILL
    os.killpg(ignores.pid, signal.SIGKILL)


def test_a_process_that_only_got_the_same_id_is_not_ended() -> None:
    process = subprocess.Popen(SLEEPS)
    assert not end_process(process.pid, "another start", grace_s=1)
    assert is_alive(process.pid)
    process.kill()
    process.wait()
    assert not end_process(process.pid, "", grace_s=1)
