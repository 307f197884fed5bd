"""`rv report ROOT`: a page about a run."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rv_core.cli.output import print_text

Root = Annotated[str, typer.Argument(metavar="ROOT", help="The root_uri of a pipeline that was run.")]


def report(
    root: Root,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where the page goes.")] = "report.html",
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="This run instead of the newest one.")] = None,
) -> None:
    """Write a page about a run that opens offline: results, tasks with what they cost, data, config and versions.

    Nothing is run or computed anew, and nothing is written under the root: the figures are those of the files there.

    Examples:
      rv report out

      rv report out -o out.html
    """
    from rv_core import api
    from rv_core.files import uris
    from rv_report.page import render
    from rv_report.page_file import checked_target, write_page
    from rv_report.page_of_run import page_of

    target = checked_target(out)
    status = api.status(uris.expand(uris.placed_root(root, os.getcwd())), run)
    size = write_page(target, render(page_of(status)))
    print_text(f"{target}: {size / 1e6:.2f} MB")
