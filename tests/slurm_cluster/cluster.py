"""A real Slurm on the loopback, thrown away afterwards: munged, slurmctld and a slurmd for each node.

It needs neither systemd nor cgroups, writes nothing outside its state folder, and runs as root or as any user (then
only that user's jobs run). What it does not show: limits of memory, as there are no cgroups, and accounting.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.slurm_cluster.configuration import ClusterShape, Place, gres_conf, slurm_conf

DEBIAN_PACKAGES = ("slurm-wlm", "slurm-wlm-basic-plugins", "munge")
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
#: Where daemons are; plain users do not have these on their PATH.
_DAEMON_DIRS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
_KEEPER = Path(__file__).with_name("keeper.py")
_MAX_SOCKET_PATH_BYTES = 107
_READY_TIMEOUT_S = 30.0


def find_program(name: str) -> str | None:
    """The path of a program of Slurm, also where only root looks."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_DAEMON_DIRS]))


def missing_programs() -> list[str]:
    """What a cluster needs and this machine has not."""
    return [name for name in _PROGRAMS if find_program(name) is None]


class SlurmCluster:
    """A cluster in a state folder.

    Args:
        state_dir: an empty folder of its own; short, as a socket lies in it.
        shape: what it looks like.
    """

    def __init__(self, state_dir: Path, shape: ClusterShape | None = None) -> None:
        self.state_dir = state_dir.resolve()
        self.shape = shape or ClusterShape()
        self._place = Place(
            folder=self.state_dir,
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            ports=_free_ports(self.shape.num_nodes + 1),
        )
        self._keepers: dict[str, subprocess.Popen[bytes]] = {}
        if len(os.fsencode(self._place.munge_socket)) > _MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"the path of the state folder is too long for a socket: {self.state_dir}")

    # The whole.

    @property
    def environ(self) -> dict[str, str]:
        """What the commands of Slurm need in their environment to find this cluster."""
        return {"SLURM_CONF": str(self.state_dir / "slurm.conf")}

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle."""
        self._write_files()
        self._start_munged()
        self.start_controller()
        for name in self.shape.node_names:
            self._start_slurmd(name)
        for name in self.shape.node_names:
            self._wait_until_idle(name)

    def stop(self) -> None:
        """Kill every daemon, job and step at once; safe to call twice."""
        for keeper in self._keepers.values():
            keeper.terminate()
        for keeper in self._keepers.values():
            keeper.wait()
        self._keepers.clear()

    # What breaks.

    def kill_node(self, name: str) -> None:
        """Kill a node's daemon, its steps and their processes at once, as a machine dies. Nobody is told."""
        keeper = self._keepers.pop(name, None)
        if keeper is not None:
            keeper.terminate()
            keeper.wait()

    def start_node(self, name: str) -> None:
        """Bring a killed node back, empty, and wait until it is idle."""
        self._start_slurmd(name)
        self._wait_until_idle(name)

    def node_state(self, name: str) -> str:
        """What `scontrol` says of a node: IDLE, MIXED, ALLOCATED, DOWN, with flags behind it, as DOWN*."""
        # sinfo says "mixed" of an idle node for a long time after the controller was started again
        fields = self.run("scontrol", "-o", "show", "node", name).stdout.split()
        return next((field.removeprefix("State=") for field in fields if field.startswith("State=")), "")

    def stop_controller(self) -> None:
        """End slurmctld as an administrator does: its state is saved, jobs run on, nobody answers."""
        keeper = self._keepers.pop("slurmctld")
        os.kill(int((self.state_dir / "slurmctld.pid").read_text()), signal.SIGTERM)
        keeper.wait()

    def start_controller(self) -> None:
        """Start slurmctld and wait until it answers."""
        self._start_daemon("slurmctld", "slurmctld", "-D")
        self._wait_for_daemon("slurmctld", lambda: self.run("scontrol", "ping").returncode == 0)

    # What it is told and asked.

    def run(self, *argv: str, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm against this cluster; the exit code is not checked."""
        program = find_program(argv[0]) or argv[0]
        environ = {**os.environ, **self.environ}
        return subprocess.run(
            [program, *argv[1:]], env=environ, input=stdin, cwd=cwd, capture_output=True, encoding="utf-8", check=False
        )

    def submit(self, script: str, *options: str, output: Path = Path(os.devnull)) -> str:
        """Submit a batch script for sh; returns the job's id."""
        done = self.run("sbatch", "--parsable", f"--output={output}", *options, stdin=f"#!/bin/sh\n{script}\n")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip().partition(";")[0]

    def jobs(self) -> list[dict[str, Any]]:
        """Every job that the controller still knows, as `squeue --json` shows it; OSError where it does not answer."""
        answer = json.loads(self.run("squeue", "--json", "-t", "all").stdout)
        if answer["errors"]:  # the exit code is 0 all the same
            raise OSError(answer["errors"])
        jobs: list[dict[str, Any]] = answer["jobs"]
        return jobs

    def job(self, job_id: str) -> dict[str, Any]:
        """One job, `12`, or child, `12_0`, once it has started; KeyError where the controller does not know it."""
        for job in self.jobs():
            if job_id in (str(job["job_id"]), f"{job['array_job_id']}_{job['array_task_id']}"):
                return job
        raise KeyError(job_id)

    def wait_for_state(self, job_id: str, *states: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Wait until a job is in one of the states, as PENDING or COMPLETED; returns it as it is then."""
        seen: dict[str, Any] = {}

        def is_there() -> bool:
            seen.update(self.job(job_id))
            return seen["job_state"] in states

        self.wait_until(is_there, timeout_s)
        return seen

    def wait_until(self, predicate: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Ask until a predicate is true; TimeoutError, with the jobs and the nodes, where it stays false."""
        deadline_s = time.monotonic() + timeout_s
        while not self._is_so(predicate):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"still not so after {timeout_s} s\n{self._picture()}")
            time.sleep(0.05)

    @staticmethod
    def _is_so(predicate: Callable[[], object]) -> bool:
        try:
            return bool(predicate())
        except OSError:  # on a busy machine the controller is late now and then
            return False

    def _picture(self) -> str:
        queue = self.run("squeue", "-t", "all", "-o", "%i %T %r %M %N %j")
        nodes = self.run("sinfo", "-N", "-l")
        return f"{queue.stdout}{queue.stderr}\n{nodes.stdout}{nodes.stderr}\n{self._log_tails()}"

    def _log_tails(self) -> str:
        logs = sorted((self.state_dir / "log").iterdir())
        return "\n".join(f"== {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    # Daemons.

    def _write_files(self) -> None:
        self.state_dir.chmod(0o755)  # jobs of other users read it
        for name in ("log", "controller", *(f"spool/{node}" for node in self.shape.node_names)):
            (self.state_dir / name).mkdir(parents=True, exist_ok=True)
        key = self.state_dir / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        (self.state_dir / "slurm.conf").write_text(slurm_conf(self.shape, self._place))
        (self.state_dir / "gres.conf").write_text(gres_conf(self.shape))

    def _start_munged(self) -> None:
        files = {
            "key-file": "munge.key",
            "socket": self._place.munge_socket.name,
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munge.seed",
        }
        options = [f"--{option}={self.state_dir / name}" for option, name in files.items()]
        # --force: folders that belong to another user than "munge" are no mistake here
        self._start_daemon("munged", "munged", "--foreground", "--force", *options)
        self._wait_for_daemon("munged", self._place.munge_socket.exists)

    def _start_slurmd(self, node: str) -> None:
        self._start_daemon(node, "slurmd", "-D", "-N", node)

    def _start_daemon(self, name: str, *argv: str) -> None:
        program = find_program(argv[0])
        if program is None:
            raise RuntimeError(f"{argv[0]} is not installed: apt-get install {' '.join(DEBIAN_PACKAGES)}")
        with (self.state_dir / "log" / f"{name}.log").open("ab") as log:
            self._keepers[name] = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_KEEPER), program, *argv[1:]],
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is for the tests, which stop the cluster themselves
            )

    def _wait_until_idle(self, node: str) -> None:
        self._wait_for_daemon(node, lambda: self.node_state(node) == "IDLE")

    def _wait_for_daemon(self, name: str, is_ready: Callable[[], object]) -> None:
        keeper = self._keepers[name]
        self.wait_until(lambda: is_ready() or keeper.poll() is not None, _READY_TIMEOUT_S)
        if keeper.poll() is not None:
            raise RuntimeError(f"{name} has ended\n{self._log_tails()}")


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on; all are held at once, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
