"""From a plan to the calls of sbatch that submit it, in order. Pure."""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rv_core import Job, Plan
from rv_core.redaction import redact_settings
from rv_runner_slurm.job_script import Traces, render_script
from rv_runner_slurm.job_settings import JobSettings, job_settings
from rv_runner_slurm.settings import SlurmSettings

#: What the names of all jobs of rv begin with.
NAME_PREFIX = "rv-"
#: Slurm's own default of MaxArraySize, for a dry run that asks no cluster.
DEFAULT_MAX_ARRAY_SIZE = 1001
#: Long names make the tables of squeue unreadable; a pipeline's name alone may have 64 characters.
_MAX_NAME_LENGTH = 128
_HASH_LENGTH = 8
_MAX_COMMENT_BYTES = 500


@dataclass(frozen=True)
class JobRequest:
    """One call of sbatch: a job, or a chunk of the tasks of a job that is larger than the cluster's arrays may be.

    Args:
        key: the job's id in the plan; of a further chunk with `+2`, `+3` … behind it.
        job: the job of the plan.
        num_tasks: how many of its tasks.
        options: the options of sbatch, without those that depend on other requests.
        script: what the job runs.
        environ: variables of its tasks.
        after: keys of the requests whose every task must have ended well first.
        traces: the files that its tasks leave.
    """

    key: str
    job: Job
    num_tasks: int
    options: tuple[str, ...]
    script: str
    environ: Mapping[str, str]
    after: tuple[str, ...]
    traces: Traces

    @property
    def is_held(self) -> bool:
        """Whether it waits until everything is submitted.

        A job that ends before what requires it is submitted may be forgotten by then, and Slurm takes a forgotten job
        for one that ended well.
        """
        return not self.after

    def argv_options(self, ids: Mapping[str, str]) -> list[str]:
        """All options of sbatch.

        Args:
            ids: key -> the id that Slurm gave, of all that it comes after.
        """
        if self.is_held:
            return [*self.options, "--hold"]
        return [*self.options, f"--dependency=afterok:{':'.join(ids[key] for key in self.after)}"]


@dataclass(frozen=True)
class RunFacts:
    """What of a run enters its requests.

    Args:
        run_id: the id of the run.
        folder: the runner's folder of the run.
        argv: the command line that all tasks of a job share.
        environ: the variables that a job's tasks need.
        root_of: the root of a pipeline.
        max_array_size: the cluster's MaxArraySize: an array's indices are below it.
    """

    run_id: str
    folder: Path
    argv: Callable[[Job], Sequence[str]]
    environ: Callable[[Job], Mapping[str, str]] = field(default=lambda job: {})
    root_of: Callable[[str], str] = field(default=lambda pipeline: "")
    max_array_size: int = DEFAULT_MAX_ARRAY_SIZE


def requests_of(plan: Plan, settings: SlurmSettings, facts: RunFacts) -> list[JobRequest]:
    """The requests of a plan, in the order in which they are to be sent."""
    requests: list[JobRequest] = []
    keys: dict[str, list[str]] = {}
    for job in plan.jobs:
        after = tuple(key for parent in job.requires for key in keys[parent])
        own = list(_requests_of_job(job, settings, facts, after))
        keys[job.id] = [request.key for request in own]
        requests += own
    return requests


def request_key(job_id: str, number: int) -> str:
    """Names the request of a chunk, which counts from 0."""
    return f"{job_id}+{number + 1}" if number else job_id


def chunk_size(num_tasks: int, num_chunks: int) -> int:
    """How many tasks a chunk has; the last one may have fewer. So the number of chunks tells where each task is."""
    return math.ceil(num_tasks / num_chunks)


def render(requests: Sequence[JobRequest]) -> str:
    """The requests as a shell would make them, with the keys of others where their ids will be."""
    names = {request.key: f"<id of {request.key}>" for request in requests}
    blocks = []
    for request in requests:
        variables = [f"{name}={value}" for name, value in redact_settings(dict(request.environ)).items()]
        call = shlex.join(["env", *variables, "sbatch", *request.argv_options(names)])
        blocks.append(f"{call} <<'END'\n{request.script}END\n")
    return "\n".join(blocks)


