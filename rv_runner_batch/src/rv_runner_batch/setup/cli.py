"""`rv batch`: its sub-commands are in modules of their own, which are imported when `rv batch` is asked for."""

from __future__ import annotations

import typer

from rv_runner_batch.setup import doctor, profile, template

app = typer.Typer(name="batch", help="Set AWS Batch up and check the set-up.", rich_markup_mode=None)
app.command("setup")(profile.command)
app.command("template")(template.command)
app.command("doctor")(doctor.command)


@app.callback()
def _batch() -> None:
    """Set AWS Batch up and check the set-up."""
