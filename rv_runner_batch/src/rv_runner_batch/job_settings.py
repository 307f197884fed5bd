"""What one job of a plan asks for: its own declaration and the settings, put together. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rv_core import Job, command_table, command_table_name, first_given
from rv_runner_batch.settings import BatchSettings, CommandSettings


@dataclass(frozen=True)
class JobSettings:
    """What a job asks AWS Batch for; None and "" leave it to the job definition.

    Args:
        queue_setting, definition_setting: the settings that name the queue and the definition, for messages.
    """

    job_queue: str
    job_definition: str
    queue_setting: str
    definition_setting: str
    cpus: int | None
    memory_mib: int | None
    gpus: int
    shared_memory_mib: int | None
    timeout_s: int | None
    attempts: int
    share_identifier: str
    scheduling_priority: int | None
    environment: dict[str, str]
    environment_from: tuple[str, ...]
    tags: dict[str, str]


def job_settings(job: Job, settings: BatchSettings) -> JobSettings:
    """What a job asks for.

    A table for the job counts before one for its command, then what the command declares, then the general settings.
    A command that wants a GPU goes to the GPU queue with the GPU definition.
    """
    own, wanted = command_table(job, settings.commands, CommandSettings), job.resources
    gpus = wanted.gpus if own.gpus is None else own.gpus
    kind = "gpu" if gpus else "cpu"
    table = command_table_name("batch", job, settings.commands)
    return JobSettings(
        job_queue=own.job_queue or getattr(settings, f"{kind}_job_queue"),
        job_definition=own.job_definition or getattr(settings, f"{kind}_job_definition"),
        queue_setting=f"{table}.job_queue" if own.job_queue else f"batch.{kind}_job_queue",
        definition_setting=f"{table}.job_definition" if own.job_definition else f"batch.{kind}_job_definition",
        cpus=first_given(own.cpus, wanted.cpus, settings.cpus),
        memory_mib=first_given(own.memory_mib, wanted.memory_mib, settings.memory_mib),
        gpus=gpus,
        shared_memory_mib=first_given(own.shared_memory_mib, settings.shared_memory_mib),
        timeout_s=first_given(own.timeout_s, wanted.timeout_s, settings.timeout_s),
        # A command that does not say how often it may be started has 1; spot machines call for more.
        attempts=own.attempts or (wanted.attempts if wanted.attempts > 1 else settings.attempts),
        share_identifier=own.share_identifier or settings.share_identifier,
        scheduling_priority=first_given(own.scheduling_priority, settings.scheduling_priority),
        environment={**settings.environment, **own.environment},
        environment_from=tuple(dict.fromkeys([*settings.environment_from, *own.environment_from])),
        tags={**settings.tags, **own.tags},
    )
