"""`rv run` and `rv check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rv_core.cli.argv import shipped
from rv_core.cli.output import print_json, print_plan, print_results
from rv_core.cli.state import GlobalOptions
from rv_core.errors import EXIT_DONE, Finding, UsageError
from rv_core.launch.outcome import RunOutcome
from rv_core.plan.selection import Selection
from rv_core.terminal import say
from rv_core.wording import count_text, typed

if TYPE_CHECKING:
    from rv_core.launch.prepared import PreparedRun
    from rv_core.status.results import PipelineSummary

Arguments = Annotated[
    list[str] | None,
    typer.Option(
        "-a", "--arg", metavar="KEY VALUE", help="An argument of get_config; also KEY=VALUE. May be repeated."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the config: --set train.num_epochs=5."),
]
ShipCode = Annotated[
    list[str] | None,
    typer.Option(
        "--ship-code",
        metavar="[=NAMES]",
        help="Send the module and what it imports from its folder along, and these pure-Python packages.",
    ),
]
RunName = Annotated[
    str | None, typer.Option("--pipeline-run-name", help="Name of the pipeline in job names and status.")
]


def run(
    ctx: typer.Context,
    runner: Annotated[str, typer.Argument(help="inprocess, local, or the name of an installed runner.")],
    module: Annotated[
        str, typer.Argument(help="A .py file or module with get_config, or a saved pipeline-config.json.")
    ],
    commands: Annotated[list[str] | None, typer.Argument(help="Only these commands, in the pipeline's order.")] = None,
    arg: Arguments = None,
    sets: Sets = None,
    splits: Annotated[int, typer.Option("--splits", "--split", "-s", help="Tasks per splittable command.")] = 1,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Tasks at once (default: the cores).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and start nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: the plan as JSON.")] = False,
    first: Annotated[str | None, typer.Option("--from", metavar="COMMAND", help="Start with this command.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="COMMAND", help="End with this command.")] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run again what is done already.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", "-k", help="After a failure go on with what does not depend on it.")
    ] = False,
    run_name: RunName = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="End the unfinished run of this root first.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a runner that only submits.")] = False,
    ship_code: ShipCode = None,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Run every command on one item of each group, in ROOT.smoke beside the root."),
    ] = False,
    reuse: Annotated[
        list[str] | None,
        typer.Option("--reuse", metavar="ROOT", help="Take what another root has done; may be repeated."),
    ] = None,
) -> None:
    """Run a pipeline, or several, with a runner. What is already done is skipped, and the reasons are printed.

    Examples:
      rv run local experiment.py -a data_uri data -a root_uri out --splits 4

      rv run inprocess experiment.py chip --dry-run
    """
    from rv_core.launch import preflight
    from rv_core.launch.prepared import RunOptions, prepare
    from rv_core.user_code.configs import pairs_of

    state: GlobalOptions = ctx.obj
    options = RunOptions(
        runner=runner,
        module=module,
        selection=Selection(tuple(commands or ()), first, last, rerun),
        arguments=pairs_of(arg, "-a"),
        sets=pairs_of(sets, "--set"),
        splits=splits,
        jobs=jobs,
        keep_going=keep_going,
        run_name=run_name,
        take_over=take_over,
        wait=wait,
        profile=state.profile,
        verbosity=state.verbosity,
        ship_code=shipped(ship_code),
        smoke=smoke,
        reuse=tuple(reuse or ()),
    )
    if as_json and not dry_run:
        fix = "add --dry-run; of a run that was started, `rv status ROOT --json` tells everything"
        raise UsageError("--json goes with --dry-run only", fix=fix)
    with _kept_for_json() if as_json else nullcontext():
        prepared = prepare(options, is_dry_run=dry_run)
    if dry_run:
        preflight.raise_if_wrong(prepared.findings)
        _print_dry_run(prepared, as_json=as_json)
        return
    raise typer.Exit(start(prepared, Show(is_quiet=state.verbosity < 0)))


def start(prepared: PreparedRun, show: Show) -> int:
    """Say what will be done, refuse it where something speaks against it, else do it.

    Returns:
        The exit code of `rv run`.

    Raises:
        RvError: whatever is wrong.
    """
    from rv_core.launch import preflight
    from rv_core.launch.execute import execute
    from rv_core.launch.prepared import findings_of

    if prepared.options.verbosity >= 0:
        print_plan(prepared.run_plan)
    if prepared.run_plan.plan.jobs:
        findings = [*prepared.loaded.findings, *findings_of(prepared)]
        preflight.raise_if_wrong(findings)
        _print_findings(findings)
    sys.stdout.flush()
    return execute(prepared, show)


def check(
    ctx: typer.Context,
    module: Annotated[
        str, typer.Argument(help="A .py file or module with get_config, or a saved pipeline-config.json.")
    ],
    runner: Annotated[str | None, typer.Option("--runner", help="Check for this runner too (default: local).")] = None,
    arg: Arguments = None,
    sets: Sets = None,
    run_name: RunName = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
    ship_code: ShipCode = None,
) -> None:
    """Look at config, inputs and environment, and report everything that would make a run fail.

    Example:
      rv check experiment.py -a data_uri data -a root_uri out
    """
    from rv_core.launch import preflight
    from rv_core.launch.prepared import RunOptions, findings_of, prepare
    from rv_core.plugins.installed import plugin_manager
    from rv_core.user_code.configs import pairs_of

    state: GlobalOptions = ctx.obj
    chosen = runner or ("local" if "local" in plugin_manager().runner_specs() else "inprocess")
    options = RunOptions(
        runner=chosen,
        module=module,
        arguments=pairs_of(arg, "-a"),
        sets=pairs_of(sets, "--set"),
        run_name=run_name,
        profile=state.profile,
        ship_code=shipped(ship_code),
    )
    with _kept_for_json() if as_json else nullcontext():
        prepared = prepare(options, is_dry_run=True)
        findings = [*prepared.loaded.findings, *findings_of(prepared, everything=True)]
    if as_json:
        print_json(preflight.report_json(findings))
        raise typer.Exit(EXIT_DONE if preflight.report_json(findings)["ok"] else 2)
    preflight.raise_if_wrong(findings)
    _print_findings(findings)
    done = not prepared.run_plan.plan.jobs
    say(f"{preflight.found_text(findings)} ({chosen})" + ("; all is done already." if done else "."))


def _kept_for_json() -> AbstractContextManager[Any]:
    """What a user's module prints goes to the standard error, so that the output is JSON and nothing else."""
    return redirect_stdout(sys.stderr)


