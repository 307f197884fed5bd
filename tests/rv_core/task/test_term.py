"""TERM at every moment on the way to a command and back: it is never a traceback, and takes no work back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rv_core.cli.app import main
from rv_core.record.layout import MARKER

#: Runs a command line in which TERM arrives at a moment that is met by construction.
SCRIPT = """\
import os, signal, sys
from rv_core.__main__ import main
from rv_core.record.event_writer import EventWriter
from rv_core.task import log

def before(owner, name, is_it):
    real = getattr(owner, name)
    def call(*arguments, **named):
        if is_it(arguments):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **named)
    setattr(owner, name, call)

moment = sys.argv[1]
if moment == "opened":
    before(log, "_first_free", lambda arguments: True)
else:
    before(EventWriter, "write", lambda arguments: arguments[1] == moment)
sys.exit(main(sys.argv[2:]))
"""


def with_term(moment: str, *words: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-c", SCRIPT, moment, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def last_events(root: Path) -> dict[str, str]:
    """Task -> its last event, by the newest attempt."""
    found = {}
    for path in sorted(root.glob(".rv/runs/*/events/hello.*.jsonl")):
        lines = path.read_text().splitlines()
        found[path.name.rsplit(".", 2)[0]] = json.loads(lines[-1])["event"] if lines else ""
    return found


@pytest.mark.parametrize(
    ("moment", "events"),
    [
        ("opened", {}),
        ("started", {"hello.cpu_task": "stopped"}),
        ("finished", {"hello.cpu_task": "finished"}),
    ],
)
def test_a_run_in_one_process_ends_with_130(tmp_path: Path, moment: str, events: dict[str, str]) -> None:
    root = tmp_path / "out"
    done = with_term(moment, "run", "inprocess", "rv_core.hello", "-a", f"root_uri={root}")
    said = done.stdout + done.stderr
    assert done.returncode == 130, said
    assert "Traceback" not in said
    assert "interrupted: what was finished is kept; the same command goes on from here" in said
    assert last_events(root) == events
    assert not (root / MARKER).exists()
    assert main(["run", "inprocess", "rv_core.hello", "-a", f"root_uri={root}"]) == 0


@pytest.mark.parametrize(
    ("moment", "code", "event"), [("started", 75, "stopped"), ("finished", 0, "finished"), ("failed", 1, "failed")]
)
def test_a_task_in_a_process_of_its_own_says_how_it_ended(tmp_path: Path, moment: str, code: int, event: str) -> None:
    root = tmp_path / "out"
    fails = ["-a", "fail_on=item-1"] if moment == "failed" else []
    assert main(["run", "inprocess", "rv_core.hello", "-a", f"root_uri={root}", *fails]) == code % 75
    (config,) = root.glob(".rv/runs/*/pipeline-config.json")
    done = with_term(moment, "run-command", config, "cpu_task")
    assert done.returncode == code, done.stdout + done.stderr
    assert "TaskStopped" not in done.stdout + done.stderr
    assert last_events(root)["hello.cpu_task"] == event
