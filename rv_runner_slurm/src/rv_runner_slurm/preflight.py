"""What would keep a plan from running on the cluster, found before the first job is submitted: everything at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from rv_core import Finding, Plan, command_table, command_table_name, missing_variables, nearest
from rv_runner_slurm import client
from rv_runner_slurm.job_records import NodeShape, seconds_of_limit
from rv_runner_slurm.job_settings import JobSettings, job_settings
from rv_runner_slurm.settings import CommandSettings, SlurmSettings
from rv_runner_slurm.submission import JobRequest


def folder_findings(folder: Path) -> Iterator[Finding]:
    """A folder of the run that Slurm cannot write to."""
    if "\\" in str(folder) or "\n" in str(folder):
        what = f"Slurm cannot write output to a folder with a backslash or a line break in its name: {str(folder)!r}"
        yield Finding("root_uri", what, "choose another root")


def variable_findings(plan: Plan, settings: SlurmSettings) -> Iterator[Finding]:
    """Variables that tasks are to get from this process, and that are not set in it."""
    names = dict.fromkeys(name for job in plan.jobs for name in job_settings(job, settings).environment_from)
    yield from missing_variables("slurm.environment_from", names)


def option_findings(plan: Plan, settings: SlurmSettings) -> Iterator[Finding]:
    """Options of sbatch that the runner gives itself: with another value the run would lose sight of its jobs."""
    found: dict[Finding, None] = {}
    for job in plan.jobs:
        table = command_table_name("slurm", job, settings.commands)
        own = command_table(job, settings.commands, CommandSettings).sbatch_options
        for where, options in (("slurm", settings.sbatch_options), (table, own)):
            found |= dict.fromkeys(_own_options(f"{where}.sbatch_options", options))
    yield from found


def _own_options(where: str, options: Sequence[str]) -> Iterator[Finding]:
    for option in options:
        name = _long_name(option)
        if name in _OWN:
            yield Finding(where, f"{option!r} is not for settings: {_OWN[name]}", "leave it out")


def _long_name(option: str) -> str:
    """The name of an option, which sbatch takes as a letter, with its value behind it, or cut short too."""
    if not option.startswith("--"):
        return _LETTERS.get(option[:2], "")
    given = option[2:].partition("=")[0]
    return given if given in (*_OWN, *_LIKE_OWN) else next((name for name in _OWN if name.startswith(given)), "")


def cluster_findings(plan: Plan, settings: SlurmSettings, requests: Sequence[JobRequest]) -> Iterator[Finding]:
    """What the cluster says of partitions and of every request.

    Raises:
        SlurmError: if it cannot be asked.
    """
    there = client.partitions()
    wrong = set()
    for job in plan.jobs:
        own = job_settings(job, settings)
        found = list(_partition_findings(own, there))
        yield from (finding for finding in found if finding not in wrong)
        wrong.update(found)
    if not wrong:
        yield from _refusals(requests, settings)


def _partition_findings(own: JobSettings, there: Mapping[str, Mapping[str, str]]) -> Iterator[Finding]:
    names = _names(own.partition)
    for name in names:
        if name not in there:
            near = nearest(name, there)
            fix = f"did you mean {near!r}?" if near else f"the cluster has: {', '.join(there)}"
            yield Finding(own.partition_setting, f"the cluster has no partition {name!r}", fix)
            continue
        state = there[name].get("State", "UP")
        if state not in ("UP", "DOWN"):  # what is down comes back; INACTIVE and DRAIN take no jobs
            yield Finding(own.partition_setting, f"the partition {name!r} takes no jobs: it is {state}")
    limits = [seconds_of_limit(there[name].get("MaxTime", "")) for name in names if name in there]
    if own.time_limit_s and limits and all(limit is not None and limit < own.time_limit_s for limit in limits):
        longest = max(limit for limit in limits if limit is not None)
        what = f"a time limit of {own.time_limit_s} s is above that of the partition ({longest:.0f} s)"
        yield Finding(own.partition_setting, what, "lower time_limit_s, or choose another partition")


def _refusals(requests: Sequence[JobRequest], settings: SlurmSettings) -> Iterator[Finding]:
    """What sbatch itself would say: accounts, qualities of service, limits, resources that no node has."""
    said: dict[tuple[str, ...], str] = {}
    nodes = cache(client.nodes)
    for request in requests:
        options = tuple(option for option in request.options if not option.startswith(_PER_REQUEST))
        if options not in said:
            said[options] = client.refusal(options, request.script)
        if said[options]:
            yield _refusal(request, said[options], job_settings(request.job, settings), nodes)


def _refusal(request: JobRequest, said: str, own: JobSettings, nodes: Callable[[], Sequence[NodeShape]]) -> Finding:
    """A warning where some node is large enough: it is down or drained at the moment, and the job would wait for it."""
    asked = [option for option in request.options if option.startswith(_ASKS)]
    if _NO_NODE in said and any(_fits(own, node) for node in nodes()):
        what = "no node that is up can run its job at the moment, which will wait"
        return Finding(request.key, what, "sinfo -R tells why nodes are down", "warning")
    fix = f"it was asked for with {' '.join(asked)}"
    if own.gpus:
        fix += f"; on a cluster without GPUs set slurm.commands.{request.job.command}.gpus = 0"
    return Finding(request.key, f"Slurm refuses its job: {said}", fix)


def _fits(own: JobSettings, node: NodeShape) -> bool:
    is_asked = node.partition in _names(own.partition) if own.partition else node.is_default
    return is_asked and node.has(
        cpus=own.cpus or 1, memory_mib=own.memory_mib or 0, gpus=own.gpus, gpu_type=own.gpu_type
    )


#: Options of sbatch that the runner gives itself, and what they are to it.
_OWN = {
    "array": "rv run --splits says how many tasks a job has (max_running_tasks how many run at once)",
    "error": "rv logs reads what a job prints from one file",
    "output": "rv logs reads what a job prints from one file",
    "open-mode": "what an attempt prints is to stay when the next one starts",
    "job-name": "by their names a run knows its jobs",
    "comment": "by their comments a run knows the jobs of its root",
    "export": "tasks get this process's variables and those of `environment`",
    "export-file": "tasks get this process's variables and those of `environment`",
    "kill-on-invalid-dep": "jobs whose dependency failed would wait for ever",
    "wait": "jobs are held until all are submitted (rv run --wait waits for their end)",
    "wrap": "rv writes the script of a job",
    "test-only": "nothing would be submitted (rv run --dry-run shows what would be)",
    "clusters": "a run asks the cluster of this machine (SLURM_CLUSTERS names another one)",
}
#: An option of another meaning whose name goes on from one of these.
_LIKE_OWN = ("wait-all-nodes",)
_LETTERS = {
    "-a": "array",
    "-e": "error",
    "-o": "output",
    "-J": "job-name",
    "-W": "wait",
    "-M": "clusters",
}

#: What sbatch --test-only says of a job that no node can run, be they too small, down or drained.
_NO_NODE = "Requested node configuration is not available"
#: Options that differ between requests that ask for the same.
_PER_REQUEST = ("--job-name=", "--comment=", "--output=", "--array=")
#: Options that a refusal is most likely about.
_ASKS = (
    "--partition",
    "--account",
    "--qos",
    "--constraint",
    "--cpus-per-task",
    "--mem",
    "--gres",
    "--time",
    "--ntasks",
)


def _names(partition: str) -> list[str]:
    return [name.strip() for name in partition.split(",") if name.strip()]
