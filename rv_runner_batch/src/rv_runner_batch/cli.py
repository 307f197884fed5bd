"""`rv batch`: its sub-commands are in modules of their own, which are imported when `rv batch` is asked for.

The module `rv_runner_batch.<name>` holds a function `command` with Typer annotations.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import typer

SUBCOMMANDS = ("setup", "template", "doctor")

app = typer.Typer(name="batch", help="Set AWS Batch up and check the set-up.", rich_markup_mode=None)


@app.callback()
def _batch() -> None:
    """Set AWS Batch up and check the set-up."""


for _name in SUBCOMMANDS:
    if find_spec(f"rv_runner_batch.{_name}") is not None:
        app.command(_name)(import_module(f"rv_runner_batch.{_name}").command)
