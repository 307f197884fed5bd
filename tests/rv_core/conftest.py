"""Fixtures for the core's tests: run folders made by hand, in the formats that real runs write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rv_core.machine.process_table import host_name, process_started
from rv_core.plan.manifests import Manifest
from rv_core.record.event_writer import timestamp
from rv_core.record.marker import Marker
from rv_core.record.run_record import RunRecord

#: When hand-made runs start, in seconds since 1970.
START_S = 1_795_000_000.0
RUN_ID = "20261118-110640-abc123"


class RunFolder:
    """A root with the record of one run of one pipeline `hello`.

    Args:
        root: the root.
        run_id: the run's id.
        runner: the runner's name.
        capabilities: what `run.json` says of the runner.
    """

    def __init__(
        self, root: Path, run_id: str = RUN_ID, runner: str = "local", capabilities: dict[str, Any] | None = None
    ) -> None:
        self.root = root
        self.run_id = run_id
        self.dir = root / ".rv" / "runs" / run_id
        self.record = RunRecord(
            run_id=run_id,
            runner=runner,
            created=timestamp(START_S),
            pipelines=({"name": "hello", "root_uri": str(root)},),
            user="ada",
            host=host_name(),
            pid=os.getpid(),
            argv=("/opt/bin/rv", "run", runner, "experiment.py", "-s", "5"),
            cwd=os.getcwd(),
            capabilities={"detaches": False, **(capabilities or {})},
        )
        self._commands: list[dict[str, Any]] = []
        self._jobs: list[dict[str, Any]] = []

    def job(
        self,
        command: str,
        items: Sequence[str] = ("all",),
        *,
        splits: int = 1,
        requires: Sequence[str] = (),
        done: Sequence[str] = (),
        decision: str = "run",
    ) -> str:
        """Plan a command; `items` are to do, `done` were done before."""
        job = f"hello.{command}"
        required = [f"hello.{name}" for name in requires]
        entry = {"command": command, "job": job, "key": "k" * 16, "decision": decision, "reasons": ["not done yet"]}
        sizes = {"num_items": len(items) + len(done), "num_to_do": len(items), "requires": required}
        self._commands.append({**entry, **sizes})
        if decision == "run":
            planned = {"id": job, "pipeline": "hello", "command": command, "requires": required}
            self._jobs.append({**planned, "num_splits": splits, "resources": {}})
        record = {
            "job": job,
            "command": command,
            "items": [{"id": name, "key": self.key(name), "group": "", "inputs": {}} for name in items],
            "done": [{"id": name, "key": self.key(name)} for name in done],
        }
        self._write(f"items/{job}.json", json.dumps(record))
        for name in done:
            self.finish_item(command, name)
        return job

    def write(self) -> RunFolder:
        """Write `run.json` and `plan.json`."""
        pipelines = {"hello": {"root_uri": str(self.root), "commands": self._commands}}
        plan = {"format": 1, "run_id": self.run_id, "pipelines": pipelines, "jobs": self._jobs}
        self._write("plan.json", json.dumps(plan))
        self._write("run.json", self.record.to_text())
        return self

    @staticmethod
    def key(item: str) -> str:
        """The key of an item."""
        return f"{abs(hash(item)) % 16**16:016x}"

    def finish_item(self, command: str, *items: str) -> None:
        """Write manifests of items."""
        for item in items:
            manifest = Manifest(command, item, self.key(item))
            path = self.root / manifest.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(manifest.to_text())

    def event(self, task: str, event: str, at: float = 0.0, *, attempt: int = 1, **fields: Any) -> None:
        """Append an event of a task, `at` seconds after the start of the run."""
        self._append_own(task, attempt, {"time": timestamp(START_S + at), "event": event, **fields})

    def started(self, task: str, at: float = 0.0, *, attempt: int = 1, pid: int | None = None, host: str = "") -> None:
        """Append `started`; by default by this very process."""
        which = {"run_id": self.run_id, "task": task, "attempt": attempt}
        who = {**which, "host": host or host_name(), "pid": pid or os.getpid()}
        self._append_own(task, attempt, {"time": timestamp(START_S + at), "event": "started", **who})

    def submission(self, event: str, at: float = 0.0, **fields: Any) -> None:
        """Append an event of the submitting process."""
        self._append(
            self.dir / "events" / "submission.jsonl", {"time": timestamp(START_S + at), "event": event, **fields}
        )

    def log(self, task: str, text: str, attempt: int = 1) -> Path:
        """Write a log."""
        return self._write(f"logs/{task}.{attempt}.log", text)

    def marker(self, *, pid: int | None = None, started: str = "", host: str = "", detached: bool = False) -> None:
        """Set the marker of the one unfinished run; by default of this very process."""
        pid = pid or os.getpid()
        marker = Marker(
            self.run_id,
            self.record.runner,
            host or host_name(),
            pid,
            started or str(process_started(pid)),
            self.record.created,
            detached,
        )
        path = self.root / ".rv" / "active-run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(marker.to_text())

    def _write(self, name: str, text: str) -> Path:
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _append_own(self, task: str, attempt: int, event: dict[str, Any]) -> None:
        self._append(self.dir / "events" / f"{task}.{attempt}.jsonl", event)

    @staticmethod
    def _append(path: Path, event: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(event) + "\n")


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., RunFolder]:
    """`run_folder()` makes the record of a run under `tmp_path/root`, step by step."""

    def make(name: str = "root", run_id: str = RUN_ID, **options: Any) -> RunFolder:
        return RunFolder(tmp_path / name, run_id, **options)

    return make
