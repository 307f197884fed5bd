"""`rv plugins`: which plugins are there, what each provides, and whether what they declare can be imported."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_json, print_table, print_text
from rv_core.errors import EXIT_ENVIRONMENT, UsageError, unknown_name
from rv_core.plugins.records import Kind, PluginRecord, word_of
from rv_core.terminal import say

if TYPE_CHECKING:
    from rv_core.plugins.installed import Plugins

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def plugins(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List, show, check and begin plugins. Without a further word it lists them.

    Plugins are installed with pip. RV_DISABLE_PLUGINS=a,b switches some off by the name of plugin or package;
    RV_STRICT_PLUGINS=1 makes a plugin that does not work an error.

    Examples:
      rv plugins
      rv plugins show local
      rv plugins check
      rv plugins new threads --kind runner
    """
    if ctx.invoked_subcommand is None:
        list_plugins(as_json=as_json)


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List all plugins: package, version, whether they work, and what they provide."""
    from rv_core.plugins.installed import plugin_manager

    found = plugin_manager()
    if as_json:
        print_json(
            {
                "plugins": [record.to_json() for record in found.records],
                "problems": [finding.to_json() for finding in found.findings()],
            }
        )
        _end_where_strict(found)
        return
    columns = ("plugin", "package", "version", "status", "provides")
    print_table(columns, [_row(record) for record in found.records])
    _print_problems([str(finding) for finding in found.findings()])
    _end_where_strict(found)


def _end_where_strict(found: Plugins) -> None:
    """With `RV_STRICT_PLUGINS` what is wrong is shown as without it, and then it is an error."""
    from rv_core.plugins.discovery import is_strict

    if is_strict(os.environ) and any(finding.severity == "error" for finding in found.findings()):
        raise typer.Exit(EXIT_ENVIRONMENT)


def _row(record: PluginRecord) -> tuple[str, ...]:
    kinds: tuple[Kind, ...] = ("runner", "pipeline", "command", "store")
    names = {word_of(kind): [p.name for p in record.provides if p.kind == kind] for kind in kinds}
    parts = [f"{word}{'s' if len(found) > 1 else ''}: {', '.join(found)}" for word, found in names.items() if found]
    return record.name, record.distribution, record.version, record.status, "; ".join(parts)


def _print_problems(problems: list[str]) -> None:
    for problem in problems:
        print_text(f"  problem: {problem}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a plugin or of its package.")], as_json: AsJson = False
) -> None:
    """Show one plugin: where it is from, all that it declares, and why it does not work if it does not.

    Example:
      rv plugins show local
    """
    records = _find(name)
    if as_json:
        print_json([record.to_json() for record in records])
        return
    for record in records:
        _print_record(record)


def _find(name: str) -> list[PluginRecord]:
    from rv_core.plugins.discovery import normalised
    from rv_core.plugins.installed import plugin_manager

    records = plugin_manager().records
    wanted = normalised(name)
    found = [r for r in records if wanted in (normalised(r.name), normalised(r.distribution))]
    if not found:
        what, fix = unknown_name("plugin", name, {n for r in records for n in (r.name, r.distribution)})
        raise UsageError(what, fix=fix or "rv plugins list")
    return found


def _print_record(record: PluginRecord) -> None:
    print_text(f"{record.name}: {record.distribution} {record.version}, {record.status}")
    print_text(f"  module    {record.module}")
    if record.error:
        print_text(f"  error     {record.error}")
    for problem in record.problems:
        print_text(f"  problem   {problem}")
    for provided in record.provides:
        summary = f" – {provided.summary}" if provided.summary else ""
        target = f" → {provided.target}" if provided.target else ""
        print_text(f"  provides  {provided}{target}{summary}")
    for hook in record.hooks:
        print_text(f"  hook      {hook}")
    for line in record.traceback.splitlines():
        print_text(f"  | {line}")


@app.command()
def check(as_json: AsJson = False) -> None:
    """Import everything that plugins declare, and end with 3 if anything of it does not work.

    Example:
      rv plugins check --json
    """
    from rv_core.cli.plugin_check import check_targets
    from rv_core.cli.verbs import command_problem
    from rv_core.plugins.installed import plugin_manager

    found = plugin_manager()
    findings = [finding for finding in found.findings() if finding.severity == "error"]
    targets = check_targets(found, command_problem)
    ok = not findings and not targets
    if as_json:
        print_json(
            {
                "ok": ok,
                "problems": [finding.to_json() for finding in findings],
                "targets": [dict(problem.__dict__) for problem in targets],
            }
        )
    else:
        _print_problems([*map(str, findings), *map(str, targets)])
        working = sum(record.status == "ok" for record in found.records)
        say(f"{working} of {len(found.records)} plugins work" if ok else "not everything works; see above")
    if not ok:
        raise typer.Exit(EXIT_ENVIRONMENT)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What users will type: the runner, the pipeline or the verb.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="runner, pipeline or commands.")],
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="The folder that gets the new one.")] = Path(),
) -> None:
    """Write the package of a new plugin, whose own tests pass.

    Example:
      rv plugins new threads --kind runner
    """
    from rv_core.scaffold.rendering import new_plugin, write

    plugin = new_plugin(name, kind)
    _refuse_taken(plugin.name, kind)
    folder, names = write(plugin, into)
    say(f"wrote {folder}:")
    for file in names:
        say(f"  {file}")
    say(f"next: cd {shlex.quote(str(folder))} && pip install -e '.[test]' && pytest")


def _refuse_taken(name: str, kind: str) -> None:
    """Two plugins with one name are both unusable, so the second one is not begun."""
    from rv_core.plugins.installed import plugin_manager

    declared: Kind = "command" if kind == "commands" else "runner" if kind == "runner" else "pipeline"
    try:
        owner = plugin_manager().owner_of(declared, name)
    except KeyError:
        return
    raise UsageError(f"there is a {word_of(declared)} {name!r} already", where=owner.label, fix="choose another name")
