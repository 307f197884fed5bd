"""The runner `background`: one shell works through the plan after `rv run` has ended; files tell how far it is.

Every task is a script that leaves `<task>.started`, what it printed and, with its exit code, `<task>.exit`. The shell
and all that it starts hold a lock as long as one of them lives.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from rv_core import Capabilities, Job, Observation, Plan, RunContext, Runner, RunnerError, RunRecord, Task

FOLDER = "background"
#: Seconds between TERM and KILL when a run is cancelled.
GRACE_S = 10.0

_TASK = """\
: > {task}.started
{exports}
RV_ATTEMPT=1
while :; do
  export RV_ATTEMPT
  {command} </dev/null >>{task}.output 2>&1
  code=$?
  if [ $code -ne 75 ] && {{ [ $code -le 128 ] || [ $code -gt 192 ]; }} || [ $RV_ATTEMPT -ge {attempts} ]; then break; fi
  RV_ATTEMPT=$((RV_ATTEMPT + 1))
done
echo $code > {task}.tmp && mv {task}.tmp {task}.exit
[ $code -eq 0 ]
"""
_ENGINE = """\
run_job() {{
  job=$1; shift
  for required in "$@"; do if [ -e "$required.failed" ]; then : > "$job.failed"; return; fi; done
  xargs -P {jobs} -n 1 /bin/sh < "$job.tasks" || : > "$job.failed"
}}
{calls}
"""


class BackgroundRunner(Runner):
    """Leaves a plan to a shell in the background and returns; observes it by the files that it leaves."""

    capabilities: ClassVar[Capabilities] = Capabilities(detaches=True)

    def render(self, plan: Plan, context: RunContext) -> str:
        """The script that works through the plan."""
        calls = (shlex.join(["run_job", job.id, *job.requires]) for job in plan.jobs)
        return _ENGINE.format(jobs=context.jobs, calls="\n".join(calls))

    def run(self, plan: Plan, context: RunContext) -> None:
        """Write the scripts and start the one that starts the others."""
        folder = context.run_dir / FOLDER
        folder.mkdir(parents=True)
        for job in plan.jobs:
            (folder / f"{job.id}.tasks").write_text("".join(f"{task.id}.sh\n" for task in job.tasks))
            for task in job.tasks:
                (folder / f"{task.id}.sh").write_text(_script_of(task, job, context))
        (folder / "engine").write_text(self.render(plan, context))
        with open(folder / "lock", "w") as lock, open(folder / "output", "w") as output:
            fcntl.flock(lock, fcntl.LOCK_EX)
            engine = subprocess.Popen(
                ["/bin/sh", "engine"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
            (folder / "pid").write_text(str(engine.pid))
        for task in plan.tasks:
            context.report(task, event="submitted", native_id=str(engine.pid))

    def observe(self, run: RunRecord) -> Mapping[str, Observation]:
        """Task id -> its state. A task that was started and left no exit code speaks for itself in its events."""
        folder = run.run_dir / FOLDER
        is_alive = _is_alive(folder)  # before the files are looked at: what ends meanwhile has its exit code by then
        seen = {script.stem: _observation(folder, script.stem, is_alive) for script in folder.glob("*.sh")}
        return {task: observation for task, observation in seen.items() if observation is not None}

    def logs(self, run: RunRecord, task: str) -> Iterable[str]:
        """What a task printed past its log, as one does that ends before it has one."""
        output = run.run_dir / FOLDER / f"{task}.output"
        return output.read_text(errors="replace").splitlines() if output.exists() else ()

    def cancel(self, run: RunRecord) -> None:
        """End the shell and everything that it started.

        Raises:
            RunnerError: if something of it is still there after KILL.
        """
        folder = run.run_dir / FOLDER
        for signum in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + GRACE_S
            if _is_alive(folder):
                os.killpg(int((folder / "pid").read_text()), signum)
            while _is_alive(folder) and time.monotonic() < end:
                time.sleep(0.05)
        if _is_alive(folder):
            raise RunnerError("processes of the run cannot be ended", where=str(folder))


def _script_of(task: Task, job: Job, context: RunContext) -> str:
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in context.task_environ(task).items())
    argv = shlex.join(context.argv(task))
    return _TASK.format(task=task.id, exports=exports, command=argv, attempts=job.resources.attempts)


def _observation(folder: Path, task: str, is_alive: bool) -> Observation | None:
    if (folder / f"{task}.exit").exists():
        code = int((folder / f"{task}.exit").read_text())
        return Observation("done" if code == 0 else "stopped" if code == 75 else "failed", exit_code=code)
    if (folder / f"{task}.started").exists():
        return Observation("running") if is_alive else None
    return Observation("waiting") if is_alive else Observation("cancelled", reason="the run ended before it")


def _is_alive(folder: Path) -> bool:
    with open(folder / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
