"""Charts as SVG in the page: lines over one axis, and the time line of tasks.

Colours, fonts and the dark page are those of the style sheet, by classes. Every text of others is escaped by markupsafe.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from rv_core import ReportChart, ReportSeries
from rv_core.wording import duration_text
from rv_report.run_facts import JobFacts, TaskFacts
from rv_report.texts import clean

_WIDTH, _HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 22, 44
#: More bars than this are not told apart by anybody, and make the page heavy.
MAX_BARS = 2000
_LANE, _GAP, _CAPTION = 9, 2, 20
#: The least width of a bar, so that a short task is seen.
_MIN_BAR = 1.5
_STATES = ("done", "failed", "lost", "stopped", "cancelled", "running")


def line_chart(chart: ReportChart) -> Markup:
    """A chart of lines; empty where it holds no point."""
    points = [p for series in chart.series for p in series.points if all(map(math.isfinite, p))]
    if not points:
        return Markup("")
    marks = [x for x in chart.marks.values() if math.isfinite(x)]
    x_range = chart.x_range or _spread([x for x, _ in points] + marks)
    x_ticks = nice_ticks(*x_range)
    y_range = chart.y_range or _spread([y for _, y in points])
    y_ticks = nice_ticks(*y_range)
    if chart.y_range is None:
        y_range = min(y_ticks[0], y_range[0]), max(y_ticks[-1], y_range[1])
    to_x = _Scale(x_range, _LEFT, _WIDTH - _RIGHT)
    to_y = _Scale(y_range, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(x_ticks, y_ticks, to_x, to_y), *_labels(chart)]
    if chart.has_diagonal:
        low, high = max(x_range[0], y_range[0]), min(x_range[1], y_range[1])
        parts.append(
            Markup('<path class="diagonal" d="M{:.1f} {:.1f}L{:.1f} {:.1f}"/>').format(
                to_x(low), to_y(low), to_x(high), to_y(high)
            )
        )
    for name, x in chart.marks.items():
        if math.isfinite(x):
            parts += _mark(name, to_x(x))
    parts += [_line(series, index, to_x, to_y) for index, series in enumerate(chart.series)]
    return _svg(_HEIGHT, chart.title, parts)


class _Scale:
    """A linear scale from a range of values to one of pixels; values beyond its ends lie on them."""

    def __init__(self, values: tuple[float, float], first: float, last: float) -> None:
        self._low, self._width = values[0], (values[1] - values[0]) or 1.0
        self._first, self._length = first, last - first

    def __call__(self, value: float) -> float:
        share = min(1.0, max(0.0, (value - self._low) / self._width))
        return self._first + share * self._length


def _spread(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low < high:
        return low, high
    wide = abs(low) / 2 or 0.5
    return low - wide, high + wide


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About so many round numbers from low to high, both finite and low < high."""
    rough = (high - low) / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)] or [low, high]


def _axes(x_ticks: Sequence[float], y_ticks: Sequence[float], to_x: _Scale, to_y: _Scale) -> Iterable[Markup]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    for value in y_ticks:
        y = to_y(value)
        yield Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, y, right)
        yield Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{:g}</text>').format(
            _LEFT - 6, y + 4, round(value, 10)
        )
    for value in x_ticks:
        yield Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>').format(
            to_x(value), bottom + 18, round(value, 10)
        )
    yield Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(_LEFT, _TOP, bottom, right)


def _labels(chart: ReportChart) -> Iterable[Markup]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    yield Markup('<text class="label" x="{:.0f}" y="{}" text-anchor="middle">{}</text>').format(
        middle, _HEIGHT - 8, clean(chart.x_label)
    )
    yield Markup(
        '<text class="label" transform="translate(13 {:.0f}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format((_TOP + _HEIGHT - _BOTTOM) / 2, clean(chart.y_label))


def _mark(name: str, x: float) -> Iterable[Markup]:
    anchor, shift = ("end", -5) if x > _WIDTH / 2 else ("start", 5)
    yield Markup('<path class="mark" d="M{:.1f} {}V{}"/>').format(x, _TOP - 16, _HEIGHT - _BOTTOM)
    yield Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
        x + shift, _TOP - 6, anchor, clean(name)
    )


