"""`rv compare ROOT ROOT…`: what differs between runs, and by how much."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_json, print_table, print_text

if TYPE_CHECKING:
    from rv_report.comparing.comparison import Comparison

#: On a terminal a value is cut after so many characters; a part shows so many rows.
_MAX_VALUE, _MAX_ROWS = 40, 40


def compare(
    roots: Annotated[
        list[str],
        typer.Argument(
            metavar="ROOT…", help="Roots of runs, or one folder that holds them; the first is compared with."
        ),
    ],
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write a page that opens offline.")] = None,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write all values as CSV.")] = None,
    block_m: Annotated[
        float | None, typer.Option(min=0.001, metavar="METRES", help="Side of the blocks of the bootstrap.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what differs between runs: config, data, code and versions, and metrics with intervals.

    Each difference of a metric is that to the first root on the labelled cells that both have, with a 95 % interval from a
    paired bootstrap over blocks of the ground. Nothing is run or written under a root.

    Examples:
      rv compare out-a out-b

      rv compare sweep --html sweep.html
    """
    from rv_report.comparing.comparison import compared
    from rv_report.comparing.output import csv_of, json_of, page_of
    from rv_report.comparing.roots import labels_of, read_root, roots_of
    from rv_report.page_file import checked_target, write_page

    target = checked_target(html) if html is not None else None
    table = _checked_table(csv) if csv is not None else None
    places = roots_of(roots)
    labels = labels_of(places)
    found = compared([read_root(*pair) for pair in zip(places, labels, strict=True)], block_m=block_m)
    if target is not None:
        from rv_report.page import render

        write_page(target, render(page_of(found)))
    if table is not None:
        write_page(table, csv_of(found))
    if as_json:
        print_json(json_of(found))
    else:
        _print(found)


def _checked_table(path: str) -> str:
    """Where the CSV goes.

    Raises:
        UsageError: if something lies there that is no such table.
    """
    from rv_core.errors import UsageError
    from rv_core.files import by_uri, uris
    from rv_core.files.problems import MissingFileError
    from rv_report.comparing.output import CSV_COLUMNS

    target = uris.absolute(path, os.getcwd())
    try:
        is_ours = by_uri.read_bytes(target).startswith(",".join(CSV_COLUMNS).encode())
    except MissingFileError:
        return target
    if not is_ours:
        raise UsageError("what lies there is no table of rv compare", where=target, fix="give another name with --csv")
    return target


def _print(found: Comparison) -> None:
    from rv_report.comparing.output import EXPLANATION, by_subset, metric_table, parts_of, text_rows

    labels = [root.label for root in found.roots]
    for name, differences, same in parts_of(found):
        if not differences:
            print_text(f"{name}: {same}")
            continue
        print_text(f"{name} differs:")
        _indented(["where", *labels], [[where, *map(_short, values)] for where, values in differences[:_MAX_ROWS]])
        if len(differences) > _MAX_ROWS:
            print_text(f"  … and {len(differences) - _MAX_ROWS} more: --json lists all")
    for rows in by_subset(found):
        table = metric_table(rows, found)
        print_text("")
        print_text(f"{table.title}:")
        _indented(list(table.columns), text_rows(table))
    if any(interval for row in found.metrics for interval in row.intervals):
        print_text("")
        print_text(EXPLANATION)
    for note in found.notes:
        print_text(note)


def _indented(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print_table([f"  {columns[0]}", *columns[1:]], [[f"  {row[0]}", *row[1:]] for row in rows])


def _short(value: str) -> str:
    return value if len(value) <= _MAX_VALUE else f"{value[: _MAX_VALUE - 1]}…"
