"""What the rules for pipelines work with: saved configs, runs of them in fresh processes, and what these leave."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from rv_core.config import saved as config_file
from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.testing.command_lines import Finished
from rv_core.testing.evidence import Evidence
from rv_core.testing.workbench import Workbench

#: A signal comes at a random moment of this share of the time that an undisturbed run takes.
_SIGNAL_RANGE = (0.15, 0.95)


@dataclass(frozen=True)
class PipelineRun:
    """A run that has ended well.

    Args:
        saved: the path of its saved config.
        root: its root.
        commands: the names of its commands.
        finished: its command line.
        evidence: what it left.
        duration_s: how long it took.
        varying_outputs: patterns of outputs that may differ from run to run.
    """

    saved: str
    root: str
    commands: tuple[str, ...]
    finished: Finished
    evidence: Evidence
    duration_s: float = 0.0
    varying_outputs: tuple[str, ...] = ()

    def recorded(self) -> Iterator[tuple[str, str]]:
        """(command and item, path) of every output that a manifest names."""
        for command in self.commands:
            for item, manifest in self.evidence.manifests(command).items():
                yield from ((f"{command} {item}", output["path"]) for output in manifest["outputs"])

    def made(self) -> dict[str, dict[str, str]]:
        """Command, item and key -> path -> SHA-256 of its outputs, but for those that may vary."""
        found = {}
        for command in self.commands:
            for item, manifest in self.evidence.manifests(command).items():
                sums = {output["path"]: output["sha256"] for output in manifest["outputs"]}
                kept = {path: digest for path, digest in sums.items() if not matches(path, self.varying_outputs)}
                found[f"{command} {item} ({manifest['key']})"] = kept
        return found


class PipelineBench:
    """Runs one pipeline, as its saved config, with the `inprocess` runner or task by task.

    Args:
        make_config: makes a config for a root.
        folder: an empty folder of this machine.
        varying_outputs: patterns of outputs that may differ from run to run.
        timeout_s: how long a single command line may take.
    """

    def __init__(
        self,
        make_config: Callable[[str], PipelineConfig],
        *,
        folder: Path,
        varying_outputs: tuple[str, ...] = (),
        timeout_s: float = 120.0,
    ) -> None:
        self.make_config = make_config
        self.cli = Workbench("inprocess", folder=folder, timeout_s=timeout_s)
        self._varying = varying_outputs
        self._count = 0

    def save(self, *, changes: Mapping[str, Any] | None = None) -> tuple[str, str]:
        """Save a config for a new root, some fields changed.

        Returns:
            (path of the saved config, root).
        """
        self._count += 1
        root = self.cli.folder / f"root-{self._count}"
        plain = json.loads(config_file.dump(self.make_config(str(root))))
        for path, value in (changes or {}).items():
            _set(plain["config"], path, value)
        plain["config"]["name"] = plain["config"].get("name") or "pipeline"
        saved = self.cli.folder / f"config-{self._count}.json"
        saved.write_text(json.dumps(plain))
        return str(saved), str(root)

    def undisturbed(self) -> PipelineRun:
        """A run in one process, from its start to its end; made once for all rules."""
        return self.cli.once("undisturbed", self._run_undisturbed)

    def _run_undisturbed(self) -> PipelineRun:
        saved, root = self.save()
        started = time.monotonic()
        finished = self.run(saved)
        return self.finished_run(saved, root, finished, time.monotonic() - started)

    def finished_run(self, saved: str, root: str, finished: Finished, duration_s: float = 0.0) -> PipelineRun:
        """What there is to see of a run that has ended."""
        evidence = Evidence(root, self.cli.environ)
        (pipeline,) = evidence.plan()["pipelines"].values()
        commands = tuple(entry["command"] for entry in pipeline["commands"])
        return PipelineRun(saved, root, commands, finished, evidence, duration_s, self._varying)

    def run(self, saved: str) -> Finished:
        """Run all commands in one process; the rule fails unless that ends well."""
        finished = self.cli.rv("run", "inprocess", saved)
        self.cli.expect(finished.code == 0, "the pipeline does not run to its end", finished)
        return finished

    def plan(self, saved: str, *words: str) -> Any:
        """What `--dry-run --json` prints."""
        finished = self.cli.rv("run", "inprocess", saved, "--dry-run", "--json", *words)
        self.cli.expect(finished.code == 0, "the pipeline cannot be planned", finished)
        return json.loads(finished.out)

    def run_by_tasks(self, saved: str, num_splits: int) -> list[Finished]:
        """Run every task in a process of its own, in order, as a runner would."""
        finished = []
        for job in self.plan(saved, "--splits", str(num_splits))["jobs"]:
            for index in range(job["num_splits"]):
                share = ["--split-index", str(index), "--num-splits", str(job["num_splits"])]
                finished.append(self.cli.rv("run-command", saved, job["command"], *share))
        return finished

    def end_while_running(self, saved: str, signum: int, *, seed: int) -> Finished:
        """Start a run and send it a signal at a random moment; KILL what is left of it."""
        started = self.cli.start("run", "inprocess", saved)
        chance = random.Random(seed)
        time.sleep(self.undisturbed().duration_s * chance.uniform(*_SIGNAL_RANGE))
        if started.is_running:
            started.process.send_signal(signum)
        return started.wait(self.cli.timeout_s) or started.kill()

    def outputs(self, root: str) -> dict[str, bytes]:
        """Everything that tasks wrote, but for what may vary."""
        found = Evidence(root, self.cli.environ).outputs()
        return {name: data for name, data in found.items() if not matches(name, self._varying)}

    def expect_same(self, root: str, other: str, what: str, *details: object) -> None:
        """Fail the rule unless two roots hold the same outputs, byte for byte."""
        first, second = self.outputs(root), self.outputs(other)
        differing = sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
        self.cli.expect(first, "the pipeline writes nothing", *details)
        hint = "(what may differ from run to run is named in varying_outputs)"
        self.cli.expect(not differing, f"{what}: {', '.join(differing[:10])}\n{hint}", *details)

    def temporary_files(self, root: str) -> list[str]:
        """What was written aside under a root and never put in place."""
        return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*.tmp"))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name fits one of some patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def _set(values: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        values = values[name]
    values[last] = value
