"""`rv run-command CONFIG_URI COMMAND`: one task in a process of its own – what every runner starts.

Everything here counts in the price of a task, so nothing is imported before it is needed, and Typer, marshmallow and
the plugins' entry points not at all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core.errors import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    PluginError,
    RvError,
    UsageError,
    unknown_name,
)
from rv_core.event_writer import EventWriter
from rv_core.files import uris
from rv_core.manifests import requirement_error, unmet_requirements
from rv_core.pipeline import Pipeline, TaskStopped
from rv_core.run_state import RunPaths
from rv_core.task_execution import TaskExecution, TaskRequest
from rv_core.task_inputs import activate_code_of, check_environment, check_requirements, load_pipeline, read_record

if TYPE_CHECKING:
    from rv_core.machine.gpu_slots import GpuLease

USAGE = "rv run-command CONFIG_URI COMMAND [--split-index I --num-splits N] [--runner NAME] [--profile NAME] [-v] [-q]"


class TaskTimedOut(BaseException):
    """The task's `timeout_s` is over."""


@dataclass(frozen=True)
class Invocation:
    """The command line of a task."""

    config_uri: str
    command: str
    split_index: int | None = None
    num_splits: int = 1
    runner: str = ""
    profile: str = ""
    verbosity: int = 0
    traceback: bool = False


def main(argv: list[str]) -> int:
    """Run one task and return its exit code: 0 done, 1 failed, 2 usage, 3 environment, 75 stopped, 130 interrupted."""
    if "--help" in argv or "-h" in argv:
        print(f"usage: {USAGE}\n\nRuns one task of a run; runners start it, people rarely do.")
        return EXIT_DONE
    stop = StopSignal()
    signal.signal(signal.SIGTERM, stop.arrived)
    try:
        invocation = parse(argv)
        _take_options(invocation)
        return _run(invocation, stop)
    except RvError as error:
        print(_redacted(str(error)), file=sys.stderr)
        return error.exit_code
    except TaskStopped:
        return EXIT_STOPPED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _take_options(invocation: Invocation) -> None:
    """Let `--profile` hold for the settings that the task, and what it starts, will load; `-v` for its libraries' logs."""
    from rv_core.task_log import print_library_logs

    if invocation.profile:
        os.environ["RV_PROFILE"] = invocation.profile
    print_library_logs(invocation.verbosity)


def parse(argv: list[str]) -> Invocation:
    """The task that a command line names.

    Raises:
        UsageError: for a missing or unknown word, or a split index outside of its range.
    """
    words: list[str] = []
    values: dict[str, Any] = {}
    rest = iter(argv)
    for word in rest:
        option, _, attached = word.partition("=")
        if option in _VALUE_OPTIONS:
            value = attached or next(rest, None)
            if value is None:
                raise UsageError(f"{option} needs a value", fix=f"usage: {USAGE}")
            values[_VALUE_OPTIONS[option]] = value
        elif word.startswith("-v") and set(word[1:]) == {"v"}:
            values["verbosity"] = values.get("verbosity", 0) + len(word) - 1
        elif word in ("-q", "--quiet"):
            values["verbosity"] = -1
        elif word == "--traceback":
            values["traceback"] = True
        elif word.startswith("-"):
            what, fix = unknown_name("option", word, _VALUE_OPTIONS)
            raise UsageError(what, fix=fix or f"usage: {USAGE}")
        else:
            words.append(word)
    if len(words) != 2:
        raise UsageError(f"expected CONFIG_URI and COMMAND, got {words}", fix=f"usage: {USAGE}")
    return _checked(Invocation(config_uri=words[0], command=words[1], **_with_numbers(values)))


_VALUE_OPTIONS = {
    "--split-index": "split_index",
    "--split-ind": "split_index",
    "--num-splits": "num_splits",
    "--runner": "runner",
    "--profile": "profile",
    "-p": "profile",
}


