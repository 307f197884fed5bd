"""What a plugin says in a report: titled sections of text, tables, charts, pictures and maps. Plain values, no markup.

Who shows them (`rv report` of the package rv-report) escapes every text and draws every chart: a section holds data alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from rv_core.pipeline.summary import SummaryTable

if TYPE_CHECKING:
    from rv_core.files.storage import Storage

Point = tuple[float, float]


@dataclass(frozen=True)
class ReportSource:
    """What a function of sections is called with.

    Args:
        config: the config of the run; its `root_uri` is where the root lies now.
        storage: the files of the root, to be read.
        done: the commands all of whose items are done under the keys of this run.
    """

    config: Any
    storage: Storage
    done: Collection[str]


@dataclass(frozen=True)
class ReportText:
    """A paragraph.

    Args:
        text: what it says.
        kind: a `warning` stands out; a `note` is small.
    """

    text: str
    kind: Literal["text", "note", "warning"] = "text"


@dataclass(frozen=True)
class ReportMatrix:
    """Counts by two sets of names, shaded by the share of their row: a confusion matrix.

    Args:
        counts: a row for each of `rows`, with a count for each of `columns`.
        rows: names.
        columns: names.
        rows_are: what the rows are, a word.
        columns_are: what the columns are.
        title: what stands above it.
    """

    counts: Sequence[Sequence[int]]
    rows: Sequence[str]
    columns: Sequence[str]
    rows_are: str = ""
    columns_are: str = ""
    title: str = ""


@dataclass(frozen=True)
class ReportSeries:
    """One line of a chart.

    Args:
        name: in the legend.
        points: (x, y), by ascending x; one that is not finite interrupts the line.
    """

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class ReportChart:
    """Lines over one x axis.

    Args:
        title: what it shows, also for those who do not see it.
        series: at most six.
        x_label: what x is, with its unit.
        y_label: what y is, with its unit.
        x_range: lower and upper end; None for that of the points.
        y_range: likewise.
        has_diagonal: whether the line y = x is drawn, dashed.
        marks: name -> x, where a vertical line stands.
    """

    title: str
    series: Sequence[ReportSeries]
    x_label: str = ""
    y_label: str = ""
    x_range: Point | None = None
    y_range: Point | None = None
    has_diagonal: bool = False
    marks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportPicture:
    """A picture.

    Args:
        data: a PNG, JPEG or WebP file.
        alt: what is seen in it, for those who do not see it.
        caption: what stands below it; of a layer of a map, its name.
    """

    data: bytes
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class ReportPictures:
    """Pictures beside each other.

    Args:
        pictures: the pictures.
        title: what stands above them.
    """

    pictures: Sequence[ReportPicture]
    title: str = ""


@dataclass(frozen=True)
class ReportMap:
    """Pictures of one extent on top of each other: a slider uncovers one of the layers over the base.

    Args:
        title: what stands above it.
        base: the lowest picture.
        layers: what may lie on it, the first one at the beginning.
        legend: name -> `#rrggbb`.
        note: what else is to be said.
    """

    title: str
    base: ReportPicture
    layers: Sequence[ReportPicture]
    legend: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class ReportOutcomes:
    """What was predicted for the labelled cells of a subset, for comparing one run with another.

    Args:
        subset: its name.
        metrics: name -> number, as the files of the root tell them; `accuracy`, `macro F1`, `kappa` and `F1 of <class>` are
            given an interval where they differ between runs.
        classes: names, by class id.
        cells: (N,) texts, each naming a cell in any run.
        places: (N, 2) longitude and latitude of their middles in degrees; NaN for a cell without a place.
        groups: (N,) numbers: cells without a place are near each other where this is the same.
        truth: (N,) class ids.
        predicted: (N,) class ids.
    """

    subset: str
    metrics: Mapping[str, float | None]
    classes: Sequence[str]
    cells: Sequence[str]
    places: Sequence[Sequence[float]]
    groups: Sequence[int]
    truth: Sequence[int]
    predicted: Sequence[int]


ReportPart = ReportText | SummaryTable | ReportMatrix | ReportChart | ReportPictures | ReportMap


@dataclass(frozen=True)
class ReportSection:
    """A section of a report.

    Args:
        title: its heading.
        parts: what is in it, in order.
    """

    title: str
    parts: Sequence[ReportPart]