def _line(series: ReportSeries, index: int, to_x: _Scale, to_y: _Scale) -> Markup:
    """A line with a dot for each point while these can be told apart; a gap where a point is not finite."""
    path, dots, is_down = [], [], False
    for x, y in series.points:
        if not (math.isfinite(x) and math.isfinite(y)):
            is_down = False
            continue
        place = f"{to_x(x):.1f} {to_y(y):.1f}"
        path.append(f"{'L' if is_down else 'M'}{place}")
        dots.append(f"M{place}h0")
        is_down = True
    shown = Markup('<path class="dots" d="{}"/>').format("".join(dots)) if len(dots) <= 60 else Markup("")
    line = Markup('<g class="s{}"><title>{}</title><path class="line" d="{}"/>{}</g>')
    return line.format(index % 6, clean(series.name), "".join(path), shown)


def timeline(jobs: Sequence[JobFacts], title: str) -> Markup:
    """Bars from start to end of every task, job below job; tasks of one job that overlap lie below each other."""
    tasks = [task for job in jobs for task in job.tasks]
    if not tasks:
        return Markup("")
    begin, end = min(task.started for task in tasks), max(task.ended for task in tasks)
    span = max(end - begin, 1e-3)
    to_x = _Scale((0.0, span), 4, _WIDTH - 4)
    parts: list[Markup] = []
    top, room = 0.0, MAX_BARS
    for job in jobs:
        if not job.tasks:
            continue
        shown = sorted(job.tasks, key=lambda task: task.started)[:room]
        room -= len(shown)
        parts.append(Markup('<text class="label" x="4" y="{:.0f}">{}</text>').format(top + 14, clean(job.job)))
        top += _CAPTION
        lanes, bars = _bars(shown, begin, to_x, top)
        parts += bars
        top += lanes * (_LANE + _GAP) + 6
    return _svg(round(top + 20), title, [*_moments(span, to_x, top), *parts])


def _moments(span: float, to_x: _Scale, bottom: float) -> Iterable[Markup]:
    """The lines of the clock, which begins with the first task."""
    for value in nice_ticks(0.0, span, 5):
        x = to_x(value)
        anchor = "start" if x < 40 else "end" if x > _WIDTH - 40 else "middle"
        text = f"{value:g} s" if span < 10 else duration_text(value)
        yield Markup('<path class="grid" d="M{:.1f} 0V{:.0f}"/>').format(x, bottom)
        yield Markup('<text class="tick" x="{:.1f}" y="{:.0f}" text-anchor="{}">{}</text>').format(
            x, bottom + 14, anchor, text
        )


def _bars(tasks: Sequence[TaskFacts], begin: float, to_x: _Scale, top: float) -> tuple[int, list[Markup]]:
    """The bars of a job in as few lanes as they need, and how many these are."""
    free: list[float] = []
    bars = []
    for task in tasks:
        left, right = to_x(task.started - begin), to_x(task.ended - begin)
        lane = next((number for number, x in enumerate(free) if x <= left + 0.01), len(free))
        free[lane : lane + 1] = [right]
        state = task.state if task.state in _STATES else "other"
        bar = Markup('<rect class="bar {}" x="{:.1f}" y="{:.0f}" width="{:.1f}" height="{}"><title>{}</title></rect>')
        place = left, top + lane * (_LANE + _GAP), max(right - left, _MIN_BAR), _LANE
        bars.append(bar.format(state, *place, clean(_task_text(task))))
    return len(free), bars


def _task_text(task: TaskFacts) -> str:
    facts = [
        f"{task.task}: {task.state}",
        duration_text(task.duration_s),
        f"CPU {task.cpu_s:.1f} s" if task.cpu_s else "",
        f"peak {task.max_rss_mib:,.0f} MiB" if task.max_rss_mib else "",
        f"attempt {task.attempt}" if task.attempt > 1 else "",
    ]
    return ", ".join(filter(None, facts))


def _svg(height: int, title: str, parts: Iterable[Markup]) -> Markup:
    head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(_WIDTH, height, clean(title))
    return Markup("").join([head, *parts, Markup("</svg>")])