def _with_numbers(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("split_index", "num_splits"):
        if name in values:
            try:
                values[name] = int(values[name])
            except ValueError:
                raise UsageError(f"--{name.replace('_', '-')} {values[name]!r} is not a whole number") from None
    return values


def _checked(invocation: Invocation) -> Invocation:
    if invocation.num_splits < 1:
        raise UsageError(f"--num-splits {invocation.num_splits} is below 1")
    index = invocation.split_index
    if index is not None and not 0 <= index < invocation.num_splits:
        raise UsageError(
            f"--split-index {index} is outside 0..{invocation.num_splits - 1}",
            why=f"with --num-splits {invocation.num_splits} the first share has index 0",
        )
    return invocation


class StopSignal:
    """Receives TERM: before the command runs it stops the process, afterwards the running task decides.

    Only the first counts: make passes TERM on to tasks that have had it with their group, and a second exception would
    cut short what the first one makes the task do.
    """

    def __init__(self) -> None:
        self.execution: TaskExecution | None = None
        self._has_arrived = False

    def arrived(self, signum: int, frame: object) -> None:
        """The handler of the signal."""
        if self._has_arrived:
            return
        self._has_arrived = True
        if self.execution is None:
            raise TaskStopped("stopped by TERM before the command began")
        self.execution.stop()


def _run(invocation: Invocation, stop: StopSignal) -> int:
    runner = _runner_of(invocation)
    split_index = _split_index_of(invocation, runner)
    _checked(Invocation("", "", split_index, invocation.num_splits))
    paths = RunPaths.of_config(invocation.config_uri)
    if paths is None:
        return _run_by_hand(invocation, split_index, stop)
    record = read_record(paths, invocation.command, invocation.config_uri)
    task = record["job"] + (f".{split_index + 1}-of-{invocation.num_splits}" if invocation.num_splits > 1 else "")
    attempt = int((runner.attempt(os.environ) if runner else None) or os.environ.get("RV_ATTEMPT") or 1)
    with opened_record(paths, task, attempt) as (events, attempt, log_path):
        request = TaskRequest(
            task, invocation.command, split_index, invocation.num_splits, attempt, paths.run_id, record
        )
        with _output(paths, log_path, task, attempt):
            return reported(
                request,
                events,
                lambda: _execute_planned(paths, request, events, stop),
                show_traceback=invocation.traceback,
            )


def _split_index_of(invocation: Invocation, runner: Any) -> int:
    if invocation.split_index is not None:
        return invocation.split_index
    index: int | None = runner.split_index(os.environ) if runner else None
    if index is None and invocation.num_splits > 1:
        # The first share is no good guess: the others would be left undone without a word.
        raise UsageError(
            f"which of the {invocation.num_splits} splits this task is, nothing says",
            why=f"there is no --split-index, and the runner {invocation.runner!r} finds none in the environment"
            if invocation.runner
            else "there is neither a --split-index nor a --runner that finds it in the environment",
            fix=f"add --split-index I, from 0 to {invocation.num_splits - 1}",
        )
    return index or 0


def _runner_of(invocation: Invocation) -> Any:
    """The runner, for those that take the split index or the attempt from the environment; None where not needed."""
    is_told = invocation.num_splits == 1 or invocation.split_index is not None
    if not invocation.runner or (is_told and os.environ.get("RV_RUN_DIR")):
        return None
    from rv_core.plugins.installed import plugin_manager, resolve

    spec = plugin_manager().runner_specs().get(invocation.runner)
    if spec is None and not is_told:
        # Without it every task of an array would take itself for the first one.
        raise PluginError(
            f"the runner {invocation.runner!r} is not installed here, so nobody knows which split this task is",
            fix="install its package into the image",
        )
    return resolve(spec.target, declared_by=invocation.runner)() if spec else None


@contextlib.contextmanager
def opened_record(paths: RunPaths, task: str, attempt: int) -> Iterator[tuple[EventWriter, int, str]]:
    """The events and the log of one attempt; an attempt number that is taken already (a second copy) is counted up.

    Yields:
        (events, attempt, local path of the log).
    """
    run_dir = os.environ.get("RV_RUN_DIR") or _default_run_dir(paths)
    events_dir, logs_dir = os.path.join(run_dir, "events"), os.path.join(run_dir, "logs")
    os.makedirs(events_dir, exist_ok=True)
    os.makedirs(logs_dir, exist_ok=True)
    while True:
        path = os.path.join(events_dir, f"{task}.{attempt}.jsonl")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            break
        except FileExistsError:
            attempt += 1
    remote = "" if uris.is_local(paths.root_uri) else uris.join(paths.folder, "events", f"{task}.{attempt}.jsonl")
    with EventWriter(path, remote_uri=remote) as events:
        yield events, attempt, os.path.join(logs_dir, f"{task}.{attempt}.log")


def _default_run_dir(paths: RunPaths) -> str:
    from rv_core.run_state import local_run_dir

    return local_run_dir(paths)


def _output(paths: RunPaths, log_path: str, task: str, attempt: int) -> contextlib.AbstractContextManager[None]:
    """Where the task's output goes: to its log, and for an engine on another machine also to that engine."""
    from rv_core.task_log import copied_to, redirected_to

    if os.environ.get("RV_RUN_DIR"):
        if uris.is_local(paths.root_uri):
            return redirected_to(log_path)
        return _redirected_and_uploaded(log_path, uris.join(paths.folder, "logs", f"{task}.{attempt}.log"))
    upload = "" if uris.is_local(paths.root_uri) else uris.join(paths.folder, "logs", f"{task}.{attempt}.log")
    return copied_to(log_path, upload)


@contextlib.contextmanager
def _redirected_and_uploaded(path: str, uri: str) -> Iterator[None]:
    from rv_core.task_log import redirected_to, upload

    try:
        with redirected_to(path):
            yield
    finally:
        upload(path, uri)


def reported(
    request: TaskRequest, events: EventWriter, execute: Callable[[], None], *, show_traceback: bool = False
) -> int:
    """Run the task between its `started` and its last event; every way out becomes an exit code and a reason."""
    started = time.monotonic()
    events.write(
        "started",
        run_id=request.run_id,
        task=request.task,
        attempt=request.attempt,
        host=os.uname().nodename,
        pid=os.getpid(),
    )
    try:
        _call_hooks(request, "rv_task_started", events)
        execute()
    except BaseException as error:  # noqa: BLE001 - whatever ends a task is reported, with its traceback in the log
        code, event, reason = outcome_of(error, show_traceback=show_traceback)
        events.write(event, reason=reason, exit_code=code)
        _call_hooks(request, "rv_task_failed", events, reason=reason)
        return code
    events.write("finished", **usage(started))
    _call_hooks(request, "rv_task_finished", events, duration_s=time.monotonic() - started)
    return EXIT_DONE


def usage(started: float) -> dict[str, float]:
    """Wall time since `started` (of time.monotonic), CPU time and peak memory of this process, for an event."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return {
        "duration_s": round(time.monotonic() - started, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "max_rss_mib": round(used.ru_maxrss / scale, 1),
    }


def outcome_of(error: BaseException, *, show_traceback: bool = False) -> tuple[int, str, str]:
    """What an exception that ended a task means; prints what the log should hold.

    Returns:
        (exit code, event, reason).
    """
    if isinstance(error, TaskStopped):
        _say(str(error))
        return EXIT_STOPPED, "stopped", str(error)
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED, "stopped", "interrupted"
    if isinstance(error, RvError):
        if show_traceback:
            _say("".join(traceback.format_exception(error)))
        _say(_redacted(str(error)))
        return error.exit_code, "failed", _redacted(_reason_of(error))
    if isinstance(error, TaskTimedOut):
        _print_own_frames(error)
        return EXIT_FAILED, "failed", str(error)
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else (EXIT_FAILED if error.code else EXIT_DONE)
        _say(f"the command called sys.exit({error.code!r}) before it was done")
        return code or EXIT_FAILED, "failed", f"the command called sys.exit({error.code!r})"
    _print_own_frames(error)
    return EXIT_FAILED, "failed", _redacted(f"{type(error).__name__}: {error}")


def _say(text: str) -> None:
    """Print for the log. One that cannot be written, on a full disk, must not hide why the task ended."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _reason_of(error: RvError) -> str:
    """What and why of an error, on one line."""
    why = " ".join(error.block.why.split())
    return f"{error.block.what}: {why}" if why else error.block.what


#: The way from the start of a task to the command says nothing about the command.
_WAY_TO_THE_COMMAND = ("run_command.py", "task_execution.py", "inprocess.py")


def _print_own_frames(error: BaseException) -> None:
    """The traceback of a command, from the command on."""
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.endswith(_WAY_TO_THE_COMMAND):
        first = first.tb_next
    _say("".join(traceback.format_exception(type(error), error, first or error.__traceback__)).rstrip())


def _execute_planned(paths: RunPaths, request: TaskRequest, events: EventWriter, stop: StopSignal) -> None:
    if not (uris.is_local(paths.root_uri) or os.environ.get("RV_RUN_DIR")):
        check_environment(paths)
    check_requirements(paths, request)
    set_thread_limits(os.environ)
    resources = request.record["resources"]
    with gpu_lease(resources["gpus"]):
        pipeline = load_pipeline(paths)
        execute(pipeline, request, events, stop, timeout_s=resources["timeout_s"])


def execute(
    pipeline: Pipeline, request: TaskRequest, events: EventWriter, stop: StopSignal | None, *, timeout_s: int | None
) -> None:
    """Work through the task's share, within its time."""
    execution = TaskExecution(pipeline, request, events)
    if stop is not None:
        stop.execution = execution
    try:
        with _time_limit(timeout_s):
            execution.run()
    finally:
        if stop is not None:
            stop.execution = None


@contextlib.contextmanager
def _time_limit(timeout_s: int | None) -> Iterator[None]:
    if timeout_s is None:
        yield
        return

    def over(signum: int, frame: object) -> None:
        raise TaskTimedOut(f"timed out after {timeout_s} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def set_thread_limits(environ: Mapping[str, str]) -> None:
    """Give the numeric libraries that are imported later the threads of this task (`RV_NUM_THREADS`)."""
    if environ.get("RV_NUM_THREADS"):
        from rv_core.machine.cores import thread_environ

        os.environ.update(thread_environ(int(environ["RV_NUM_THREADS"]), environ))


@contextlib.contextmanager
def gpu_lease(count: int) -> Iterator[GpuLease | None]:
    """Hold as many GPUs as the command wants until it ends; commands that want none get none."""
    if not count:
        yield None
        return
    from rv_core.machine.gpu_slots import acquire

    with acquire(count, os.environ, on_wait=print) as lease:
        yield lease


def _run_by_hand(invocation: Invocation, split_index: int, stop: StopSignal) -> int:
    """A task outside of a run: any saved config, planned here and now."""
    from rv_core import config_file
    from rv_core.files import storage
    from rv_core.pipeline import PipelineConfig
    from rv_core.planning import plan_one_command

    uri = uris.absolute(invocation.config_uri, os.getcwd())
    try:
        text = storage.read_text(uri)
    except storage.MissingFileError as err:
        raise UsageError(f"there is no saved config {uris.name_of(uri)!r}", where=uri) from err
    root_uri = str(config_file.parse_plain(text, source=uri).plain.get("root_uri", ""))
    activate_code_of(text, root_uri)
    pipeline = config_file.parse(text, source=uri, expected=PipelineConfig).config.build()
    records = plan_one_command(pipeline, invocation.command)
    record = records[invocation.command]
    problems = unmet_requirements(root_uri, record, lambda job: records[job.rsplit(".", 1)[1]])
    if problems:
        raise requirement_error(invocation.command, problems)
    num_splits = invocation.num_splits
    task = record["job"] + (f".{split_index + 1}-of-{num_splits}" if num_splits > 1 else "")
    request = TaskRequest(task, invocation.command, split_index, num_splits, 1, "", record)
    set_thread_limits(os.environ)
    resources = record["resources"]

    def run_it() -> None:
        with gpu_lease(resources["gpus"]):
            execute(pipeline, request, events, stop, timeout_s=resources["timeout_s"])

    with EventWriter(os.devnull) as events:
        return reported(request, events, run_it, show_traceback=invocation.traceback)


def _call_hooks(request: TaskRequest, hook: str, events: EventWriter, **arguments: Any) -> None:
    """Tell the plugins, where the run's record says that there are any that want to know."""
    if not request.record.get("task_hooks"):
        return
    from rv_core.plugins.installed import plugin_manager

    failures = plugin_manager().call(
        hook, run_id=request.run_id, task=request.task, attempt=request.attempt, **arguments
    )
    for failure in failures:
        print(f"rv: warning: {_redacted(str(failure))}; the task does not depend on it", file=sys.stderr)
        events.write("hook_failed", hook=hook, reason=str(failure))


def _redacted(text: str) -> str:
    from rv_core.redaction import redact

    return redact(text)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
