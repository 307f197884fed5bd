"""What `rv run` and `rv check` do: from a module's name to an exit code.

Order: load, validate, plan, check, and only then take the root, plan again where another run was at work meanwhile,
write the record of the run and start something.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rv_core.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, RunnerError, StorageError
from rv_core.files import by_uri, uris
from rv_core.launch import preflight
from rv_core.launch.end_of_run import is_first_to_tell
from rv_core.launch.outcome import RunOutcome, expect_roots, outcome_of_run, outcome_of_status, roots_stay
from rv_core.launch.prepared import PreparedRun, findings_of, plan_again
from rv_core.launch.taking import take_from_others
from rv_core.launch.write_record import tidy, tidy_indexes, write_record
from rv_core.plan.graph import Task
from rv_core.plugins.installed import plugin_manager
from rv_core.record import marker
from rv_core.record.event_writer import EventWriter
from rv_core.record.layout import RunPaths
from rv_core.record.root_watch import RootSight
from rv_core.record.run_record import TASK_HOOKS
from rv_core.task.log import print_library_logs

if TYPE_CHECKING:
    from rv_core.plugins.installed import Plugins
    from rv_core.status.results import PipelineSummary

#: A run whose marker is younger than this may not have written its record yet.
_SUBMITTING_S = 60.0


class Show(Protocol):
    """What tells people of a run that is on."""

    def planned_again(self, prepared: PreparedRun, why: str) -> None:
        """The plan is another one now, for instance as another run was at work under the root since it was made."""

    def taking(self, prepared: PreparedRun) -> None:
        """Something is about to be taken from other roots."""

    def nothing_to_do(self, prepared: PreparedRun) -> None:
        """Everything that was asked for is done."""

    def display(self, prepared: PreparedRun, run_dir: Path) -> AbstractContextManager[Any]:
        """A context that shows the tasks while the runner works."""

    def wait(self, prepared: PreparedRun) -> None:
        """Follow a run that was submitted until nothing more happens in it."""

    def outcome(self, prepared: PreparedRun, outcome: RunOutcome) -> None:
        """The run has ended."""

    def results(self, prepared: PreparedRun, found: Sequence[PipelineSummary]) -> None:
        """What the pipelines say of their results, where all that was asked for is done."""

    def submitted(self, prepared: PreparedRun) -> None:
        """A runner that detaches has submitted everything."""

    def hook_failed(self, text: str) -> None:
        """A lifecycle hook of a plugin raised or took too long."""

    def warn(self, text: str) -> None:
        """Something that is to be known and does not stop the run."""

    def interrupted(self, prepared: PreparedRun, *, goes_on: bool) -> None:
        """INT or TERM ended the run, or only the waiting for it."""


def execute(prepared: PreparedRun, show: Show) -> int:
    """Take the roots, write the record of the run, let the runner work, and tell how it ended.

    Args:
        prepared: the run.
        show: what prints.

    Returns:
        The exit code of `rv run`.
    """
    from rv_core.machine.shutdown import Interrupted

    run_plan = prepared.run_plan
    if not (run_plan.plan.jobs or run_plan.num_taken) and prepared.is_plan_of_now:
        return _nothing_to_do(prepared, show)
    capabilities = prepared.runner.capabilities
    mine = marker.this_process_marker(prepared.run_id, prepared.options.runner, detached=capabilities.detaches)
    taken: list[str] = []
    is_left_running = False
    try:
        for name, paths in prepared.paths.items():
            holder = prepared.roots_seen[name].holder
            marker.acquire_marker(
                paths.root_uri,
                mine,
                take_over=_take_over(paths.root_uri, holder, show) if prepared.options.take_over else None,
                is_running=partial(is_running, paths.root_uri),
            )
            taken.append(paths.root_uri)
        _plan_of_now(prepared, show)
        take_from_others(prepared, show)
        if not (prepared.run_plan.plan.jobs or prepared.num_taken):
            return _nothing_to_do(prepared, show)
        write_record(prepared)
        tidy_indexes(prepared)
        with roots_stay(prepared.paths):
            code, is_left_running = _run(prepared, show)
        return code
    except RunnerError as error:
        is_left_running = error.leaves_running
        raise
    except (Interrupted, KeyboardInterrupt):
        is_left_running = prepared.is_submitted
        show.interrupted(prepared, goes_on=is_left_running)
        return EXIT_INTERRUPTED
    finally:
        if not is_left_running:
            try:
                _give_free(taken, prepared.run_id)
            except KeyboardInterrupt:  # a signal at this moment ends the run, and does not keep its roots
                _give_free(taken, prepared.run_id)
                raise


def _give_free(root_uris: Sequence[str], run_id: str) -> None:
    for root_uri in root_uris:
        marker.release_marker(root_uri, run_id)


def _nothing_to_do(prepared: PreparedRun, show: Show) -> int:
    tidy(prepared)
    show.nothing_to_do(prepared)
    _show_results(prepared, show, is_recorded=False)
    return EXIT_DONE


def _show_results(prepared: PreparedRun, show: Show, *, is_recorded: bool) -> None:
    from rv_core.launch.summaries import summaries_at_end

    if found := summaries_at_end(prepared, is_recorded=is_recorded):
        show.results(prepared, found)


def _plan_of_now(prepared: PreparedRun, show: Show) -> None:
    """Plan again where another run was at work since the plan was made; the roots are this run's now.

    What the other has done or undone under another config is then neither taken for done nor left out.

    Raises:
        CheckError: if something speaks against what is to be done now.
    """
    seen = {name: RootSight.of(paths.root_uri)._replace(holder="") for name, paths in prepared.paths.items()}
    if seen == prepared.roots_seen or not plan_again(prepared):
        return
    show.planned_again(prepared, "another run was at work here meanwhile")
    preflight.raise_if_wrong(findings_of(prepared))


def _run(prepared: PreparedRun, show: Show) -> tuple[int, bool]:
    """Let the runner work.

    Returns:
        (exit code, whether the run goes on without this process).
    """
    from rv_core.machine.processes import stop_on_signals

    plugins = plugin_manager()
    context = prepared.context
    with ExitStack() as stack:
        writers = [_submission_events(stack, paths, context.run_dir) for paths in prepared.paths.values()]
        context = replace(context, on_report=_reporter(writers))
        if context.capabilities.in_process:
            print_library_logs(context.verbosity)
            context = replace(context, run_in_process=_in_process_tasks(prepared))
        else:
            # The tasks of a detached run are its engine's, also where the engine runs them on this machine.
            of_run = "" if context.capabilities.detaches else prepared.run_id
            stack.enter_context(stop_on_signals(of_run, grace_s=context.grace_s))
        tell = partial(_tell, plugins, writers, show)
        tell("rv_plan_created", run_id=prepared.run_id, plan=prepared.run_plan.to_json())
        if prepared.run_plan.plan.jobs:
            with show.display(prepared, context.run_dir):
                prepared.runner.run(prepared.run_plan.plan, context)
        if context.capabilities.detaches and prepared.run_plan.plan.jobs:
            prepared.is_submitted = True
            for paths in prepared.paths.values():
                marker.note_submitted(paths.root_uri, prepared.run_id)
            show.submitted(prepared)
            if not prepared.options.wait:
                return EXIT_DONE, True
            show.wait(prepared)
        expect_roots(prepared.paths)
        tidy_indexes(prepared)
        outcome, cancelled = _outcome(prepared)
        summary = outcome.summary(time.monotonic() - prepared.started)
        for writer in writers:
            if cancelled:  # whoever cancelled it has said so, in a file that this process writes whole
                writer.write("cancelled", reason=cancelled)
            else:
                writer.write("run_finished", succeeded=outcome.succeeded, **summary)
        # Of a detached run somebody who looked on may have told before.
        if not context.capabilities.detaches or is_first_to_tell(next(iter(prepared.paths.values()))):
            tell("rv_run_finished", run_id=prepared.run_id, succeeded=outcome.succeeded, summary=summary)
    show.outcome(prepared, outcome)
    if outcome.succeeded:
        _show_results(prepared, show, is_recorded=True)
    return (EXIT_DONE if outcome.succeeded else EXIT_FAILED), False


def _outcome(prepared: PreparedRun) -> tuple[RunOutcome, str]:
    """How the run ended, and who cancelled it, in words; "" if nobody did."""
    if not prepared.context.capabilities.detaches:
        return outcome_of_run(prepared.run_plan, prepared.paths, str(prepared.context.run_dir)), ""
    from rv_core.record.reading import read_run
    from rv_core.status.look import status_of

    status = status_of(read_run(next(iter(prepared.paths.values()))))
    outcome = outcome_of_status(prepared.run_plan, prepared.paths, status)
    return outcome, status.note if status.state == "cancelled" else ""


def _reporter(writers: Sequence[EventWriter]) -> Callable[[Mapping[str, Any]], None]:
    def report(entry: Mapping[str, Any]) -> None:
        for writer in writers:
            writer.write(**entry)

    return report


def _submission_events(stack: ExitStack, paths: RunPaths, run_dir: Path) -> EventWriter:
    """The events of the submitting process, under the root and, where that is remote, in the local run folder too."""
    if uris.is_local(paths.root_uri):
        path = uris.local_path(paths.submission)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return stack.enter_context(EventWriter(path))
    local = run_dir / "events" / "submission.jsonl"
    local.parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(EventWriter(local, remote_uri=paths.submission))


def _in_process_tasks(prepared: PreparedRun) -> Callable[[Task], int]:
    from rv_core.task.in_process import InProcessTasks

    return InProcessTasks(
        prepared.run_plan,
        prepared.pipelines,
        prepared.paths,
        {
            "RV_RUN_DIR": str(prepared.context.run_dir),
            "RV_PROFILE": prepared.context.profile,
            **prepared.context.environ,
        },
        task_hooks=plugin_manager().implements(*TASK_HOOKS),
    )


def _tell(plugins: Plugins, writers: Sequence[EventWriter], show: Show, hook: str, **arguments: Any) -> None:
    for failure in plugins.call(hook, **arguments):
        show.hook_failed(str(failure))
        for writer in writers:
            writer.write("hook_failed", hook=hook, reason=str(failure))


def is_running(root_uri: str, other: marker.Marker) -> bool:
    """Whether a run whose process tells nothing still goes on: one left to its engine, or one that runs elsewhere.

    What cannot be asked counts as going on.
    """
    from rv_core.record.events import seconds_of
    from rv_core.status.look import run_is_over

    try:
        if not by_uri.exists(RunPaths(root_uri, other.run_id).run):
            # Its record is just being written, unless the process that would do so is known to be gone. What cannot be
            # seen from here and never writes one is a task that somebody runs by hand.
            is_young = time.time() - seconds_of(other.created) < _SUBMITTING_S
            return not marker.is_here(other) and (is_young or not other.detached)
        return not run_is_over(root_uri, other.run_id)
    except StorageError:
        return True


def _take_over(root_uri: str, holder: str, show: Show) -> Callable[[marker.Marker], None]:
    def take_over(other: marker.Marker) -> None:
        from rv_core.launch.cancel import cancel_run

        if other.run_id != holder:
            raise marker.already_running(root_uri, other)  # it came after the one that was there when this was asked
        if left_alone := cancel_run(root_uri, other, takes_over=True):
            show.warn(left_alone)

    return take_over
