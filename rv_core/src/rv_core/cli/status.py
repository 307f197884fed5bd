"""`rv status`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_json, print_lines, print_results, print_table, warn
from rv_core.errors import EXIT_FAILED, UsageError
from rv_core.terminal import say
from rv_core.wording import typed

if TYPE_CHECKING:
    from rv_core.record.reading import RunFiles
    from rv_core.status.results import PipelineSummary
    from rv_core.status.values import RunStatus

Root = Annotated[str, typer.Argument(metavar="ROOT", help="The root_uri of a pipeline that was run.")]
RootOrFolder = Annotated[
    str, typer.Argument(metavar="ROOT", help="The root_uri of a pipeline that was run, or a folder of several roots.")
]
RunId = Annotated[str | None, typer.Option("--run", metavar="ID", help="This run instead of the newest one.")]


def status(
    root: RootOrFolder,
    run: RunId = None,
    all_runs: Annotated[bool, typer.Option("--all", help="List all runs of this root.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the run until it ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything that is known, as JSON.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare every recorded digest with what lies there; 1 if one differs.")
    ] = False,
) -> None:
    """Show how a run is getting on: jobs, items, failed tasks with their reasons, and what to do next.

    Examples:
      rv status out

      rv status out --all

      rv status out --verify

      rv status sweep
    """
    from rv_core.record.reading import absolute_root, find_run

    _refuse_clashes(run=run, all_runs=all_runs, watch=watch, as_json=as_json, verify=verify)
    root_uri = absolute_root(root)
    if verify:
        _show_differences(root_uri, as_json=as_json)
        return
    if all_runs:
        _show_runs(root_uri, as_json=as_json)
        return
    if not (run or watch) and _shown_as_folder(root_uri, as_json=as_json):
        return
    files = find_run(root_uri, run)
    if watch and not _watched(files):
        say(f"the run goes on; rv status {typed(root)} shows how it is", file=sys.stderr)
        return
    _show_run(files, root, as_json=as_json)


def _refuse_clashes(*, run: str | None, all_runs: bool, watch: bool, as_json: bool, verify: bool) -> None:
    if verify and (all_runs or watch or run):
        raise UsageError(
            "--verify does not go together with --all, --watch or --run",
            why="it looks at the whole root, whichever run has written what lies there",
            fix="leave the other out",
        )
    if all_runs and (watch or run):
        raise UsageError("--all does not go together with --watch or --run", fix="leave one of them out")
    if watch and as_json:
        raise UsageError("--watch and --json do not go together", fix="ask with --json as often as you like")


def _shown_as_folder(root_uri: str, *, as_json: bool) -> bool:
    """Show the roots right below a folder as one table; False if it is a root itself, or no folder of several roots."""
    from rv_core.record.reading import known_run_ids

    if known_run_ids(root_uri):
        return False
    from rv_core.launch.summaries import summaries_of
    from rv_core.status.roots_table import roots_in, rows_of, table_of

    names = roots_in(root_uri)
    if len(names) < 2:
        return False  # whoever meant the one root is told its name
    rows = rows_of(root_uri, names, summaries_of)
    if as_json:
        print_json({"folder": root_uri, "roots": [row.to_json() for row in rows]})
    else:
        print_table(*table_of(rows))
    return True


def _show_runs(root_uri: str, *, as_json: bool) -> None:
    from rv_core.record.reading import no_run_error
    from rv_core.status.look import runs
    from rv_core.status.page import runs_lines

    summaries = runs(root_uri)
    if not summaries:
        raise no_run_error(root_uri)
    if as_json:
        print_json([summary._asdict() for summary in summaries])
    else:
        print_lines(runs_lines(summaries))


def _show_differences(root_uri: str, *, as_json: bool) -> None:
    """A line for each file that is not as recorded, as they are found.

    Raises:
        typer.Exit: with 1, if there is one.
    """
    from rv_core.record.marker import is_marker_stale, read_marker
    from rv_core.status.page import line
    from rv_core.status.verification import verify

    marker = read_marker(root_uri)
    if marker is not None and not is_marker_stale(marker):
        say(f"run {marker.run_id} is going on here: what it is just writing may differ", file=sys.stderr)
    num_files, different = 0, []
    for comparison in verify(root_uri):
        num_files += 1
        if not comparison.problem:
            continue
        different.append(comparison)
        if not as_json:
            told = f" (recorded in {comparison.recorded_in})" if comparison.recorded_in else ""
            print_lines([line(f"{comparison.path}: {comparison.problem}{told}")])
    num_as_recorded = num_files - len(different)
    if as_json:
        differences = [comparison._asdict() for comparison in different]
        print_json({"files": num_files, "as_recorded": num_as_recorded, "differences": differences})
    else:
        print_lines([line(f"{num_as_recorded} of {num_files} files as recorded")])
    if different:
        raise typer.Exit(EXIT_FAILED)


def _watched(files: RunFiles) -> bool:
    """Follow the run if it is going on; False if the user had enough of it."""
    from rv_core.status.look import status_of
    from rv_core.status.watching import watch

    if status_of(files).state not in ("running", "submitted", "unknown"):
        return True
    try:
        watch(files)
    except KeyboardInterrupt:
        return False
    say()
    return True


def _show_run(files: RunFiles, root: str, *, as_json: bool) -> None:
    from rv_core.status.look import status_of
    from rv_core.status.page import next_step, status_lines

    found = status_of(files)
    summaries = _summaries(found)
    if as_json:
        told = [summary.to_json() for summary in summaries]
        print_json({**found.to_json(), "next": next_step(found, root), "summaries": told})
    else:
        print_lines(status_lines(found, root=root, excerpts=_excerpts(found), now=time.time()))
        print_results(summaries)
    tell_of_end(found)


def _summaries(found: RunStatus) -> list[PipelineSummary]:
    """What the pipelines of a run that is done say of their results."""
    if found.state != "done":
        return []
    from rv_core.launch.summaries import summaries_of

    return summaries_of(found)


def tell_of_end(found: RunStatus) -> None:
    """Let plugins know of the end of a run that was left to its engine, where this is the first to see it."""
    if found.files.record.capabilities.get("detaches"):
        from rv_core.launch import end_of_run

        end_of_run.tell_of_end(found, lambda failure: warn(f"{failure}; the run does not depend on it"))


def _excerpts(found: RunStatus) -> dict[str, list[str]]:
    """The last log lines of the first failed tasks, from this machine or from the store."""
    from rv_core.record.logs import find_logs, last_lines
    from rv_core.runner.engine_log import last_engine_lines
    from rv_core.status.page import EXCERPT_LINES, MAX_EXCERPTS

    failed = [task.task for task in found.failed_tasks()[:MAX_EXCERPTS]]
    logs = find_logs(found.files) if failed else {}
    own = {task: last_lines(logs[task][-1].uri, EXCERPT_LINES) for task in failed if task in logs}
    record = found.files.record
    return {task: own.get(task) or last_engine_lines(record, task, EXCERPT_LINES) for task in failed}
