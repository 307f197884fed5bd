"""The verbs of `rv`: built-in ones and those of plugins, imported when they are chosen and not before."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from rv_core.cli.argv import is_global_option
from rv_core.errors import PluginError
from rv_core.plugins import builtins
from rv_core.plugins.declarations import CommandSpec
from rv_core.plugins.installed import plugin_manager
from rv_core.plugins.targets import resolve

BUILTIN_VERBS = {spec.name: spec for spec in builtins.rv_commands()}
#: The order of the headings on the help page; those that only plugins use follow.
_PANELS = ("Run", "Look", "Extend")
_COMPLETION_OPTIONS = ("install_completion", "show_completion")


class VerbGroup(TyperGroup):
    """The root of the command line. A plugin whose verb cannot be imported is seen when that verb is chosen."""

    _is_listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """All verbs, whether they work or not."""
        return list(plugin_manager().command_specs())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a verb, imported now; None for an unknown one.

        Raises:
            PluginError: if a verb that a plugin declares cannot be imported or is none.
        """
        spec = BUILTIN_VERBS.get(cmd_name) or plugin_manager().command_specs().get(cmd_name)
        if spec is None:
            return None
        return _summary_of(spec) if self._is_listing else command_of(spec)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The chosen verb, or an error that names the nearest one and plugins that could not be loaded."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            raise plugin_manager().missing("command", args[0], dict.fromkeys(self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Completions of verbs, from their declarations alone."""
        self._is_listing = True
        return super().shell_complete(ctx, incomplete)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs under their headings, from their declarations alone."""
        by_panel: dict[str, list[tuple[str, str]]] = {panel: [] for panel in _PANELS}
        for spec in plugin_manager().command_specs().values():
            by_panel.setdefault(spec.panel, []).append((spec.name, spec.summary.rstrip(".")))
        width = max(len(name) for rows in by_panel.values() for name, _ in rows)
        for panel, rows in by_panel.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl([(name.ljust(width), summary) for name, summary in rows])


def command_of(spec: CommandSpec) -> Any:
    """Import a verb and convert it to a command.

    Raises:
        PluginError: if that is not possible.
    """
    target = resolve(spec.target, declared_by=f"the verb {spec.name!r}")
    if not isinstance(target, typer.Typer) and not inspect.isfunction(target):
        kind = type(target).__name__
        raise PluginError(f"{spec.target}, the verb {spec.name!r}, is a {kind}, neither a typer.Typer nor a function")
    try:
        command = get_command(target if isinstance(target, typer.Typer) else _app_of(target, spec.name))
    except Exception as error:
        # Typer raises whatever suits it (RuntimeError, AssertionError, NameError) for annotations that it cannot take.
        what = f"{spec.target}, the verb {spec.name!r}, cannot be made a command"
        raise PluginError(what, why=f"{type(error).__name__}: {error}") from error
    _make_plain(command)
    return command


def command_problem(spec: CommandSpec) -> str:
    """What is wrong with a verb whose target can be imported, or ""."""
    try:
        command = command_of(spec)
    except PluginError as error:
        return error.block.why or error.block.what
    taken = sorted({name for name in _options_of(command) if is_global_option(name)})
    return f"rv itself takes {', '.join(taken)}: these options never reach a verb" if taken else ""


def _options_of(command: Any) -> list[str]:
    own = [name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)]
    children = getattr(command, "commands", {}).values()
    return own + [name for child in children for name in _options_of(child)]


def _app_of(function: Callable[..., Any], name: str) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name=name)(function)
    return app


def _summary_of(spec: CommandSpec) -> Any:
    def unused() -> None:
        """Stands for a verb in a list."""

    command = get_command(_app_of(unused, spec.name))
    command.help = spec.summary
    return command


def _make_plain(command: Any) -> None:
    """Print help as plain text, whatever a plugin asked for, and keep indented lines of it as they are."""
    command.rich_markup_mode = None
    command.params = [parameter for parameter in command.params if parameter.name not in _COMPLETION_OPTIONS]
    command.help = with_lines_kept(command.help or "")
    spare_pydantic(command)
    for child in getattr(command, "commands", {}).values():
        _make_plain(child)


def with_lines_kept(text: str) -> str:
    r"""Mark the paragraphs that hold an indented line with `\b`, which keeps Click from wrapping them."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    is_kept = [any(line.startswith(" ") for line in paragraph.splitlines()) for paragraph in paragraphs]
    return "\n\n".join(f"\b\n{text}" if kept else text for text, kept in zip(paragraphs, is_kept, strict=True))


def spare_pydantic(command: Any) -> None:
    """Have the parameters of a command take strings, whole numbers and lists of strings as they are.

    Typer has pydantic convert every value, a word that stays a string as much as one that becomes a path, and importing
    it costs more CPU time than all else that Typer does for a verb. Everything else goes the way of Typer, and so does
    all where a release of Typer converts in another way.

    Args:
        command: made by Typer.
    """
    all_params = command.get_params  # with the one of --help, which is made late

    def get_params(ctx: Any) -> Any:
        parameters = all_params(ctx)
        for parameter in parameters:
            if getattr(parameter, "_runtime_param", parameter) is None:
                parameter._runtime_param = _AsItIs(parameter)
        return parameters

    command.get_params = get_params


class _AsItIs:
    """In the place of what converts the values of a parameter."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value to hand to the function of the verb."""
        descriptor = self._parameter.type_descriptor
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if descriptor.parameter_info.parser is None:
            if descriptor.annotation is str and type(value) is str:
                return value
            if descriptor.annotation == list[str] and _are_words(value):
                return list(value)
            if descriptor.annotation is int and not descriptor.is_ranged and _is_whole(value):
                return int(value)
        self._parameter._runtime_param = None
        return self._parameter.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _are_words(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(type(word) is str for word in value)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is str and value.isascii() and value.isdecimal())
