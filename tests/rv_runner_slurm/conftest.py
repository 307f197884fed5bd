"""Fixtures of the Slurm runner's tests: a pipeline that waits at a gate, and programs of Slurm that fail when told to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.slurm_cluster.configuration import QUICK_TO_NOTICE
from tests.slurm_cluster.lifetime import cancel_everything, running_cluster

if TYPE_CHECKING:
    import subprocess

    from tests.conftest import RvCli
    from tests.slurm_cluster.cluster import SlurmCluster

PIPELINE = Path(__file__).parent / "gated_slurm_pipeline.py"
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

_FAILING_PROGRAM = """\
#!/bin/sh
# Counts its calls, and does as told at the one that a file names.
for word; do
  case $word in --test-only) exec {program} "$@" ;; esac
done
{only_for}echo call >> {folder}/calls
number=$(wc -l < {folder}/calls)
if [ -e "{folder}/wait.$number" ]; then
  touch {folder}/waiting
  while [ ! -e {folder}/go ]; do sleep 0.02; done
fi
if [ -e "{folder}/refuse.$number" ]; then echo "{name}: error: refused, as ordered" >&2; exit 1; fi
if [ -e "{folder}/mute.$number" ]; then exit 0; fi
if [ -e "{folder}/lose.$number" ]; then {program} "$@" >/dev/null; echo "{name}: error: lost, as ordered" >&2; exit 1; fi
exec {program} "$@"
"""


class Gate:
    """The folder that tasks of the pipeline wait at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def open(self, *names: str) -> None:
        """Let these tasks go on, or all."""
        for name in names:
            (self.folder / f"go.{name}").touch()
        if not names:
            (self.folder / "go").touch()

    def order_failure(self, name: str) -> Path:
        """Let a task fail when it comes to the gate."""
        path = self.folder / f"fail.{name}"
        path.touch()
        return path

    def has_seen(self, *names: str) -> bool:
        """Whether these tasks have come to the gate."""
        return all((self.folder / f"started.{name}").exists() for name in names)

    def attempt_of(self, name: str) -> int:
        """Which attempt was here last."""
        return int((self.folder / f"started.{name}").read_text().split()[0])

    def pid_of(self, name: str) -> int:
        """The process that was here last."""
        return int((self.folder / f"started.{name}").read_text().split()[1])

    def is_alive(self, name: str) -> bool:
        """Whether that process still runs."""
        return Path(f"/proc/{self.pid_of(name)}").exists()


class FailingProgram:
    """A program of Slurm that comes first on the PATH and fails at one of its calls; the others are made."""

    def __init__(self, name: str, folder: Path, *, only_for: str = "") -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "calls").touch()
        program = shutil.which(name)
        assert program is not None
        other = f'[ "$1" = {only_for} ] || exec {program} "$@"\n' if only_for else ""
        script = folder / name
        script.write_text(_FAILING_PROGRAM.format(program=program, folder=folder, name=name, only_for=other))
        script.chmod(0o755)

    def order(self, what: str, call: int) -> None:
        """`refuse` a call, `lose` the answer to it, answer it with nothing (`mute`), or let it `wait`; calls count from 1."""
        (self._folder / f"{what}.{call}").touch()

    def heal(self) -> None:
        """From now on every call is made."""
        for path in self._folder.glob("*.[0-9]*"):
            path.unlink()

    @property
    def is_waiting(self) -> bool:
        """Whether it has come to the call that waits."""
        return (self._folder / "waiting").exists()

    def go_on(self) -> None:
        """Let it wait no longer."""
        (self._folder / "go").touch()


class GatedRun:
    """The pipeline on a cluster, under a root of its own.

    Args:
        slurm: the cluster.
        rv: the command line.
        gate: where its tasks wait.
        root: its root.
    """

    def __init__(self, slurm: SlurmCluster, rv: RvCli, gate: Gate, root: Path) -> None:
        self.slurm = slurm
        self.rv = rv
        self.gate = gate
        self.root = root

    def argv(self, *words: object, runner: str = "slurm") -> list[str]:
        """The words behind `rv` that run it."""
        named = ["-a", "root_uri", self.root, "-a", "gate", self.gate.folder]
        return [str(word) for word in ("run", runner, PIPELINE, *named, *words)]

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run it; the exit code is not checked."""
        return self.rv(*self.argv(*words), **options)

    def submit(self, *words: object) -> str:
        """Submit it, which must succeed; what was printed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Run it in the background."""
        return self.rv.start(*self.argv(*words))

    def wait_at(self, *names: str, timeout_s: float = 60.0) -> None:
        """Wait until these tasks are at the gate."""
        self.slurm.wait_until(lambda: self.gate.has_seen(*names), timeout_s)

    def jobs(self, command: str = "") -> list[dict[str, Any]]:
        """What the cluster says of its jobs, of all its runs, or of those of one command."""
        here = [job for job in self.slurm.jobs() if job["comment"].endswith(str(self.root))]
        return [job for job in here if not command or f".{command}" in job["name"]]

    def states(self, command: str = "") -> list[str]:
        """The states of these jobs."""
        return [job["job_state"] for job in self.jobs(command)]

    def wait_for_end(self, timeout_s: float = 90.0) -> None:
        """Wait until none of its jobs waits or runs."""
        self.slurm.wait_until(lambda: set(self.states()) <= set(ENDED), timeout_s)

    def status(self) -> dict[str, Any]:
        """`rv status --json`, with a dict `tasks` by their ids."""
        done = self.rv("status", self.root, "--json")
        plain: dict[str, Any] = json.loads(done.stdout)
        plain["tasks"] = {task["task"]: task for job in plain["jobs"] for task in job["tasks"]}
        return plain

    def assert_whole(self) -> None:
        """The run is done, and so is everything that it was to write."""
        assert self.status()["state"] == "done"
        works = sorted((self.root / "work").iterdir())
        assert [path.name for path in works] == ["i0.txt", "i1.txt", "i2.txt", "i3.txt"]
        assert {path.read_text() for path in works} == {"whole\n" * 10_000}
        assert (self.root / "train" / "weights.txt").read_text().startswith("5, ")
        assert (self.root / "report" / "all.txt").read_text() == "done\n"


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Closed."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def gated_on(rv: RvCli, gate: Gate, tmp_path: Path) -> Callable[[SlurmCluster], GatedRun]:
    """`gated_on(cluster)` is the pipeline there."""
    return lambda cluster: GatedRun(cluster, rv, gate, tmp_path / "out")


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FailingProgram]:
    """`failing("sbatch")` is what this test's commands call from now on in place of it."""
    folder = tmp_path / "failing"

    def make(name: str, **options: Any) -> FailingProgram:
        program = FailingProgram(name, folder, **options)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        return program

    return make


@pytest.fixture(scope="module")
def fragile_cluster() -> Iterator[SlurmCluster]:
    """One for a module."""
    with running_cluster(conf=QUICK_TO_NOTICE) as cluster:
        yield cluster


@pytest.fixture
def fragile(fragile_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A cluster that may be broken, and is whole again afterwards."""
    for name, value in fragile_cluster.environ.items():
        monkeypatch.setenv(name, value)
    yield fragile_cluster
    cancel_everything(fragile_cluster)
    for name in fragile_cluster.shape.node_names:
        if fragile_cluster.node_state(name) != "IDLE":
            fragile_cluster.kill_node(name)
            fragile_cluster.start_node(name)
