"""A sound runner, and others that differ from it in one thing, which is wrong."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated
from unittest import mock

from rv_runner_background.runner import FOLDER, BackgroundRunner

from rv_core import Capabilities, Observation, Plan, RunContext, Runner, RunnerError, RunRecord, Secret, Task
from rv_core.plugins.installed import plugin_manager


class SoundRunner(Runner):
    """Nothing is wrong with it."""

    def run(self, plan: Plan, context: RunContext) -> None:
        with ThreadPoolExecutor(self.tasks_at_once(context)) as pool:
            for job in plan.jobs:
                codes = list(pool.map(lambda task: self.run_task(task, context), self.tasks_of(job.tasks)))
                if any(codes) and not context.keep_going:
                    return

    def tasks_at_once(self, context: RunContext) -> int:
        return context.jobs

    def tasks_of(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        return tasks

    def run_task(self, task: Task, context: RunContext) -> int:
        return context.run_task(task)


# --- order ----------------------------------------------------------------------------------------------------------------


class IgnoresDependenciesRunner(Runner):
    def run(self, plan: Plan, context: RunContext) -> None:
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(context.run_task, plan.tasks))


class DropsASplitRunner(SoundRunner):
    def tasks_of(self, tasks: tuple[Task, ...]) -> tuple[Task, ...]:
        return tasks[: max(1, len(tasks) - 1)]


class StartsTwiceRunner(SoundRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        return context.run_task(task) or context.run_task(task)


class RunsOneAtATimeRunner(SoundRunner):
    def tasks_at_once(self, context: RunContext) -> int:
        return 1


class IgnoresJobsRunner(SoundRunner):
    def tasks_at_once(self, context: RunContext) -> int:
        return 8


# --- what its own processes get -------------------------------------------------------------------------------------------


class OwnProcessRunner(SoundRunner):
    """Starts processes by itself; as such not wrong in what the rules below look at."""

    capabilities = Capabilities(retries=False)

    def run_task(self, task: Task, context: RunContext) -> int:
        code = self.start(self.argv(task, context), self.environ(task, context))
        if code != 0:
            context.report(task, exit_code=code)
        return code

    def argv(self, task: Task, context: RunContext) -> list[str]:
        return context.argv(task)

    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        return {**os.environ, **context.task_environ(task)}

    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        return subprocess.run(argv, env=environ, check=False).returncode


class LosesTheSplitIndexRunner(OwnProcessRunner):
    def argv(self, task: Task, context: RunContext) -> list[str]:
        return _without(context.argv(task), "--split-index", "--num-splits")


class LosesTheProfileRunner(OwnProcessRunner):
    def argv(self, task: Task, context: RunContext) -> list[str]:
        return _without(context.argv(task), "--profile")


class LosesTheVerbosityRunner(OwnProcessRunner):
    def argv(self, task: Task, context: RunContext) -> list[str]:
        return [word for word in context.argv(task) if word != "-v"]


class ImportsFromHereRunner(OwnProcessRunner):
    def argv(self, task: Task, context: RunContext) -> list[str]:
        return [word for word in context.argv(task) if word != "-P"]


class SpellsRootsAnewRunner(OwnProcessRunner):
    def argv(self, task: Task, context: RunContext) -> list[str]:
        typed = next(word.removeprefix("root_uri=") for word in sys.argv if word.startswith("root_uri="))
        config = f"{typed}/.rv/runs/{context.run_id}/pipeline-config.json"
        known = context.config_uris.values()
        return [config if word in known else word for word in context.argv(task)]

    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        return subprocess.run(argv, env=environ, cwd="/", check=False).returncode


class ForgetsToQuoteRunner(OwnProcessRunner):
    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        return subprocess.run(["/bin/sh", "-c", " ".join(argv)], env=environ, check=False).returncode


class NamesTheRootAsTypedRunner(OwnProcessRunner):
    def argv(self, task: Task, context: RunContext) -> list[str]:
        (typed,) = [word.removeprefix("root_uri=") for word in sys.argv if word.startswith("root_uri=")]
        config = f"{typed}/.rv/runs/{context.run_id}/pipeline-config.json"
        return [config if word.endswith("/pipeline-config.json") else word for word in super().argv(task, context)]


class ChangesTheEnvironmentRunner(OwnProcessRunner):
    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON", "RV_"))}
        return {**kept, **context.task_environ(task)}


class HidesGpusRunner(OwnProcessRunner):
    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        return {**super().environ(task, context), "RV_GPUS": "none"}


class LosesTheRunIdRunner(OwnProcessRunner):
    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        return {name: value for name, value in super().environ(task, context).items() if name != "RV_RUN_ID"}


class ForgetsTheCoresRunner(OwnProcessRunner):
    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        return {name: value for name, value in super().environ(task, context).items() if name != "RV_CORE_SLOTS"}


class TellsNoThreadsRunner(OwnProcessRunner):
    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        return {name: value for name, value in super().environ(task, context).items() if name != "RV_NUM_THREADS"}


class LeavesItsOutputRunner(OwnProcessRunner):
    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        with open("job-1.out", "a") as output:
            return subprocess.run(argv, env=environ, stdout=output, check=False).returncode


class HidesLogsRunner(OwnProcessRunner):
    def environ(self, task: Task, context: RunContext) -> dict[str, str]:
        return {**super().environ(task, context), "RV_RUN_DIR": os.path.join(os.environ["RV_CACHE_DIR"], "elsewhere")}


def _without(argv: list[str], *options: str) -> list[str]:
    kept, words = [], iter(argv)
    for word in words:
        if word in options:
            next(words)
        else:
            kept.append(word)
    return kept


# --- failures -------------------------------------------------------------------------------------------------------------


class SwallowsFailuresRunner(OwnProcessRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        super().run_task(task, context)
        return 0


class MasksExitCodesRunner(OwnProcessRunner):
    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        return min(1, abs(super().start(argv, environ)))


class OverlooksTheDeadRunner(OwnProcessRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        return max(0, super().run_task(task, context))


class StopsAtAFailureRunner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        for task in plan.tasks:
            if context.run_task(task):
                return


class ExitsWith0Runner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        super().run(plan, context)
        raise SystemExit(0)


class NeverReportsRunner(SoundRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        return replace(context, on_report=None).run_task(task)


class HidesWhatIsSaidRunner(OwnProcessRunner):
    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        nowhere = subprocess.DEVNULL
        return subprocess.run(argv, env=environ, stdout=nowhere, stderr=nowhere, check=False).returncode


class ForgivesLateDeathsRunner(OwnProcessRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        said: list[str] = []
        code = self.start(self.argv(task, context), self.environ(task, context))
        events = context.run_dir / "events" / f"{task.id}.1.jsonl"
        if events.exists():
            said = events.read_text().splitlines()
        if code != 0 and not (said and '"finished"' in said[-1]):
            context.report(task, exit_code=code)
        return code


class TakesCodesForSignalsRunner(OwnProcessRunner):
    capabilities = Capabilities(retries=True)

    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        for attempt in (1, 2, 3):
            code = super().start(argv, {**environ, "RV_ATTEMPT": str(attempt)})
            if code != 75 and 0 <= code <= 128:
                break
        return code


class EndsLateTasksUnsaidRunner(OwnProcessRunner):
    def start(self, argv: list[str], environ: dict[str, str]) -> int:
        process = subprocess.Popen(argv, env=environ)
        try:
            return process.wait(timeout=0.7)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class AdvisesNonsenseRunner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        super().run(plan, context)
        raise RunnerError("the engine has ended", fix="see what it said with `rv logs /no/such/root probe.work`")


class NeverRetriesRunner(OwnProcessRunner):
    capabilities = Capabilities(retries=True)


class RetriesErrorsRunner(SoundRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        return next((0 for _ in range(2) if replace(context).run_task(task) == 0), 1)


class RetriesForEverRunner(SoundRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        codes = (replace(context).run_task(task) for _ in range(2))
        return next((code for code in codes if code == 0), 75)


class ClaimsSuccessRunner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> bool:
        super().run(plan, context)
        return True


class ReportsNonsenseRunner(SoundRunner):
    def run_task(self, task: Task, context: RunContext) -> int:
        context.report(task, event="finito", exit_code="fine")
        return super().run_task(task, context)


# --- endings --------------------------------------------------------------------------------------------------------------


class UnseenProcessRunner(Runner):
    """Starts processes that the core cannot find, in sessions of their own, one at a time."""

    capabilities = Capabilities(parallel=False, retries=False)

    def run(self, plan: Plan, context: RunContext) -> None:
        for task in plan.tasks:
            environ = {**os.environ, **context.task_environ(task)}
            environ.pop("RV_RUN_ID")
            process = subprocess.Popen(context.argv(task), env=environ, start_new_session=True)
            with self.ending(process):
                process.wait()

    @contextmanager
    def ending(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        yield


class LeavesAChildRunner(UnseenProcessRunner):
    """Does nothing when it is interrupted."""


class GivesNoGraceRunner(UnseenProcessRunner):
    @contextmanager
    def ending(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGKILL)
            raise


# --- looking, settings ----------------------------------------------------------------------------------------------------


class WritesOnDryRunRunner(SoundRunner):
    def render(self, plan: Plan, context: RunContext) -> str:
        context.run_dir.mkdir(parents=True)
        (context.run_dir / "script").write_text("…")
        return "…"


@dataclass(frozen=True, kw_only=True)
class Settings:
    token: Annotated[str, Secret()] = ""


@dataclass(frozen=True, kw_only=True)
class VariableSettings:
    environment: dict[str, str] = field(default_factory=lambda: {"API_TOKEN": "kit-9876543210", "LEVEL": "debug"})


class TellsVariablesRunner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        exports = [f"export {name}={value}" for name, value in self.settings.environment.items()]
        (context.run_dir / "script").write_text("\n".join(exports))
        super().run(plan, context)


class TellsSecretsRunner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        (context.run_dir / "script").write_text(f"login {self.settings.token}")
        super().run(plan, context)


# --- engines --------------------------------------------------------------------------------------------------------------


class IgnoresCancelRunner(BackgroundRunner):
    def cancel(self, run: object) -> None:
        time.sleep(0)


class SeesNothingRunner(BackgroundRunner):
    def observe(self, run: RunRecord) -> dict[str, Observation]:
        return {}


class SeesTheEndAtOnceRunner(BackgroundRunner):
    def observe(self, run: RunRecord) -> dict[str, Observation]:
        return {task: Observation("done", exit_code=0) for task in super().observe(run)}


class TellsTheEndAtOnceRunner(BackgroundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        super().run(plan, context)
        plugin_manager().call("rv_run_finished", run_id=context.run_id, succeeded=True, summary={})


class TellsTheEndItselfRunner(SoundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        super().run(plan, context)
        plugin_manager().call("rv_run_finished", run_id=context.run_id, succeeded=True, summary={})


class DiesWithItsParentRunner(BackgroundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        super().run(plan, context)
        pid = int((context.run_dir / FOLDER / "pid").read_text())
        atexit.register(lambda: os.killpg(pid, signal.SIGKILL))


class SharesTheTerminalRunner(BackgroundRunner):
    def run(self, plan: Plan, context: RunContext) -> None:
        start = subprocess.Popen
        with mock.patch("subprocess.Popen", lambda argv, **named: start(argv, **{**named, "start_new_session": False})):
            super().run(plan, context)
