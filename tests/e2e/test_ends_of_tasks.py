"""How a task ends: what its exit code says, and that its time limit comes whatever the command does."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import RvCli

MODULE = """
import os, signal, sys, threading, time
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, command

@dataclass
class C(PipelineConfig):
    def build(self): return P(self)

class P(Pipeline):
    @command({options})
    def up(self) -> None:
        with open(os.path.join(os.path.dirname({folder!r}), "starts"), "a") as file:
            file.write("x")
        {body}

    @command(requires=("up",))
    def after(self) -> None:
        self.storage.write_text("after.txt", "")

def get_config(runner, root_uri: str = "out"):
    return C(root_uri=root_uri)
"""


def write_module(folder: Path, body: str, options: str = "") -> Path:
    path = folder / "exp.py"
    path.write_text(MODULE.format(body=body, options=options, folder=str(path)))
    return path


def failed_task(rv: RvCli, folder: Path) -> dict[str, Any]:
    status = json.loads(rv("status", "out", "--json", cwd=folder).stdout)
    (task,) = [task for job in status["jobs"] for task in job["tasks"] if task["state"] == "failed"]
    return dict(task)


@pytest.mark.parametrize("runner", ["local", "inprocess"])
@pytest.mark.parametrize(
    ("code", "shown"), [("-1", 255), ("200", 200), ("256", 1), ("75", 1), ("137", 1), ("7", 7), ("0", 1), ("'no'", 1)]
)
def test_sys_exit_of_a_command_is_an_exit_code_and_no_signal(
    rv: RvCli, tmp_path: Path, runner: str, code: str, shown: int
) -> None:
    write_module(tmp_path, f"sys.exit({code})", "attempts=3")
    done = rv("run", runner, "exp.py", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "starts").read_text() == "x"
    assert "killed" not in done.stdout + done.stderr
    assert f"the command called sys.exit({code})" in done.stderr
    assert not (tmp_path / "out" / "after.txt").exists()
    assert failed_task(rv, tmp_path)["exit_code"] == shown


LOOP = """
        while True:
            try:
                time.sleep(60)
            except:
                pass
"""
ALARM = """
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.alarm(3000)
        time.sleep(3000)
"""
THREAD = """
        threading.Thread(target=time.sleep, args=(3000,)).start()
"""
HELD = """
        import re
        re.match(r"(a+)+$", "a" * 60 + "b")
"""


@pytest.mark.parametrize(
    "body", [LOOP, ALARM, THREAD, HELD], ids=["bare except", "alarm", "thread", "interpreter held"]
)
def test_the_time_limit_comes_whatever_the_command_does(rv: RvCli, tmp_path: Path, body: str) -> None:
    write_module(tmp_path, body.strip("\n").lstrip(), "timeout_s=1")
    began = time.monotonic()
    done = rv("run", "local", "exp.py", cwd=tmp_path, env={"RV_GRACE_S": "0.5"})
    assert done.returncode == 1, done.stdout
    assert time.monotonic() - began < 60
    (events,) = (tmp_path / "out").glob(".rv/runs/*/events/c.up.1.jsonl")
    if body != HELD:  # nothing can be written while the interpreter is held
        last = json.loads(events.read_text().splitlines()[-1])
        assert (last["event"], last["exit_code"]) == ("failed", 1)
        assert last["reason"].startswith("timed out after 1 s")
    assert not (tmp_path / "out" / "after.txt").exists()


DIES_EARLY = """
import os, sys
if "run-command" in sys.orig_argv:
    os.write(2, b"the library of everything is missing\\n")
    os._exit(4)
