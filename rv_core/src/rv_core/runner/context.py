"""What a runner may know and use of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rv_core.errors import EXIT_FAILED, EXIT_STOPPED
from rv_core.plan.graph import Job, Task
from rv_core.runner.capabilities import Capabilities

if TYPE_CHECKING:
    from rv_core.pipeline.pipeline import CommandInfo, PipelineConfig


@dataclass
class RunContext:
    """What a runner may know and use of the run.

    Args:
        run_id: the id of the run.
        runner: the runner's name.
        capabilities: the runner's.
        config_uris: pipeline name -> URI of the immutable config that its tasks read.
        configs: pipeline name -> that config.
        commands: pipeline name -> command name -> what the command declares, done and unselected ones included.
        run_dir: a local folder for the runner's own files, logs and events.
        jobs: how many tasks may run at once (at least 1).
        keep_going: go on with what does not depend on a failed task.
        verbosity: how often `-v` was given, minus one for `-q`.
        profile: the profile's name, or "".
        cores: cores of this machine that may be used.
        grace_s: how long a stopped task has before it is killed.
        is_dry_run: nothing may be started or written.
        environ: what every task's process gets in its environment besides.
        attempts_by_job: job id -> how often a task of it is started at most.
        requires_by_job: job id -> ids of the jobs of the plan that it requires.
        weights_by_job: job id -> how many tasks a task of it counts for; empty where each counts for one.
        on_report: takes what `report` was told.
        run_in_process: runs a task here and now instead of in a process of its own; gives its exit code.
    """

    run_id: str
    runner: str
    capabilities: Capabilities
    config_uris: Mapping[str, str]
    run_dir: Path
    jobs: int = 1
    keep_going: bool = False
    verbosity: int = 0
    profile: str = ""
    cores: int = 1
    grace_s: float = 5.0
    is_dry_run: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    on_report: Callable[[Mapping[str, Any]], None] | None = None
    run_in_process: Callable[[Task], int] | None = None
    attempts_by_job: Mapping[str, int] = field(default_factory=dict)
    configs: Mapping[str, PipelineConfig] = field(default_factory=dict)
    commands: Mapping[str, Mapping[str, CommandInfo]] = field(default_factory=dict)
    requires_by_job: Mapping[str, Sequence[str]] = field(default_factory=dict)
    weights_by_job: Mapping[str, int] = field(default_factory=dict)
    _failed_jobs: set[str] = field(default_factory=set, init=False)

    @property
    def slots(self) -> int:
        """What tasks share that run at once: as many as `jobs`, and at least the cores, which `jobs` may be below."""
        return max(1, self.jobs, self.cores)

    def argv(self, what: Task | Job) -> list[str]:
        """The command line of a task's process; of a job, the one that all tasks of an array share."""
        from rv_core.machine.python import module_argv

        pipeline, command = what.job.rsplit(".", 1) if isinstance(what, Task) else (what.pipeline, what.command)
        start = ["rv"] if self.capabilities.is_remote else module_argv("rv_core")
        argv = [*start, "run-command", self.config_uris[pipeline], command, "--runner", self.runner]
        if isinstance(what, Task) and what.num_splits > 1:
            argv += ["--split-index", str(what.split_index), "--num-splits", str(what.num_splits)]
        elif isinstance(what, Job) and len(what.tasks) > 1:
            argv += ["--num-splits", str(len(what.tasks))]
        if self.profile and not self.capabilities.is_remote:  # other machines do not have this user's profiles
            argv += ["--profile", self.profile]
        return argv + ["-v"] * max(0, self.verbosity) + (["-q"] if self.verbosity < 0 else [])

    def task_environ(self, task: Task) -> dict[str, str]:
        """What a task's process needs in its environment besides what is there already."""
        added = {"RV_RUN_ID": self.run_id, **self.environ}
        if not self.capabilities.is_remote:
            from rv_core.machine.cores import thread_share

            weight, slots = self.weights_by_job.get(task.job, 1), self.slots
            at_once = min(self.jobs, slots // weight)
            added["RV_RUN_DIR"] = str(self.run_dir)
            added["RV_NUM_THREADS"] = str(thread_share(self.cores, jobs=at_once, num_tasks=task.num_splits))
            if self.weights_by_job and not self.capabilities.detaches:  # an engine counts by itself
                added["RV_CORE_SLOTS"] = f"{weight}/{slots}"
        return added

    def run_task(self, task: Task) -> int:
        """Run a task in a process of its own on this machine, wait for it, and return its exit code.

        Its output goes to its log. For runners that start processes here; safe to call from several threads. A task
        that may be started several times (`attempts`) and was stopped or died by a signal is started again. An exit
        code other than 0 is reported. A task of a job that requires a failed one is not started and counts as failed.
        """
        if self._failed_jobs & set(self.requires_by_job.get(task.job, ())):
            self._failed_jobs.add(task.job)
            return EXIT_FAILED
        code = self._run_attempts(task) if self.run_in_process is None else self.run_in_process(task)
        if code != 0:
            self._failed_jobs.add(task.job)
        return code

    def _run_attempts(self, task: Task) -> int:
        from rv_core.machine.processes import may_restart, run_task_process

        code = EXIT_FAILED
        for attempt in range(1, self.attempts_of(task) + 1):
            environ = {**os.environ, **self.task_environ(task), "RV_ATTEMPT": str(attempt)}
            code = run_task_process(self.argv(task), environ=environ, run_id=self.run_id, grace_s=self.grace_s)
            if not may_restart(code):
                break
        if code not in (0, EXIT_STOPPED):
            self.report(task, exit_code=code, reason=ended_by(code))
        return code

    def attempts_of(self, task: Task) -> int:
        """How often a task may be started."""
        return max(1, self.attempts_by_job.get(task.job, 1))

    def run_process(self, argv: Sequence[str], *, environ: Mapping[str, str], output: Path | None = None) -> int:
        """Run an engine (make, say) and all that it starts, and return its exit code.

        It gets a session of its own. INT and TERM are passed on to everything in it; what is left after the grace is
        killed, and a second INT kills at once.

        Args:
            argv: the command line.
            environ: the whole environment.
            output: a file to append what it prints to; the output of this process by default.

        Raises:
            Interrupted: if INT or TERM ended it.
        """
        from rv_core.machine.processes import run_in_session

        return run_in_session(argv, environ=environ, run_id=self.run_id, grace_s=self.grace_s, output=output)

    def report(
        self,
        what: Task | Job | str,
        *,
        event: str = "reported",
        exit_code: int | None = None,
        reason: str = "",
        native_id: str = "",
    ) -> None:
        """Record what only the runner saw: that something was submitted, under which id, how it ended and why.

        Args:
            what: a task, a job (one entry for all tasks of an array), or the name of something of the runner's own.
            event: `submitted` or `reported`.
            exit_code: how it ended.
            reason: why, in words.
            native_id: the engine's own id.
        """
        if self.on_report is not None:
            entry = {"event": event, **_named(what), "exit_code": exit_code, "reason": reason, "native_id": native_id}
            self.on_report({name: value for name, value in entry.items() if value not in (None, "")})


def _named(what: Task | Job | str) -> dict[str, str]:
    if isinstance(what, Task):
        return {"task": what.id}
    if isinstance(what, str):
        return {"job": what}
    return {"job": what.id, **({"task": what.tasks[0].id} if len(what.tasks) == 1 else {})}


def ended_by(exit_code: int) -> str:
    """The signal that ended a task, in words; "" for an exit code of its own.

    Args:
        exit_code: as Python gives it (minus the signal) or as a shell does (128 + signal).
    """
    import signal

    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return ""
    return f"ended by {name}" + ("; the system does that when memory runs out" if name == "SIGKILL" else "")
