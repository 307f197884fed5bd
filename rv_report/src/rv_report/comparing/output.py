"""A comparison as tables for people, as CSV, as JSON values and as a page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rv_core import ReportText, SummaryTable
from rv_core.wording import cell_text, count_text
from rv_report.comparing.comparison import Comparison, MetricRow
from rv_report.comparing.differences import Difference
from rv_report.parts import Page, Part, Section
from rv_report.texts import clean

if TYPE_CHECKING:
    from rv_report.comparing.bootstrap import Interval

CSV_COLUMNS = ("part", "subset", "name", "root", "value", "difference", "low", "high")
EXPLANATION = (
    "Differences are those to the first root on the cells that both have, with their 95 % intervals from a paired "
    "bootstrap over blocks of the ground; * marks those whose interval does not hold 0."
)


def parts_of(found: Comparison) -> Iterator[tuple[str, tuple[Difference, ...], str]]:
    """(name, where it differs, what is said where it does not) of all but the metrics."""
    prints = len(found.roots[0].fingerprints)
    yield "config", found.config, "the configs are the same"
    same = f"the {count_text(prints, 'input')} are the same" if prints != 1 else "the one input is the same"
    yield "data", found.data, same if prints else "no files from elsewhere were read"
    has_code = any(root.code for root in found.roots)
    yield "code", found.code, "the code is the same" if has_code else "no code of the user's own was run"
    yield "versions", found.versions, "the versions are the same"


def metric_table(rows: tuple[MetricRow, ...], found: Comparison) -> SummaryTable:
    """The metrics of one subset with the differences to the first root."""
    columns = ["metric"]
    for number, root in enumerate(found.roots):
        columns += [root.label] if number == 0 else [root.label, "difference"]
    table = []
    for row in rows:
        cells: list[Any] = [row.metric, row.values[0]]
        for value, interval in zip(row.values[1:], row.intervals, strict=True):
            cells += [value, interval_text(interval)]
        table.append(cells)
    return SummaryTable(columns, table, rows[0].subset or "numbers")


def interval_text(interval: Interval | None) -> str:
    """`+0.031 [+0.010, +0.052] *`; `–` where there is nothing to be told."""
    if interval is None or math.isnan(interval.difference):
        return "–"
    if math.isnan(interval.low):
        return f"{interval.difference:+.3f}"
    mark = " *" if interval.is_told_apart else ""
    return f"{interval.difference:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]{mark}"


def by_subset(found: Comparison) -> list[tuple[MetricRow, ...]]:
    """The metrics, subset by subset."""
    subsets = dict.fromkeys(row.subset for row in found.metrics)
    return [tuple(row for row in found.metrics if row.subset == subset) for subset in subsets]


def page_of(found: Comparison) -> Page:
    """The comparison as a page."""
    roots = [[root.label, root.root_uri, root.pipeline, root.state] for root in found.roots]
    metrics: list[Part] = [metric_table(rows, found) for rows in by_subset(found)]
    if any(interval for row in found.metrics for interval in row.intervals):
        metrics.insert(0, ReportText(EXPLANATION))
    metrics += [ReportText(note, "note") for note in found.notes]
    columns = ["where", *(root.label for root in found.roots)]
    sections = [
        Section("Runs", [SummaryTable(["run", "root", "pipeline", "state"], roots)]),
        Section("Metrics", metrics),
    ]
    for name, differences, same in parts_of(found):
        rows = [[where, *values] for where, values in differences]
        part: Part = SummaryTable(columns, rows) if rows else ReportText(f"{same[0].upper()}{same[1:]}.")
        sections.append(Section(name.capitalize(), [part]))
    return Page(f"Comparison of {count_text(len(found.roots), 'run')}", sections)


def json_of(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values."""
    differing = {
        name: [{"where": where, "values": list(values)} for where, values in rows] for name, rows, _ in parts_of(found)
    }
    return {
        "roots": [
            {"label": r.label, "root_uri": r.root_uri, "pipeline": r.pipeline, "state": r.state} for r in found.roots
        ],
        **differing,
        "metrics": [
            {
                "subset": row.subset,
                "metric": row.metric,
                "values": list(row.values),
                "differences": [_interval_json(interval) for interval in row.intervals],
            }
            for row in found.metrics
        ],
        "notes": list(found.notes),
    }


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    plain = {"difference": interval.difference, "low": interval.low, "high": interval.high}
    return {name: None if math.isnan(value) else value for name, value in plain.items()}


def csv_of(found: Comparison) -> str:
    """The comparison as CSV, a line for each value of each root."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for name, differences, _ in parts_of(found):
        for where, values in differences:
            for root, value in zip(found.roots, values, strict=True):
                writer.writerow(_texts([name, "", where, root.label, value, "", "", ""]))
    for row in found.metrics:
        for root, value, interval in zip(found.roots, row.values, (None, *row.intervals), strict=True):
            plain = _interval_json(interval) or {}
            ends = [plain.get(end) for end in ("difference", "low", "high")]
            writer.writerow(_texts(["metrics", row.subset, row.metric, root.label, value, *ends]))
    return file.getvalue()


def _texts(cells: list[Any]) -> list[Any]:
    """Numbers as they are, text without control characters and as nothing that a spreadsheet would run."""
    return ["" if cell is None else _harmless(cell) if isinstance(cell, str) else cell for cell in cells]


def _harmless(text: str) -> str:
    shown = clean(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) and not _is_number(shown) else shown


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def text_rows(table: SummaryTable) -> list[list[str]]:
    """The rows of a table as text."""
    return [[cell_text(value) for value in row] for row in table.rows]
