"""The programs of Slurm: the only module that starts them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from rv_core import RunnerError
from rv_runner_slurm.job_records import (
    NODE_FORMAT,
    SACCT_FORMAT,
    SQUEUE_ENVIRON,
    SQUEUE_FORMAT,
    JobRecord,
    NodeShape,
    is_job_id,
    parse_max_array_size,
    parse_nodes,
    parse_partitions,
    parse_sacct,
    parse_squeue,
    parse_submitted,
)

#: How long Slurm's programs may take. They give up by themselves before: sbatch tries for 120 s to get into a full queue.
_TIMEOUT_S = 150.0
#: Ids on one command line; a kernel takes 128 KiB of them in one word.
_MAX_IDS = 1000
_UNKNOWN_JOB = "Invalid job id specified"
#: Variables that Slurm's programs read.
_CLEARED = ("SLURM_", "SBATCH_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_")
#: Those that lead to the cluster, and what a user asks for by default, which settings override.
_DEFAULTS = ("ACCOUNT", "CONSTRAINT", "PARTITION", "QOS", "RESERVATION", "TIMELIMIT", "WCKEY")
_KEPT = ("SLURM_CONF", "SLURM_CLUSTERS", *(f"SBATCH_{name}" for name in _DEFAULTS))
_HOW_TO_REACH = "run rv on a machine that has Slurm's programs, such as a login node of the cluster"


class SlurmError(RunnerError):
    """A program of Slurm is missing, cannot reach the cluster, or refuses.

    Args:
        is_refusal: whether the cluster was reached and said no.
    """

    headline = "Slurm error"

    def __init__(self, what: str, *, why: str = "", fix: str = "", is_refusal: bool = False) -> None:
        super().__init__(what, why=why, fix=fix)
        self.is_refusal = is_refusal


def submit(options: Sequence[str], script: str, environ: Mapping[str, str]) -> str:
    """Submit a script and return the id of its job.

    Args:
        options: options of sbatch.
        script: the script.
        environ: variables of the job, besides those of this process.

    Raises:
        SlurmError: if it is refused, or no id can be told from what is printed.
    """
    answer = _ask(["sbatch", "--parsable", *options], script=script, environ=environ)
    try:
        return parse_submitted(answer)
    except ValueError as error:
        fix = "see what the sbatch of your site prints besides the id (sbatch --parsable), and on which stream"
        raise SlurmError("sbatch printed no id of a job", why=str(error), fix=fix, is_refusal=True) from error


def refusal(options: Sequence[str], script: str) -> str:
    """Why sbatch would refuse a script, in its own words; "" if it would not. Nothing is submitted.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    try:
        _ask(["sbatch", "--test-only", *options], script=script)
    except SlurmError as error:
        if not error.is_refusal:
            raise
        return error.block.why
    return ""


def release(ids: Iterable[str]) -> None:
    """Let jobs start that were submitted to be held.

    Raises:
        SlurmError: if it is refused.
    """
    for chunk in _chunks(ids):
        _ask(["scontrol", "release", *chunk])


def cancel(ids: Iterable[str]) -> None:
    """End jobs in the order given, whatever state they are in; those that have ended or are forgotten are no error.

    Raises:
        SlurmError: if the cluster cannot be asked, or does not let this user.
    """
    for chunk in _chunks(ids):
        _ask(["scancel", "--quiet", *chunk], allowed=(_UNKNOWN_JOB, "already completing", "already completed"))


def jobs(ids: Iterable[str], name_prefix: str) -> list[JobRecord]:
    """What Slurm still knows of some jobs. Minutes after its end (MinJobAge) it forgets a job.

    Args:
        ids: their ids. A cluster that is set up anew, or has counted up to MaxJobId, gives an id again.
        name_prefix: what their names begin with: another job that has got one of the ids is none of them.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    found = (record for chunk in _chunks(ids) for record in _squeue(f"--jobs={','.join(chunk)}"))
    return [record for record in found if record.name.startswith(name_prefix)]


def own_jobs() -> list[JobRecord]:
    """This user's jobs that have not been forgotten.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    return _squeue("--me")


def accounted_jobs(ids: Iterable[str], name_prefix: str) -> list[JobRecord]:
    """What the accounting of the cluster knows of some jobs; nothing where there is no accounting.

    Args:
        ids: their ids.
        name_prefix: see `jobs`.
    """
    found: list[JobRecord] = []
    words = ["sacct", "--parsable2", "--noheader", "--allocations", f"--format={SACCT_FORMAT}"]
    try:
        for chunk in _chunks(ids):
            found += parse_sacct(_ask([*words, f"--jobs={','.join(chunk)}"]))
    except SlurmError:
        pass
    return [record for record in found if record.name.startswith(name_prefix)]


def max_array_size() -> int | None:
    """The cluster's MaxArraySize; None if it does not say.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    return parse_max_array_size(_ask(["scontrol", "show", "config"]))


def partitions() -> dict[str, dict[str, str]]:
    """Name -> fields of every partition.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    return parse_partitions(_ask(["scontrol", "-o", "show", "partition"]))


def nodes() -> list[NodeShape]:
    """Every node of the cluster, in whatever state.

    Raises:
        SlurmError: if the cluster cannot be asked.
    """
    return parse_nodes(_ask(["sinfo", "--Node", "--noheader", f"--format={NODE_FORMAT}"]))


def _squeue(chosen: str) -> list[JobRecord]:
    words = ["squeue", "--noheader", "--states=all", f"--Format={SQUEUE_FORMAT}", chosen]
    return parse_squeue(_ask(words, environ=SQUEUE_ENVIRON, allowed=(_UNKNOWN_JOB,)))


def _chunks(ids: Iterable[str]) -> list[list[str]]:
    every = [known for known in dict.fromkeys(ids) if is_job_id(known)]
    return [every[start : start + _MAX_IDS] for start in range(0, len(every), _MAX_IDS)]


def _ask(
    argv: Sequence[str], *, script: str = "", environ: Mapping[str, str] | None = None, allowed: Sequence[str] = ()
) -> str:
    """What a program prints.

    Args:
        argv: its command line.
        script: what it reads.
        environ: variables that it gets besides those of this process.
        allowed: messages that are no error.

    Raises:
        SlurmError: if it is not there, or fails.
    """
    program = shutil.which(argv[0])
    if program is None:
        raise SlurmError(f"{argv[0]} is not on the PATH", fix=_HOW_TO_REACH)
    try:
        done = subprocess.run(
            [program, *argv[1:]],
            input=script,
            env={**_clean_environ(), **(environ or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            start_new_session=True,  # Ctrl-C ends rv, which then looks what was submitted
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{argv[0]} gave no answer within {_TIMEOUT_S:.0f} s", fix="try again later") from None
    said = _last_words(done.stderr)
    if done.returncode == 0 or any(text in done.stderr for text in allowed):
        return done.stdout
    is_unreachable = "Unable to contact slurm controller" in done.stderr or "DNS SRV" in done.stderr
    fix = "see whether the cluster is up (scontrol ping), and try again" if is_unreachable else ""
    raise SlurmError(f"{argv[0]} failed", why=said, fix=fix, is_refusal=not is_unreachable)


def _clean_environ() -> dict[str, str]:
    """This process's environment without what would change the meaning of a question or of a submission.

    An allocation around this process describes itself in variables, which its jobs would inherit, and a user's own
    defaults filter what squeue shows, or let sbatch wait.
    """
    return {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith(_CLEARED)}


def _last_words(text: str) -> str:
    """What an error says, without the name of the program before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(line.partition(": error: ")[2] or line for line in lines[-3:])
