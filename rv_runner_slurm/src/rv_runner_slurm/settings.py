"""Settings of the `slurm` runner: section `slurm` of a profile, or `RV_SLURM_…` in the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from rv_core import Config, Range


@dataclass(frozen=True, kw_only=True)
class CommandSettings(Config):
    """What one command gets instead of the general settings: a table `[slurm.commands.NAME]`.

    NAME is a command (`train`), or a job (`"pipe1.train"`, which counts before the command alone). What is left out
    is what the command declares itself, else the general setting, else the cluster's default.

    Args:
        partition: the partition, or several with commas between them.
        qos: the quality of service.
        constraint: features that a node must have, as `sbatch --constraint` takes them.
        cpus: CPUs of a task.
        memory_mib: memory of a task.
        gpus: GPUs of a task.
        gpu_type: their type, as in `--gres=gpu:TYPE:1`.
        time_limit_s: the job's time limit, which all its attempts share.
        attempts: how often a task is started at most.
        max_running_tasks: how many tasks of an array run at once; 0 for as many as there is room for.
        environment: variables, added to the general ones. They are saved with the run: no place for secrets.
        environment_from: names of variables that tasks get from the process that submits, added to the general ones.
        sbatch_options: more options of sbatch, put after the general ones.
    """

    partition: str = ""
    qos: str = ""
    constraint: str = ""
    cpus: Annotated[int, Range(min=1)] | None = None
    memory_mib: Annotated[int, Range(min=1)] | None = None
    gpus: Annotated[int, Range(min=0)] | None = None
    gpu_type: str = ""
    time_limit_s: Annotated[int, Range(min=60)] | None = None
    attempts: Annotated[int, Range(min=1)] | None = None
    max_running_tasks: Annotated[int, Range(min=0)] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    environment_from: list[str] = field(default_factory=list)
    sbatch_options: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """Settings of the `slurm` runner. Everything may be left out: then the cluster's defaults hold.

    Args:
        partition: partition of the jobs that want no GPU, or several with commas between them.
        gpu_partition: partition of the jobs that want one; "" for that of the others.
        account: the account that is charged.
        qos: the quality of service.
        constraint: features that a node must have, as `sbatch --constraint` takes them.
        gpu_type: type of the GPUs, as in `--gres=gpu:TYPE:1`.
        cpus: CPUs of a task whose command does not say.
        memory_mib: memory of a task whose command does not say.
        time_limit_s: time limit of a job whose command does not say, which all its attempts share.
        attempts: how often a task is started at most; None for what its command says.
        stop_before_limit_s: so long before its time limit a task is asked to save its state, to go on in a new job.
        requeue: whether Slurm may start a job again whose node failed or was wanted by others.
        max_running_tasks: how many tasks of an array run at once; 0 for as many as there is room for.
        environment: variables of every task. They are saved with the run: no place for secrets.
        environment_from: names of variables that every task gets from the process that submits, for secrets such as
            `API_TOKEN`: their values are written to no file of the run.
        setup: lines of /bin/sh that every job begins with, such as `. /etc/profile.d/modules.sh` and `module load cuda`.
            Where one fails the task is not started.
        sbatch_options: more options of sbatch, such as `--reservation=course`.
        commands: what single commands get instead.
    """

    partition: str = ""
    gpu_partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    gpu_type: str = ""
    cpus: Annotated[int, Range(min=1)] | None = None
    memory_mib: Annotated[int, Range(min=1)] | None = None
    time_limit_s: Annotated[int, Range(min=60)] | None = None
    attempts: Annotated[int, Range(min=1)] | None = None
    stop_before_limit_s: Annotated[int, Range(min=1, max=65535)] = 60
    requeue: bool = True
    max_running_tasks: Annotated[int, Range(min=0)] = 0
    environment: dict[str, str] = field(default_factory=dict)
    environment_from: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    sbatch_options: list[str] = field(default_factory=list)
    commands: dict[str, CommandSettings] = field(default_factory=dict)
