"""`rv run-command CONFIG_URI COMMAND`: one task in a process of its own – what every runner starts.

Everything here counts in the price of a task, so nothing is imported before it is needed, and Typer, marshmallow and
the plugins' entry points not at all.
"""

import os
import signal
import sys
from typing import Any, NamedTuple

from rv_core.errors import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    PluginError,
    RvError,
    UsageError,
    unknown_name,
)
from rv_core.files import uris
from rv_core.pipeline.pipeline import TaskStopped
from rv_core.plan.shares import task_id
from rv_core.record.event_writer import EventWriter
from rv_core.record.layout import RunPaths
from rv_core.task.inputs import (
    TaskRequest,
    activate_code_of,
    check_environment,
    check_requirements,
    load_pipeline,
    read_record,
)
from rv_core.task.log import opened_record, output_of_task
from rv_core.task.running import StopSignal, core_lease, execute, gpu_lease, reported, say, set_thread_limits

USAGE = "rv run-command CONFIG_URI COMMAND [--split-index I --num-splits N] [--runner NAME] [--profile NAME] [-v] [-q]"
_VALUE_OPTIONS = {
    "--split-index": "split_index",
    "--split-ind": "split_index",
    "--num-splits": "num_splits",
    "--runner": "runner",
    "--profile": "profile",
    "-p": "profile",
}


class Invocation(NamedTuple):
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
        say(str(error), file=sys.stderr)
        return error.exit_code
    except TaskStopped:
        return EXIT_STOPPED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _take_options(invocation: Invocation) -> None:
    """Let `--profile` hold for the settings that the task, and what it starts, will load; `-v` for its libraries' logs."""
    from rv_core.task.log import print_library_logs

    if invocation.profile:
        os.environ["RV_PROFILE"] = invocation.profile
    print_library_logs(invocation.verbosity)


def _run(invocation: Invocation, stop: StopSignal) -> int:
    runner = _runner_of(invocation)
    split_index = _split_index_of(invocation, runner)
    checked(Invocation("", "", split_index, invocation.num_splits))
    paths = RunPaths.of_config(invocation.config_uri)
    if paths is None:
        share = split_index, invocation.num_splits
        return _run_by_hand(invocation.config_uri, invocation.command, share, stop, show_traceback=invocation.traceback)
    record = read_record(paths, invocation.command, invocation.config_uri)
    task = task_id(record["job"], split_index, invocation.num_splits)
    attempt = int((runner.attempt(os.environ) if runner else None) or os.environ.get("RV_ATTEMPT") or 1)
    with opened_record(paths, task, attempt) as (events, attempt, log_path):
        share = split_index, invocation.num_splits
        request = TaskRequest(task, invocation.command, *share, attempt, paths.run_id, record, paths.root_uri)
        with output_of_task(paths, log_path, task, attempt):
            return reported(
                request,
                events,
                lambda: _execute_planned(paths, request, events, stop),
                show_traceback=invocation.traceback,
            )


def _run_by_hand(
    config_uri: str, command: str, share: tuple[int, int], stop: StopSignal, *, show_traceback: bool
) -> int:
    """A task outside of a run: any saved config, planned here and now.

    Args:
        config_uri: the saved config.
        command: the command's name.
        share: index and number of splits.
        stop: receives TERM.
        show_traceback: print the whole of it for an expected error too.

    Returns:
        The exit code of the task.
    """
    from rv_core.config import saved
    from rv_core.files import by_uri
    from rv_core.files.problems import MissingFileError
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.plan.manifests import requirement_error, unmet_requirements
    from rv_core.plan.planning import plan_one_command

    uri = uris.absolute(config_uri, os.getcwd())
    try:
        text = by_uri.read_text(uri)
    except MissingFileError as err:
        raise UsageError(f"there is no saved config {uris.name_of(uri)!r}", where=uri) from err
    root_uri = str(saved.parse_plain(text, source=uri).plain.get("root_uri", ""))
    activate_code_of(text, root_uri)
    pipeline = saved.parse(text, source=uri, expected=PipelineConfig).config.build()
    records = plan_one_command(pipeline, command)
    record = records[command]
    problems = unmet_requirements(root_uri, record, lambda job: records[job.rsplit(".", 1)[1]])
    if problems:
        raise requirement_error(command, problems)
    split_index, num_splits = share
    task = task_id(record["job"], split_index, num_splits)
    request = TaskRequest(task, command, split_index, num_splits, 1, "", record, root_uri)
    set_thread_limits(os.environ)
    resources = record["resources"]

    def run_it() -> None:
        with gpu_lease(resources["gpus"]):
            execute(pipeline, request, events, stop, timeout_s=resources["timeout_s"])

    with EventWriter(os.devnull) as events:
        return reported(request, events, run_it, show_traceback=show_traceback)


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
    from rv_core.plugins.installed import plugin_manager
    from rv_core.plugins.targets import resolve

    spec = plugin_manager().runner_specs().get(invocation.runner)
    if spec is None and not is_told:
        # Without it every task of an array would take itself for the first one.
        raise PluginError(
            f"the runner {invocation.runner!r} is not installed here, so nobody knows which split this task is",
            fix="install its package into the image",
        )
    return resolve(spec.target, declared_by=invocation.runner)() if spec else None


def _execute_planned(paths: RunPaths, request: TaskRequest, events: EventWriter, stop: StopSignal) -> None:
    if not (uris.is_local(paths.root_uri) or os.environ.get("RV_RUN_DIR")):
        check_environment(paths)
    check_requirements(paths, request)
    set_thread_limits(os.environ)
    resources = request.record["resources"]
    # In this order everywhere: who holds cores never waits for a GPU.
    with gpu_lease(resources["gpus"]), core_lease(os.environ):
        pipeline = load_pipeline(paths)
        if resources["timeout_s"] is not None:
            from rv_core.task.watchdog import end_this_process_after

            end_this_process_after(resources["timeout_s"], events)
        execute(pipeline, request, events, stop, timeout_s=resources["timeout_s"])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))


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
    return checked(Invocation(config_uri=words[0], command=words[1], **_with_numbers(values)))


def _with_numbers(values: dict[str, Any]) -> dict[str, Any]:
    for name in ("split_index", "num_splits"):
        if name in values:
            try:
                values[name] = int(values[name])
            except ValueError:
                raise UsageError(f"--{name.replace('_', '-')} {values[name]!r} is not a whole number") from None
    return values


def checked(invocation: Invocation) -> Invocation:
    """The same invocation, if its split index is one of its splits.

    Raises:
        UsageError: if it is not.
    """
    if invocation.num_splits < 1:
        raise UsageError(f"--num-splits {invocation.num_splits} is below 1")
    index = invocation.split_index
    if index is not None and not 0 <= index < invocation.num_splits:
        raise UsageError(
            f"--split-index {index} is outside 0..{invocation.num_splits - 1}",
            why=f"with --num-splits {invocation.num_splits} the first share has index 0",
        )
    return invocation
