"""`rv report ROOT`: a page about a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_text

if TYPE_CHECKING:
    from rv_report.parts import Page

Root = Annotated[
    str, typer.Argument(metavar="ROOT", help="The root_uri of a pipeline that was run, or a folder of such roots.")
]


def report(
    root: Root,
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where the page goes.")] = "report.html",
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="This run instead of the newest one.")] = None,
) -> None:
    """Write a page about a run that opens offline: results, tasks with what they cost, data, config and versions.

    Of a folder that holds roots, such as a sweep, the page shows what differs between them, as `rv compare` does.

    Nothing is run or computed anew, and nothing is written under the root: the figures are those of the files there.

    Examples:
      rv report out

      rv report out -o out.html
    """
    from rv_core.files import uris
    from rv_report.page import render
    from rv_report.page_file import checked_target, write_page

    target = checked_target(out)
    size = write_page(target, render(_page(uris.expand(uris.placed_root(root, os.getcwd())), run)))
    print_text(f"{target}: {size / 1e6:.2f} MB")


def _page(root_uri: str, run: str | None) -> Page:
    from rv_core import api
    from rv_core.files import uris
    from rv_report.comparing.roots import labels_of, read_root, roots_in

    places = roots_in(root_uri) if uris.is_local(root_uri) and run is None else [root_uri]
    if len(places) < 2:
        from rv_report.page_of_run import page_of

        return page_of(api.status(places[0], run))
    from rv_report.comparing.comparison import compared
    from rv_report.comparing.output import page_of as page_of_comparison

    return page_of_comparison(compared([read_root(*pair) for pair in zip(places, labels_of(places), strict=True)]))