"""


def test_a_task_that_ends_before_its_log_is_open_has_a_reason(rv: RvCli, tmp_path: Path) -> None:
    """As a broken installation, an import that fails or a full process table does."""
    write_module(tmp_path, "pass")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(DIES_EARLY)
    done = rv("run", "local", "exp.py", cwd=tmp_path, env={"PYTHONPATH": str(site)})
    assert done.returncode == 1
    assert "c.up failed with exit code 4: the library of everything is missing" in done.stderr
    assert "  | the library of everything is missing" in done.stderr
    assert "not started: c.after" in done.stderr
    for words in (("status", "out"), ("logs", "out", "c.up")):
        shown = rv(*words, cwd=tmp_path).stdout
        assert "the library of everything is missing" in shown, shown
    after = rv("logs", "out", "c.after", cwd=tmp_path)
    assert after.returncode == 2
    assert "the library of everything" not in after.stdout


@pytest.mark.parametrize("runner", ["local", "inprocess"])
def test_an_exception_without_a_text_is_told_by_its_class(rv: RvCli, tmp_path: Path, runner: str) -> None:
    body = "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})()"
    write_module(tmp_path, body.replace("{", "{{").replace("}", "}}").format())
    done = rv("run", runner, "exp.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "this is a bug in rv" not in done.stderr
    reason = "Mute: its text cannot be had, its __str__ raised ZeroDivisionError"
    assert failed_task(rv, tmp_path)["reason"] == reason


def test_a_task_that_ends_its_process_has_an_exit_code_and_no_empty_reason(rv: RvCli, tmp_path: Path) -> None:
    write_module(tmp_path, "os._exit(5)")
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 1
    assert "\nc.up failed with exit code 5\n" in done.stderr


def test_a_reason_of_a_megabyte_is_cut(rv: RvCli, tmp_path: Path) -> None:
    write_module(tmp_path, "raise ValueError('x' * 1_000_000)")
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stdout) + len(done.stderr) < 30_000
    assert failed_task(rv, tmp_path)["reason"].endswith("x… (1000012 characters)")


def test_a_forked_child_that_raises_is_its_parents_affair(rv: RvCli, tmp_path: Path) -> None:
    body = (
        "pid = os.fork()\n        if pid == 0: raise ValueError('in the child')\n        assert os.waitpid(pid, 0)[1]"
    )
    write_module(tmp_path, body)
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout + done.stderr
    (log,) = (tmp_path / "out").glob(".rv/runs/*/logs/c.up.1.log")
    assert "ValueError: in the child" in log.read_text()


def test_logs_of_tasks_in_the_process_of_rv_run_hold_whatever_python_prints(rv: RvCli, tmp_path: Path) -> None:
    write_module(
        tmp_path,
        "print('first'); sys.stdout.writelines(['one\\n', 'two\\n']); sys.stdout.buffer.write(b'bytes\\n'); "
        "sys.stdout.close(); print('last')",
    )
    done = rv("run", "inprocess", "exp.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out").glob(".rv/runs/*/logs/c.up.1.log")
    assert log.read_text().split() == ["first", "one", "two", "bytes", "last"]
    assert [word for word in done.stdout.split() if word in log.read_text().split()] == log.read_text().split()


def test_a_locale_without_umlauts_ends_no_task_that_prints_one(rv: RvCli, tmp_path: Path) -> None:
    write_module(tmp_path, "print('\\xfcber')")
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = rv("run", "local", "exp.py", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out").glob(".rv/runs/*/logs/c.up.1.log")
    assert log.read_text(encoding="utf-8").strip() == "über"


NOWHERE = "import os\nif not os.path.exists(__file__): os._exit(0)\n"


@pytest.mark.parametrize(
    ("words", "top", "body", "code", "says"),
    [
        (("run", "local"), "import os; os._exit(0)\n", "pass", 2, "exp.py:1 in <module>: import os; os._exit(0)"),
        (("check",), NOWHERE, "pass", 2, "failed itself (exit code 0): it gave no answer"),
        (("run", "inprocess"), "", "__import__('os')._exit(0)", 1, "the command called os._exit(0)"),
    ],
    ids=["module", "module in a check", "command"],
)
def test_os_exit_0_is_nowhere_taken_for_done(
    rv: RvCli, tmp_path: Path, words: tuple[str, ...], top: str, body: str, code: int, says: str
) -> None:
    write_module(tmp_path, body)
    (tmp_path / "exp.py").write_text(top + (tmp_path / "exp.py").read_text())
    done = rv(*words, "exp.py", cwd=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert says in done.stderr and "Traceback" not in done.stderr