def _print_dry_run(prepared: PreparedRun, *, as_json: bool) -> None:
    if as_json:
        print_json(prepared.run_plan.to_json(with_items=True))
        return
    print_plan(prepared.run_plan)
    if not (prepared.run_plan.plan.jobs or prepared.run_plan.num_taken):
        say("Nothing to do: everything is done already.")
        return
    text = prepared.runner.render(prepared.run_plan.plan, prepared.context)
    if text:
        say()
        say(text, limit=None)


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        say(f"  {finding.severity}: {finding}", file=sys.stderr)


def _engine_lines(prepared: PreparedRun, task: str) -> list[str]:
    """What the runner's engine has of a task that could not open its log, or printed nothing into it."""
    from rv_core.record.reading import read_run
    from rv_core.runner.engine_log import last_engine_lines

    return last_engine_lines(read_run(next(iter(prepared.paths.values()))).record, task, 20)


class Show:
    """Prints what happens to a run; the part of `rv run` that talks to people.

    Args:
        is_quiet: failures only.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet

    def planned_again(self, prepared: PreparedRun, why: str) -> None:
        """The plan is another one now, and this one."""
        if not self._is_quiet:
            say(f"planned again, as {why}:")
            print_plan(prepared.run_plan)

    def taking(self, prepared: PreparedRun) -> None:
        """What other roots have done is being linked or copied."""
        if not self._is_quiet:
            num_taken = prepared.run_plan.num_taken
            say(
                f"taking {count_text(num_taken, 'item')} from other roots, each output compared with its digest",
                flush=True,
            )

    def nothing_to_do(self, prepared: PreparedRun) -> None:
        """Everything that was asked for is done."""
        if not self._is_quiet:
            say("Nothing to do: everything is done already. (--rerun runs it again.)", flush=True)

    def display(self, prepared: PreparedRun, run_dir: Path) -> AbstractContextManager[Any]:
        """The display of the running tasks; plain for a runner whose tasks print to this terminal themselves."""
        from rv_core.status.display import Display

        if not self._is_quiet:
            say(f"run {prepared.run_id}", flush=True)
        rows = []
        for job in prepared.run_plan.plan.jobs:
            command = prepared.run_plan.of(job.id)
            rows.append((job.id, len(job.tasks), command.num_items, command.num_items - len(command.to_do)))
        in_process = prepared.context.capabilities.in_process
        if prepared.context.capabilities.detaches:
            return nullcontext()  # nothing runs while jobs are submitted
        return Display(rows, [run_dir], quiet=self._is_quiet, live=False if in_process else None)

    def wait(self, prepared: PreparedRun) -> None:
        """Follow a run that goes on elsewhere, as `rv status --watch` does, until nothing more happens in it."""
        from rv_core.record.reading import read_run
        from rv_core.status.watching import wait_until_over

        wait_until_over(read_run(next(iter(prepared.paths.values()))), quiet=self._is_quiet)

    def outcome(self, prepared: PreparedRun, outcome: RunOutcome) -> None:
        """The end of a run: what is done, and for every failed task its exit code, its reason and its last lines."""
        if outcome.succeeded:
            if not self._is_quiet:
                roots = ", ".join(prepared.run_plan.roots.values())
                say(f"done: {outcome.done_text(prepared.run_plan, prepared.num_taken)}; results are under {roots}")
            return
        from rv_core.record.logs import last_lines

        out = sys.stderr
        for task in outcome.failed[:5]:
            code = f" with exit code {task.exit_code}" if task.exit_code is not None else ""
            why = f": {task.reason}" if task.reason else ""
            say(f"\n{task.task} {task.state}{code}{why}", file=out)
            for line in last_lines(task.log) or _engine_lines(prepared, task.task):
                say(f"  | {line}", file=out)
            root = next(iter(prepared.run_plan.roots.values()))
            say(f"  log: {task.log or f'rv logs {typed(root)} {task.task}'}", file=out)
        if len(outcome.failed) > 5:
            say(f"\nand {len(outcome.failed) - 5} more failed tasks", file=out)
        if outcome.not_started:
            say(f"not started: {', '.join(outcome.not_started)}", file=out)
        for shared in outcome.shared[:5]:
            say(f"\n{shared}: give each of them files of its own; until then neither is done", file=out)
        left = outcome.num_items - outcome.num_done
        if left:
            say(f"{left} of {outcome.num_items} items are not done; the same command goes on from here", file=out)
        else:
            say("all items are done, and yet a task has failed: see its log", file=out)

    def results(self, prepared: PreparedRun, found: Sequence[PipelineSummary]) -> None:
        """What the pipelines say of their results."""
        if not self._is_quiet:
            print_results(found)

    def submitted(self, prepared: PreparedRun) -> None:
        """A detaching runner has submitted everything."""
        root = next(iter(prepared.run_plan.roots.values()))
        if not (prepared.options.wait and self._is_quiet):
            say(f"submitted run {prepared.run_id}; watch it with: rv status {typed(root)} --watch", flush=True)

    def hook_failed(self, text: str) -> None:
        """A lifecycle hook of a plugin raised or took too long."""
        from rv_core.cli.output import warn

        if not self._is_quiet:
            warn(f"{text}; the run does not depend on it")

    def warn(self, text: str) -> None:
        """Something that is to be known and does not stop the run."""
        from rv_core.cli.output import warn

        warn(text)

    def interrupted(self, prepared: PreparedRun, *, goes_on: bool) -> None:
        """INT or TERM ended the run, or only the waiting for it."""
        if goes_on:
            root = next(iter(prepared.run_plan.roots.values()))
            say(
                f"\nthe run goes on; rv status {typed(root)} shows how it is, rv cancel {typed(root)} ends it",
                file=sys.stderr,
            )
            return
        say("\ninterrupted: what was finished is kept; the same command goes on from here", file=sys.stderr)
