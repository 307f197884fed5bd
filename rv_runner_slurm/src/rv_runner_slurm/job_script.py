"""The script that Slurm runs for a task: it starts the task's process, again if it may, and passes signals on. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Exit code of a task that was stopped with its state saved.
_STOPPED = 75

_SETUP = """\
# A task that ran without what a line was to bring would look done.
setup_failed() {{
  code=$?
  [ "$code" -ne 0 ] || code=1
  echo "rv: the setup of this job ended with exit code $code; its task was not started" >&2
  echo "$code" > "$exit_file.tmp" && mv "$exit_file.tmp" "$exit_file"
  exit "$code"
}}
trap setup_failed EXIT
set -e
{lines}
set +e
trap - EXIT
"""
_SCRIPT = """\
#!/bin/sh
# rv run {run_id}, job {job}
# TERM (a cancel, or others want the node) goes on to the task, which saves its state; Slurm decides what comes next.
# USR1 comes before the time limit: the task saves its state, and Slurm is asked to start this job once more.
task='' stopping='' near_limit=''
trap 'stopping=1; [ -z "$task" ] || kill -TERM "$task"' TERM
trap 'near_limit=1; [ -z "$task" ] || kill -TERM "$task"' USR1
{index}exit_file={exit_file}
rm -f "$exit_file"
# Which devices a job has is Slurm's to say, and so is the number of its cores.
unset RV_GPUS
export RV_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-${{SLURM_CPUS_ON_NODE:-1}}}}"
{setup}export RV_ATTEMPT=$((${{SLURM_RESTART_COUNT:-0}} + 1))
while :; do
  {command} &
  task=$!
  # A signal ends `wait` early, while the task goes on.
  while wait "$task"; code=$?; kill -0 "$task" 2>/dev/null; do :; done
  task=''
  if [ "$code" -ne {stopped} ] && {{ [ "$code" -le 128 ] || [ "$code" -gt 192 ]; }}; then break; fi
  if [ -n "$stopping$near_limit" ] || [ "$RV_ATTEMPT" -ge {attempts} ]; then break; fi
  RV_ATTEMPT=$((RV_ATTEMPT + 1))
done
if [ "$code" -eq {stopped} ] && [ -n "$near_limit" ] && [ -z "$stopping" ] && [ "$RV_ATTEMPT" -lt {attempts} ]; then
  # It ends this script, and may do so before it has said that it did.
  if scontrol requeue {own_id}; then sleep 60; else sleep 5; fi
fi
# Slurm forgets a job minutes after its end.
echo "$code" > "$exit_file.tmp" && mv "$exit_file.tmp" "$exit_file"
exit "$code"
"""


@dataclass(frozen=True)
class Traces:
    """Files that the tasks of one request leave in the runner's folder: what the script prints, and exit codes.

    Args:
        folder: the runner's folder of the run, on a file system that every node sees.
        key: names the request.
        first: the split index of an array's index 0; None for a job that is no array.
    """

    folder: Path
    key: str
    first: int | None

    def output(self, array_index: int) -> Path:
        """What the script of a task printed. What the task itself prints goes to its own log."""
        return self.folder / f"{self._stem(str(array_index))}.out"

    def output_option(self) -> str:
        """The same as sbatch takes it, for all tasks at once. It can have no backslash in it."""
        folder = str(self.folder).replace("%", "%%")
        return f"--output={folder}/{self._stem('%a')}.out"

    def exit_file(self, array_index: int) -> Path:
        """The exit code of a task, written when it has ended for good."""
        return self.folder / f"{self._stem(str(array_index))}.exit"

    def exit_file_in_shell(self) -> str:
        """The same as a shell word, for all tasks at once."""
        if self.first is None:
            return shlex.quote(str(self.exit_file(0)))
        return f'{shlex.quote(f"{self.folder}/{self.key}.")}"$SLURM_ARRAY_TASK_ID".exit'

    def _stem(self, index: str) -> str:
        return self.key if self.first is None else f"{self.key}.{index}"


def render_script(
    argv: Sequence[str], *, run_id: str, job: str, traces: Traces, attempts: int, setup: Sequence[str] = ()
) -> str:
    """The script of a job.

    Args:
        argv: the command line that all tasks of the job share.
        run_id: the run, for people who look at the script.
        job: the job, likewise.
        traces: where the exit code is left.
        attempts: how often a task may be started.
        setup: shell lines to begin with; the first that fails ends the job.
    """
    is_array = traces.first is not None
    # The task of an array that starts last has the id of the whole array as its SLURM_JOB_ID.
    own_id = '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"' if is_array else '"$SLURM_JOB_ID"'
    return _SCRIPT.format(
        run_id=run_id,
        job=job,
        index=f"index=$(({traces.first} + SLURM_ARRAY_TASK_ID))\n" if is_array else "",
        exit_file=traces.exit_file_in_shell(),
        setup=_SETUP.format(lines="\n".join(setup)) if setup else "",
        command=shlex.join(argv) + (' --split-index "$index"' if is_array else ""),
        stopped=_STOPPED,
        attempts=attempts,
        own_id=own_id,
    )