def name_prefix(run_id: str) -> str:
    """What the names of all jobs of a run begin with."""
    return f"{NAME_PREFIX}{run_id}-"


def job_name(run_id: str, key: str) -> str:
    """The name of a request's job: the same for the same run and key, another one for every other."""
    name = re.sub(r"[^A-Za-z0-9._+-]", "-", f"{name_prefix(run_id)}{key}")
    if len(name) <= _MAX_NAME_LENGTH and name.endswith(key):
        return name
    digest = hashlib.sha256(key.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: _MAX_NAME_LENGTH - _HASH_LENGTH - 1]}-{digest}"


def comment_of(root_uri: str) -> str:
    """The comment by which the jobs of a root are known to each other. Slurm refuses one of more than 1024 bytes."""
    if len(root_uri.encode()) > _MAX_COMMENT_BYTES:
        start = root_uri.encode()[:_MAX_COMMENT_BYTES].decode(errors="ignore")
        root_uri = f"{start}… {hashlib.sha256(root_uri.encode()).hexdigest()}"
    return f"rv {root_uri}"


def _requests_of_job(
    job: Job, settings: SlurmSettings, facts: RunFacts, after: tuple[str, ...]
) -> Iterator[JobRequest]:
    own = job_settings(job, settings)
    size = chunk_size(len(job.tasks), math.ceil(len(job.tasks) / facts.max_array_size))
    for number, first in enumerate(range(0, len(job.tasks), size)):
        key, num_tasks = request_key(job.id, number), min(size, len(job.tasks) - first)
        traces = Traces(facts.folder, key, first if len(job.tasks) > 1 else None)
        script = render_script(
            facts.argv(job),
            run_id=facts.run_id,
            job=job.id,
            traces=traces,
            attempts=own.attempts,
            setup=settings.setup,
        )
        options = [
            traces.output_option(),
            *_common_options(settings),
            *_array_options(num_tasks, own, is_array=traces.first is not None),
            *_resource_options(own, settings),
            *own.sbatch_options,
            # Last, so that nothing takes their place: by these a run knows its jobs.
            f"--job-name={job_name(facts.run_id, key)}",
            f"--comment={comment_of(facts.root_of(job.pipeline))}",
        ]
        environ = {**facts.environ(job), **own.environment}
        yield JobRequest(key, job, num_tasks, tuple(options), script, environ, after, traces)


def _common_options(settings: SlurmSettings) -> Iterator[str]:
    yield "--open-mode=append"  # a job that is started again goes on in its file
    # Without it the dependants of a failed job wait for ever, unless the cluster's administrator thought of them.
    yield "--kill-on-invalid-dep=yes"
    yield "--requeue" if settings.requeue else "--no-requeue"
    # Anything else makes the node start a login shell for every task, and takes what that sets.
    yield "--export=ALL"


def _array_options(num_tasks: int, own: JobSettings, *, is_array: bool) -> Iterator[str]:
    if is_array:
        yield f"--array=0-{num_tasks - 1}" + (f"%{own.max_running_tasks}" if own.max_running_tasks else "")


def _resource_options(own: JobSettings, settings: SlurmSettings) -> Iterator[str]:
    yield "--ntasks=1"
    for name, value in (
        ("partition", own.partition),
        ("account", own.account),
        ("qos", own.qos),
        ("constraint", own.constraint),
        ("cpus-per-task", own.cpus),
        ("mem", f"{own.memory_mib}M" if own.memory_mib else ""),
        ("gres", ":".join(filter(None, ["gpu", own.gpu_type, str(own.gpus)])) if own.gpus else ""),
    ):
        if value:
            yield f"--{name}={value}"
    if own.time_limit_s:
        yield f"--time={-(-own.time_limit_s // 60)}"
    # Slurm may send it a minute early; a short job would get it at its start.
    if not own.time_limit_s or own.time_limit_s > 2 * (settings.stop_before_limit_s + 60):
        yield f"--signal=B:USR1@{settings.stop_before_limit_s}"
