"""A page: every kind of part is shown, whatever its texts are."""

from __future__ import annotations

import math

import pytest
from tests.rv_report.conftest import HOSTILE, check_page

from rv_core import (
    ReportChart,
    ReportMap,
    ReportMatrix,
    ReportPicture,
    ReportPictures,
    ReportSeries,
    ReportText,
    SummaryTable,
)
from rv_core.errors import DataError
from rv_core.redaction import register_secret
from rv_report import charts
from rv_report.page import render
from rv_report.parts import Folded, Lines, Page, Pairs, Part, Section, Timeline
from rv_report.run_facts import JobFacts, TaskFacts

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


def parts(text: str) -> list[Part]:
    picture = ReportPicture(PNG, text, text)
    task = TaskFacts(text, text, 1.0, 3.0, reason=text)
    return [
        ReportText(text),
        ReportText(text, "warning"),
        SummaryTable([text, "n"], [[text, 1], [None, 0.5]], text),
        ReportMatrix([[3, 1], [0, 0]], [text, "b"], [text, "b"], text, text, text),
        ReportChart(text, [ReportSeries(text, [(0, 1), (1, 2)])] * 2, text, text, marks={text: 0.5}),
        ReportPictures([picture], text),
        ReportMap(text, picture, [picture, picture], {text: "#00ff00", "b": f'red"{text}'}, text),
        Pairs([(text, text)]),
        Lines([text], text),
        Timeline([JobFacts(text, "done", 1, 1, 0, (task,))], text),
        Folded(text, [ReportText(text)]),
    ]


def test_no_text_reaches_the_page_as_markup() -> None:
    text = render(Page(HOSTILE, [Section(HOSTILE, parts(HOSTILE))] * 3, HOSTILE, HOSTILE))
    page = check_page(text)
    assert "<script>alert" not in text
    assert page.text.count("<script>alert(1)</script>\\x1b[31m\\x00") > 30
    assert "49" not in page.text
    assert [span["style"] for span in page.of("span") if "style" in span][:2] == [
        "background:#00ff00",
        "background:transparent",
    ]


def test_no_secret_reaches_the_page() -> None:
    register_secret("s3cr3t-of-somebody")
    text = render(Page("page", [Section("all", parts("it is s3cr3t-of-somebody"))]))
    assert "s3cr3t-of-somebody" not in text


def test_every_table_and_picture_says_what_it_is_and_tables_scroll_in_a_box() -> None:
    page = check_page(render(Page("page", [Section("all", parts("text"))])))
    boxes = [div for div in page.of("div") if div.get("class") == "scroll"]
    assert len(boxes) >= len(page.of("table")) + 2
    assert all(box.get("tabindex") == "0" and box.get("aria-label") for box in boxes)
    assert all(img.get("alt") for img in page.of("img"))
    assert all(svg.get("aria-label") for svg in page.of("svg") if "aria-hidden" not in svg)


def test_a_file_that_is_no_picture_is_refused() -> None:
    with pytest.raises(DataError, match="no PNG, JPEG or WebP"):
        render(Page("page", [Section("s", [ReportPictures([ReportPicture(b"<svg onload=alert(1)>", "odd")])])]))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 20, [5, 10, 15, 20]),
        (0.913, 0.987, [0.92, 0.94, 0.96, 0.98]),
        (-3, 3, None),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, ticks: list[float] | None) -> None:
    found = charts.nice_ticks(low, high)
    assert low - 1e-9 <= found[0] < found[-1] <= high + 1e-9
    if ticks is not None:
        assert found == pytest.approx(ticks)


def test_a_line_is_interrupted_where_there_is_no_number() -> None:
    series = ReportSeries("loss", [(1, 0.5), (2, math.nan), (3, 0.25), (4, 0.125)])
    svg = str(charts.line_chart(ReportChart("loss", [series])))
    path = svg.partition('class="line" d="')[2].partition('"')[0]
    assert (path.count("M"), path.count("L")) == (2, 1)


@pytest.mark.parametrize("points", [[], [(1, math.nan)]])
def test_a_chart_without_a_point_is_none(points: list[tuple[float, float]]) -> None:
    assert charts.line_chart(ReportChart("none", [ReportSeries("none", points)])) == ""


@pytest.mark.parametrize("points", [[(1, 0.5)], [(1, 0.0), (2, 0.0)], [(5, -1e300), (6, 1e300)]])
def test_a_chart_of_next_to_nothing_is_drawn(points: list[tuple[float, float]]) -> None:
    assert "nan" not in charts.line_chart(ReportChart("flat", [ReportSeries("flat", points)]))


def test_tasks_that_overlap_lie_below_each_other() -> None:
    tasks = [TaskFacts("a", "done", 0, 10), TaskFacts("b", "done", 5, 15), TaskFacts("c", "odd", 10, 20)]
    svg = str(charts.timeline([JobFacts("job", "done", 3, 3, 0, tuple(tasks))], "time"))
    rows = [bar.partition('y="')[2].partition('"')[0] for bar in svg.split("<rect")[1:]]
    assert rows[0] == rows[2] != rows[1]
    assert 'class="bar other"' in svg


def test_no_more_bars_are_drawn_than_can_be_told_apart() -> None:
    tasks = tuple(TaskFacts(f"t{i}", "done", i, i + 1) for i in range(charts.MAX_BARS + 5))
    assert charts.timeline([JobFacts("job", "done", 1, 1, 0, tasks)] * 2, "time").count("<rect") == charts.MAX_BARS
