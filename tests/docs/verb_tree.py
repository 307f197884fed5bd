"""Every verb of `rv`, as Click has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def commands() -> Iterator[tuple[str, Any]]:
    """(words, Click command) of `rv` itself, of every verb and of every verb below it."""
    from typer.main import get_command

    from rv_core.cli.app import app
    from rv_core.cli.verbs import command_of
    from rv_core.plugins.installed import plugin_manager

    yield "rv", get_command(app)
    waiting = [(f"rv {spec.name}", command_of(spec)) for spec in plugin_manager().command_specs().values()]
    while waiting:
        words, command = waiting.pop()
        yield words, command
        waiting += [(f"{words} {name}", child) for name, child in getattr(command, "commands", {}).items()]
