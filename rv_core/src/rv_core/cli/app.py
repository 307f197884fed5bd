"""The command line of `rv`: global options, verbs, and the boundary that turns every exception into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from rv_core.cli.argv import normalise, split_at_verb
from rv_core.cli.errors import exit_code_of
from rv_core.cli.output import own_output, warn
from rv_core.cli.state import GlobalOptions
from rv_core.cli.verbs import BUILTIN_VERBS, VerbGroup, spare_pydantic
from rv_core.errors import EXIT_DONE, EXIT_USAGE, StorageError
from rv_core.machine.hard_exit import hard_exits_raise
from rv_core.redaction import register_environment

#: Verbs that need no plugin, or that show what is wrong with them themselves.
_SILENT_VERBS = frozenset(("plugins", "status", "logs", "cancel"))
_EXAMPLES = """\b
Examples:
  rv run local experiment.py -a root_uri out --splits 4
  rv check experiment.py -a root_uri out
  rv status out
  rv run --help"""

# Rich markup is off: summaries and help of plugins are foreign text, and plain help costs half the CPU time.
app = typer.Typer(
    cls=VerbGroup,
    add_completion=True,
    rich_markup_mode=None,
    invoke_without_command=True,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(options_metavar="[OPTIONS]")
def root(
    ctx: typer.Context,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="NAME", help="Take settings from this profile.")
    ] = None,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say more; -vv says still more.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an expected error was raised.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Run geospatial deep-learning pipelines in one process, on all cores of this machine, on AWS Batch or on Slurm.

    These options stand before or after the verb.
    """
    _refuse_to_be_nowhere()
    ctx.obj = GlobalOptions(profile=profile, verbosity=-1 if quiet else verbose, traceback=traceback)
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        raise typer.Exit(EXIT_USAGE)


def _refuse_to_be_nowhere() -> None:
    """Every verb looks at the working directory: for the project's settings, modules and relative names.

    Raises:
        StorageError: if it is not there any more.
    """
    try:
        os.getcwd()
    except OSError as err:
        raise StorageError(
            "the working directory is not there any more",
            where=os.environ.get("PWD", ""),
            why=str(err),
            fix="go to a folder that is there (`cd`) and type the same again",
        ) from err


def main(argv: Sequence[str]) -> int:
    """Run a command line.

    Args:
        argv: the words without the program's name.

    Returns:
        The exit code.
    """
    register_environment(os.environ)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a run
    try:
        words = normalise(argv)
        with own_output(goes_on=split_at_verb(words)[1] == "run"), hard_exits_raise():
            try:
                code = _run(words)
            except typer.Exit as end:
                code = end.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one boundary; it prints every exception
        return exit_code_of(error, argv)
    return code


def _run(words: list[str]) -> int:
    from rv_core.plugins.installed import look_at_plugins

    look_at_plugins(split_at_verb(words)[1] == "plugins")
    words = _with_arguments(words)
    command: Any = get_command(app)
    spare_pydantic(command)
    if "_RV_COMPLETE" in os.environ:
        command.main(args=[], prog_name="rv")  # ends the process
    _warn_of_plugins(words)
    with command.make_context("rv", words) as context:
        command.invoke(context)
    return EXIT_DONE


def _with_arguments(words: list[str]) -> list[str]:
    """The words of a plugin's verb as Typer takes them, where it declares that it takes arguments of a module."""
    verb = split_at_verb(words)[1]
    if verb is None or verb in BUILTIN_VERBS:
        return words  # looking at a run loads no plugin
    from rv_core.plugins.installed import plugin_manager

    spec = plugin_manager().command_specs().get(verb)
    return normalise(words, (spec.name,)) if spec is not None and spec.takes_arguments else words


def _warn_of_plugins(words: list[str]) -> None:
    """Everything that is wrong with plugins, for verbs that may miss something by it."""
    from rv_core.plugins.discovery import is_strict
    from rv_core.plugins.installed import plugin_manager

    leading, verb, _ = split_at_verb(words)
    if verb == "plugins":
        return
    is_silent = verb in _SILENT_VERBS or {"-q", "--quiet"} & set(leading)
    if is_silent and not is_strict(os.environ):
        return
    text = plugin_manager().warning()
    if text and not is_silent:
        warn(text)


__all__ = ["BUILTIN_VERBS", "app", "main"]
