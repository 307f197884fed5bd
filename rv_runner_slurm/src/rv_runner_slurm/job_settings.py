"""What one job of a plan asks for: its own declaration and the settings, put together. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rv_core import Job, command_table, command_table_name, first_given
from rv_runner_slurm.settings import CommandSettings, SlurmSettings

#: What the attempts of a task need besides its own time: starting, saving, being noticed.
_SPARE_S = 300


@dataclass(frozen=True)
class JobSettings:
    """What a job asks the cluster for; None and "" leave it to the cluster.

    Args:
        partition_setting: the setting that names the partition, for messages.
    """

    partition: str
    partition_setting: str
    account: str
    qos: str
    constraint: str
    cpus: int | None
    memory_mib: int | None
    gpus: int
    gpu_type: str
    time_limit_s: int | None
    attempts: int
    max_running_tasks: int
    environment: dict[str, str]
    environment_from: tuple[str, ...]
    sbatch_options: tuple[str, ...]


def job_settings(job: Job, settings: SlurmSettings) -> JobSettings:
    """What a job asks for.

    A table for the job counts before one for its command, then what the command declares, then the general settings.
    A command that wants a GPU goes to the GPU partition.
    """
    own, wanted = command_table(job, settings.commands, CommandSettings), job.resources
    gpus = wanted.gpus if own.gpus is None else own.gpus
    general = "gpu_partition" if gpus and settings.gpu_partition else "partition"
    table = command_table_name("slurm", job, settings.commands)
    attempts = first_given(own.attempts, wanted.attempts if wanted.attempts > 1 else None, settings.attempts) or 1
    return JobSettings(
        partition=own.partition or getattr(settings, general),
        partition_setting=f"{table}.partition" if own.partition else f"slurm.{general}",
        account=settings.account,
        qos=own.qos or settings.qos,
        constraint=own.constraint or settings.constraint,
        cpus=first_given(own.cpus, wanted.cpus, settings.cpus),
        memory_mib=first_given(own.memory_mib, wanted.memory_mib, settings.memory_mib),
        gpus=gpus,
        gpu_type=own.gpu_type or settings.gpu_type,
        time_limit_s=first_given(own.time_limit_s, _time_for(wanted.timeout_s, attempts), settings.time_limit_s),
        attempts=attempts,
        max_running_tasks=first_given(own.max_running_tasks, settings.max_running_tasks) or 0,
        environment={**settings.environment, **own.environment},
        environment_from=tuple(dict.fromkeys([*settings.environment_from, *own.environment_from])),
        sbatch_options=(*settings.sbatch_options, *own.sbatch_options),
    )


def _time_for(timeout_s: int | None, attempts: int) -> int | None:
    """A limit for the job of a command that says how long an attempt may take; the task ends such an attempt itself."""
    return None if timeout_s is None else timeout_s * attempts + _SPARE_S
