"""What a page is made of besides the parts that plugins may give: pairs, lines, a time line, and parts that unfold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rv_core import ReportChart, ReportMap, ReportMatrix, ReportPictures, ReportText, SummaryTable
from rv_report.run_facts import JobFacts


@dataclass(frozen=True)
class Pairs:
    """Names and values, below each other."""

    pairs: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Lines:
    """Lines of text in a font of one width."""

    lines: Sequence[str]
    title: str = ""


@dataclass(frozen=True)
class Timeline:
    """When the tasks of jobs were at work."""

    jobs: Sequence[JobFacts]
    title: str = "When tasks were at work"


@dataclass(frozen=True)
class Folded:
    """Parts that are shown when they are asked for."""

    title: str
    parts: Sequence[Any]


Part = (
    ReportText
    | SummaryTable
    | ReportMatrix
    | ReportChart
    | ReportPictures
    | ReportMap
    | Pairs
    | Lines
    | Timeline
    | Folded
)


@dataclass(frozen=True)
class Section:
    """A section of a page, with its heading."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title: its heading, and what the tab of the browser says.
        state: a word beside it; "" for none.
        lead: a line below it.
        sections: what is in it.
    """

    title: str
    sections: Sequence[Section]
    state: str = ""
    lead: str = ""
