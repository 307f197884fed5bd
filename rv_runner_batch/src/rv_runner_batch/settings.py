"""Settings of the `batch` runner: section `batch` of a profile, or `RV_BATCH_…` in the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from rv_core import Config, Range


@dataclass(frozen=True, kw_only=True)
class CommandSettings(Config):
    """What one command gets instead of the general settings: a table `[batch.commands.NAME]`.

    NAME is a command (`train`), or a job (`"pipe1.train"`, which counts before the command alone). What is left out
    is what the command declares itself, else the general setting, else the job definition's.

    Args:
        job_queue: name or ARN.
        job_definition: name, `name:revision` or ARN.
        cpus: vCPUs of a task.
        memory_mib: memory of a task.
        gpus: GPUs of a task.
        shared_memory_mib: `/dev/shm` that a task needs. A job cannot ask for it: it is checked against the definition.
        timeout_s: a task is ended after so many seconds, each attempt anew.
        attempts: how often a task is started at most.
        share_identifier: on a fair-share queue.
        scheduling_priority: on a fair-share queue.
        environment: variables, added to the general ones. They are saved with the run: no place for secrets.
        environment_from: names of variables that tasks get from the process that submits, added to the general ones.
        tags: tags, added to the general ones.
    """

    job_queue: str = ""
    job_definition: str = ""
    cpus: Annotated[int, Range(min=1)] | None = None
    memory_mib: Annotated[int, Range(min=4)] | None = None
    gpus: Annotated[int, Range(min=0)] | None = None
    shared_memory_mib: Annotated[int, Range(min=1)] | None = None
    timeout_s: Annotated[int, Range(min=60)] | None = None
    attempts: Annotated[int, Range(min=1, max=10)] | None = None
    share_identifier: str = ""
    scheduling_priority: Annotated[int, Range(min=0, max=9999)] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    environment_from: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """Settings of the `batch` runner. `rv batch setup` writes them; credentials are boto3's own and never here.

    Args:
        region: the AWS region; "" for boto3's (`AWS_REGION`, the AWS profile).
        cpu_job_queue: queue of the jobs that want no GPU: name or ARN.
        gpu_job_queue: queue of the jobs that want one.
        cpu_job_definition: definition of the jobs that want no GPU: name, `name:revision` or ARN.
        gpu_job_definition: definition of the jobs that want one.
        attempts: how often a task is started at most. Only what was reclaimed, stopped with its state saved, or could
            not pull its image is started again.
        cpus: vCPUs of a task whose command does not say; None for the job definition's.
        memory_mib: memory of a task whose command does not say; None for the job definition's.
        timeout_s: time limit of an attempt whose command does not say; None for the job definition's.
        shared_memory_mib: `/dev/shm` that tasks need; checked against the definitions.
        share_identifier: on a fair-share queue.
        scheduling_priority: on a fair-share queue.
        environment: variables of every task. They are saved with the run: no place for secrets.
        environment_from: names of variables that every task gets from the process that submits, for secrets such as
            `API_TOKEN`: their values are written to no file of the run.
        tags: tags of every job.
        commands: what single commands get instead.
    """

    region: str = ""
    cpu_job_queue: str = ""
    gpu_job_queue: str = ""
    cpu_job_definition: str = ""
    gpu_job_definition: str = ""
    attempts: Annotated[int, Range(min=1, max=10)] = 5
    cpus: Annotated[int, Range(min=1)] | None = None
    memory_mib: Annotated[int, Range(min=4)] | None = None
    timeout_s: Annotated[int, Range(min=60)] | None = None
    shared_memory_mib: Annotated[int, Range(min=1)] | None = None
    share_identifier: str = ""
    scheduling_priority: Annotated[int, Range(min=0, max=9999)] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    environment_from: list[str] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    commands: dict[str, CommandSettings] = field(default_factory=dict)
