"""The `local` runner: writes the Makefile and runs make on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rv_core import Capabilities, Finding, Plan, RunContext, Runner, RunnerError, RunRecord, Storage
from rv_runner_local.makefile import (
    find_failures,
    has_line_break,
    render_makefile,
    target_name,
    without_make_variables,
)
from rv_runner_local.settings import LocalSettings

MAKEFILE = "Makefile"
#: make puts a byte for each into a pipe before it begins, and hangs where the pipe is full (64 KiB).
_MAX_JOBS = 10_000
_HOW_TO_INSTALL = (
    "install it: `sudo apt install make` (Debian, Ubuntu), `sudo dnf install make` (Fedora), "
    "`xcode-select --install` (macOS); or set local.make (RV_LOCAL_MAKE) to its path"
)


class LocalRunner(Runner):
    """Runs the tasks of a plan side by side on this machine, as processes that GNU make starts in order.

    Args:
        settings: the runner's settings; defaults if None.
    """

    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, settings: LocalSettings | None = None) -> None:
        super().__init__(settings or LocalSettings())

    def preflight(self, plan: Plan, context: RunContext) -> Iterable[Finding]:
        """A finding for every job whose command line no Makefile can hold.

        Raises:
            RunnerError: if there is no GNU make; not for a dry run, which needs none.
        """
        if not context.is_dry_run:
            find_make(self.settings.make)
        for job in plan.jobs:
            if has_line_break([str(context.run_dir), *context.argv(job.tasks[0])]):
                yield Finding(job.id, "a line break in its root or its config cannot be written into a Makefile")

    def render(self, plan: Plan, context: RunContext) -> str:
        """The Makefile."""
        return render_makefile(
            plan,
            run_id=context.run_id,
            path=str(Path(context.run_dir) / MAKEFILE),
            argv=context.argv,
            environ=context.task_environ,
        )

    def run(self, plan: Plan, context: RunContext) -> None:
        """Write the Makefile, run make on it, and report what only make saw of the tasks that failed.

        Raises:
            RunnerError: if there is no GNU make, or make failed by itself.
            Interrupted: if INT or TERM ended the run.
        """
        make = find_make(self.settings.make)
        makefile = Path(context.run_dir) / MAKEFILE
        messages = _messages_in(Path(context.run_dir))
        messages.parent.mkdir(parents=True, exist_ok=True)
        messages.unlink(missing_ok=True)
        # A path that is no UTF-8 comes with surrogates; they stand for its bytes.
        text = self.render(plan, context).encode("utf-8", "surrogateescape")
        Storage(str(context.run_dir)).write_bytes(MAKEFILE, text)
        jobs = max(1, min(context.jobs, len(plan.tasks), _MAX_JOBS))
        argv = [make, f"-j{jobs}", *(["-k"] if context.keep_going else []), "-f", str(makefile), "all"]
        exit_code = context.run_process(argv, environ=without_make_variables(os.environ), output=messages)
        if exit_code != 0:
            self._report(plan, context, exit_code, messages)

    def logs(self, run: RunRecord, task: str) -> Iterable[str]:
        """What tasks printed that could not open a log of their own, and what make said; empty on another machine.

        Raises:
            StorageError: if it is there and cannot be read.
        """
        messages = Storage(str(run.run_dir))
        name = str(_messages_in(Path()))
        return messages.read_bytes(name).decode("utf-8", "replace").splitlines() if messages.exists(name) else ()

    def _report(self, plan: Plan, context: RunContext, exit_code: int, messages: Path) -> None:
        text = messages.read_text(encoding="utf-8", errors="replace")
        tasks = {target_name(task.id): task for task in plan.tasks}
        failures = [failure for failure in find_failures(text) if failure.target in tasks]
        for failure in failures:
            context.report(tasks[failure.target], exit_code=failure.exit_code, reason=failure.reason)
        # A log that is empty could not be written, on a full disk: the core finds out which tasks failed.
        if exit_code < 0 or (text and not failures):
            raise RunnerError(
                f"make was killed by signal {-exit_code}" if exit_code < 0 else f"make ended with {exit_code}",
                where=str(messages),
                why="\n".join(text.splitlines()[-10:]),
                fix="run the same command again; it goes on where this run stopped",
            )


def _messages_in(run_dir: Path) -> Path:
    return run_dir / "logs" / "make.log"


def find_make(name: str = "") -> str:
    """The path of GNU make.

    Args:
        name: its name or path; "" looks for `make` and `gmake` on the PATH.

    Raises:
        RunnerError: if there is none, or what was found is another make or older than 3.81.
    """
    candidates = [name] if name else ["make", "gmake"]
    found = [path for path in map(shutil.which, candidates) if path]
    if not found:
        where = "setting local.make" if name else f"PATH={os.environ.get('PATH', '')}"
        raise RunnerError(f"no {' or '.join(candidates)} to be found", where=where, fix=_HOW_TO_INSTALL)
    answers = []
    for path in found:
        answer = _first_line(path)
        version = re.match(r"GNU Make (\d+)\.(\d+)", answer)
        if version and (int(version[1]), int(version[2])) >= (3, 81):
            return path
        answers.append((path, answer))
    said = "; ".join(f"{path} says {answer!r}" for path, answer in answers)
    raise RunnerError("the local runner needs GNU make 3.81 or newer", why=said, fix=_HOW_TO_INSTALL)


def _first_line(make: str) -> str:
    environ = without_make_variables(os.environ)
    try:
        answer = subprocess.run(
            [make, "--version"], capture_output=True, text=True, env=environ, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return str(err)
    return next(iter((answer.stdout or answer.stderr).splitlines()), "")
