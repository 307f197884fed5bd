"""The sections about results: what the pipeline sums up, and what plugins declare to say."""

from __future__ import annotations

from collections.abc import Iterator

from rv_core import ReportText, SummaryTable, api
from rv_core.status.values import RunStatus
from rv_report.parts import Pairs, Part, Section


def result_sections(status: RunStatus) -> list[Section]:
    """The sections about results, pipeline by pipeline; the pipeline is named where there are several."""
    several = len(status.files.roots) > 1
    sections = []
    for one in api.summaries(status):
        summary = one.summary
        parts: list[Part] = [ReportText(one.problem, "warning")] if one.problem else []
        if summary is not None:
            parts += [Pairs(list(summary.numbers.items()))] if summary.numbers else []
            parts += [ReportText(text, "warning") for text in summary.warnings]
            parts += [SummaryTable(table.columns, table.rows, table.title) for table in summary.tables]
            parts += [ReportText(text) for text in summary.notes]
        sections.append(Section(_titled("Results", one.pipeline, several), parts))
    return [*sections, *_declared(status, several)]


def _declared(status: RunStatus, several: bool) -> Iterator[Section]:
    for told in api.report_sections(status):
        for section in told.sections:
            yield Section(_titled(section.title, told.pipeline, several), list(section.parts))
        if told.problems:
            yield Section(
                _titled("Not shown", told.pipeline, several), [ReportText(text, "warning") for text in told.problems]
            )


def _titled(title: str, pipeline: str, several: bool) -> str:
    return f"{pipeline}: {title}" if several else title
