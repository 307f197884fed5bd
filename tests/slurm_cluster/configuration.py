"""What a cluster looks like, and the files that tell Slurm so. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Device files that every machine has: Slurm hands out devices without opening them.
_PRETENDED_GPUS = ("/dev/zero", "/dev/full", "/dev/null", "/dev/random")

#: Settings under which a dead node is noticed within some 7 s, in place of minutes; a busy machine may make mistakes.
QUICK_TO_NOTICE: Mapping[str, str | int] = {"SlurmdTimeout": 2, "MessageTimeout": 2}


@dataclass(frozen=True, kw_only=True)
class ClusterShape:
    """What a cluster looks like.

    Args:
        num_nodes: nodes n1, n2, …; all are in the partition `cpu`, n1 is the partition `gpu`.
        cpus_per_node: what each node claims to have, whatever this machine has.
        num_gpus: pretended GPUs of n1, 4 at most.
        max_array_size: indices of an array job are below it.
        conf: more settings of slurm.conf; they win over those of this module.
    """

    num_nodes: int = 2
    cpus_per_node: int = 4
    num_gpus: int = 2
    max_array_size: int = 10001
    conf: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def node_names(self) -> list[str]:
        """n1, n2, …"""
        return [f"n{number}" for number in range(1, self.num_nodes + 1)]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a cluster is.

    Args:
        folder: its state folder.
        host: the short name of this machine.
        user: who runs the daemons.
        ports: free ports of the loopback: the controller's and one for each node.
    """

    folder: Path
    host: str
    user: str
    ports: Sequence[int]

    @property
    def munge_socket(self) -> Path:
        """The socket of munged."""
        return self.folder / "munge.sock"


def slurm_conf(shape: ClusterShape, place: Place) -> str:
    """The text of slurm.conf."""
    settings = {**_settings(shape, place), **shape.conf}
    nodes = zip(shape.node_names, place.ports[1:], strict=True)
    lines = [
        *(f"{name}={value}" for name, value in settings.items()),
        *(_node_line(name, port, shape, place) for name, port in nodes),
        "PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        "PartitionName=gpu Nodes=n1 MaxTime=INFINITE State=UP",
    ]
    return "\n".join([*lines, ""])


def gres_conf(shape: ClusterShape) -> str:
    """The text of gres.conf."""
    devices = ",".join(_PRETENDED_GPUS[: shape.num_gpus])
    return f"NodeName=n1 Name=gpu File={devices}\n" if devices else ""


def _node_line(name: str, port: int, shape: ClusterShape, place: Place) -> str:
    gres = f"Gres=gpu:{shape.num_gpus} " if name == "n1" and shape.num_gpus else ""
    where = f"NodeName={name} NodeHostname={place.host} NodeAddr=127.0.0.1 Port={port}"
    return f"{where} CPUs={shape.cpus_per_node} RealMemory=4000 {gres}State=UNKNOWN"


def _settings(shape: ClusterShape, place: Place) -> dict[str, str | int]:
    return {**_whereabouts(place), **_plugins(), **_behaviour(shape)}


def _whereabouts(place: Place) -> dict[str, str | int]:
    folder = place.folder
    return {
        "ClusterName": "throwaway",
        "SlurmctldHost": f"{place.host}(127.0.0.1)",
        "SlurmctldPort": place.ports[0],
        "SlurmUser": place.user,
        "SlurmdUser": place.user,
        # A job that is requeued waits a second longer than cred_expire: 121 s by default, and 5 is the least allowed.
        "AuthInfo": f"socket={place.munge_socket},cred_expire=5",
        "StateSaveLocation": f"{folder}/controller",
        "SlurmdSpoolDir": f"{folder}/spool/%n",
        "SlurmctldPidFile": f"{folder}/slurmctld.pid",
        "SlurmdPidFile": f"{folder}/slurmd-%n.pid",
    }


def _plugins() -> dict[str, str | int]:
    return {
        "AuthType": "auth/munge",
        "CryptoType": "crypto/munge",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "GresTypes": "gpu",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "SchedulerType": "sched/backfill",
        # Jobs start when they can, where a real cluster looks every half minute.
        "SchedulerParameters": "bf_interval=1,batch_sched_delay=0,sched_interval=1,sched_min_interval=0",
    }


def _behaviour(shape: ClusterShape) -> dict[str, str | int]:
    return {
        "MaxArraySize": shape.max_array_size,
        "MaxJobCount": 50000,
        "MinJobAge": 3600,
        # Without it a job asks for all the memory of its node.
        "DefMemPerCPU": 100,
        # Nodes may claim more CPUs than this machine has.
        "SlurmdParameters": "config_overrides",
        "EnforcePartLimits": "ALL",
        # A node that was down is used again as soon as it is back.
        "ReturnToService": 2,
        "KillWait": 2,
        "SlurmdTimeout": 60,
        "InactiveLimit": 0,
    }
