"""What one job of a plan asks for: its own declaration and the settings, put together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rv_core import Job
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
    tags: dict[str, str]


def job_settings(job: Job, settings: BatchSettings) -> JobSettings:
    """What a job asks for.

    A table for the job counts before one for its command, then what the command declares, then the general settings.
    A command that wants a GPU goes to the GPU queue with the GPU definition.
    """
    own, wanted = _own_settings(job, settings), job.resources
    gpus = wanted.gpus if own.gpus is None else own.gpus
    kind = "gpu" if gpus else "cpu"
    table = f"batch.commands.{_table_of(job, settings)}"
    return JobSettings(
        job_queue=own.job_queue or getattr(settings, f"{kind}_job_queue"),
        job_definition=own.job_definition or getattr(settings, f"{kind}_job_definition"),
        queue_setting=f"{table}.job_queue" if own.job_queue else f"batch.{kind}_job_queue",
        definition_setting=f"{table}.job_definition" if own.job_definition else f"batch.{kind}_job_definition",
        cpus=_first(own.cpus, wanted.cpus, settings.cpus),
        memory_mib=_first(own.memory_mib, wanted.memory_mib, settings.memory_mib),
        gpus=gpus,
        shared_memory_mib=_first(own.shared_memory_mib, settings.shared_memory_mib),
        timeout_s=_first(own.timeout_s, wanted.timeout_s, settings.timeout_s),
        # A command that does not say how often it may be started has 1; spot machines call for more.
        attempts=_first(own.attempts, wanted.attempts if wanted.attempts > 1 else None, settings.attempts),
        share_identifier=own.share_identifier or settings.share_identifier,
        scheduling_priority=_first(own.scheduling_priority, settings.scheduling_priority),
        environment={**settings.environment, **own.environment},
        tags={**settings.tags, **own.tags},
    )


def unknown_tables(settings: BatchSettings, commands: set[str], jobs: set[str]) -> list[str]:
    """Names of tables `[batch.commands.NAME]` that fit neither a command nor a job."""
    return [name for name in settings.commands if name not in commands and name not in jobs]


def _own_settings(job: Job, settings: BatchSettings) -> CommandSettings:
    """The table of the job, filled up from that of its command."""
    of_command = settings.commands.get(job.command, CommandSettings())
    of_job = settings.commands.get(job.id)
    if of_job is None:
        return of_command
    given = {name: value for name, value in vars(of_job).items() if value not in (None, "", {})}
    merged = {name: {**getattr(of_command, name), **given.get(name, {})} for name in ("environment", "tags")}
    return replace(of_command, **{**given, **merged})


def _table_of(job: Job, settings: BatchSettings) -> str:
    return f'"{job.id}"' if job.id in settings.commands else job.command


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
