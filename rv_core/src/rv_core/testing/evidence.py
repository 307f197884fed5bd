"""What runs leave under a root, read from there alone: records, events, manifests and the notes of the probes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any
from unittest import mock

from rv_core.files import by_uri, uris
from rv_core.files.local import FileInfo
from rv_core.record.event_writer import Event
from rv_core.record.events import parse_lines, task_and_attempt

_NOT_OUTPUTS = (".rv/", "markers/", "pipeline-config.json")


class Evidence:
    """A root at the moment when this is made.

    Args:
        root_uri: the root.
        environ: the environment in which the root can be read; this process's own by default.
    """

    def __init__(self, root_uri: str, environ: Mapping[str, str] | None = None) -> None:
        self.root_uri = root_uri
        self._environ = dict(os.environ if environ is None else environ)
        with mock.patch.dict(os.environ, self._environ, clear=True):
            #: Every file under the root by its relative name.
            self.files: Mapping[str, FileInfo] = by_uri.list_files(root_uri)

    def read_json(self, name: str) -> Any:
        """A JSON file under the root, for instance a note of a probe."""
        return json.loads(self._read([name])[name])

    def _read(self, names: Iterable[str]) -> dict[str, bytes]:
        wanted = {uris.join(self.root_uri, name): name for name in names}
        with mock.patch.dict(os.environ, self._environ, clear=True):
            return {wanted[uri]: data for uri, data in by_uri.read_many(list(wanted)).items()}

    def outputs(self) -> dict[str, bytes]:
        """Everything that tasks wrote, by relative name."""
        return self._read(name for name in self.files if not name.startswith(_NOT_OUTPUTS))

    def records(self) -> dict[str, bytes]:
        """Everything that rv itself wrote, by relative name."""
        return self._read(name for name in self.files if name.startswith((".rv/", "pipeline-config.json")))

    @cached_property
    def run_ids(self) -> list[str]:
        """The ids of all runs, oldest first."""
        return sorted({name.split("/")[2] for name in self.files if _is_record(name, "run.json")})

    def plan(self, run_id: str = "") -> Any:
        """`plan.json` of a run, the last one if none is named."""
        return self.read_json(f".rv/runs/{run_id or self.run_ids[-1]}/plan.json")

    def attempts(self, run_id: str = "") -> dict[str, dict[int, list[Event]]]:
        """Task -> attempt -> its events, of a run (the last one if none is named)."""
        found: dict[str, dict[int, list[Event]]] = {}
        for name, data in self._read_folder(run_id, "events").items():
            named = task_and_attempt(name)
            if named:
                found.setdefault(named[0], {})[named[1]] = parse_lines(data)
        return found

    def submission(self, run_id: str = "") -> list[Event]:
        """The events of the process that submitted a run."""
        return parse_lines(self._read_folder(run_id, "events").get("submission.jsonl", b""))

    def logs(self, run_id: str = "") -> dict[str, str]:
        """File name -> text of every log under the root."""
        return {name: data.decode("utf-8", "replace") for name, data in self._read_folder(run_id, "logs").items()}

    def _read_folder(self, run_id: str, folder: str) -> dict[str, bytes]:
        prefix = f".rv/runs/{run_id or (self.run_ids or ['none'])[-1]}/{folder}/"
        return {uris.name_of(n): data for n, data in self._read(n for n in self.files if n.startswith(prefix)).items()}

    def manifests(self, command: str) -> dict[str, Any]:
        """Item -> manifest of everything that is done of a command."""
        prefix = f".rv/done/{command}/"
        names = [name for name in self.files if name.startswith(prefix) and name.endswith(".json")]
        found = map(json.loads, self._read(names).values())
        return {manifest["item"]: manifest for manifest in found}

    def refused(self, run_id: str = "") -> list[str]:
        """Tasks that were started before what they require was done, and which `run-command` therefore refused."""
        return [
            task
            for task, attempts in self.attempts(run_id).items()
            if any("cannot start" in str(event.get("reason", "")) for events in attempts.values() for event in events)
        ]

    def worked_items(self, command: str, run_id: str = "") -> list[str]:
        """The items of a command that tasks of a run did themselves, once for each time."""
        return sorted(
            event["item"]
            for task, attempts in self.attempts(run_id).items()
            for events in attempts.values()
            for event in events
            if event["event"] == "item" and event["state"] == "done" and command_of(task) == command
        )

    def markers(self) -> dict[str, bytes]:
        """The markers by which the probes talk to the rules."""
        return {uris.name_of(n): data for n, data in self._read(n for n in self.files if n[:8] == "markers/").items()}


def command_of(task: str) -> str:
    """The command of a task of a probe; their pipelines have no dot in their names."""
    return task.split(".")[1]


def _is_record(name: str, file: str) -> bool:
    parts = name.split("/")
    return len(parts) == 4 and parts[:2] == [".rv", "runs"] and parts[3] == file
