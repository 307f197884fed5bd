"""Why one cell has its class: every polygon that meets it, or its pixels by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rv_core.errors import UsageError
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig
from rv_pipeline_chip_classification.labels.candidates import TOLERANCE
from rv_pipeline_chip_classification.labels.sources import UNLABELLED, RasterLabels
from rv_pipeline_chip_classification.scenes.crs import project_each
from rv_pipeline_chip_classification.vectors.polygons import to_pixels
from rv_pipeline_chip_classification.verbs.labels.cell_table import CellTable, OpenScene


@dataclass(frozen=True)
class Explanation:
    """One cell, explained.

    Args:
        scene_id: the scene.
        row: of the cell in the grid, -1 where there is none.
        col: likewise.
        window: `[row_off, col_off, height, width]` in pixels.
        class_name: None where it has none.
        in_aoi: whether the AOI selects it.
        reason: how it came to its class, or why it is not used.
        settings: what decided, in words.
        rows: the polygons that meet it, the best first, or its classes by pixels; column -> value.
    """

    scene_id: str
    row: int
    col: int
    window: list[int]
    class_name: str | None
    in_aoi: bool
    reason: str
    settings: str
    rows: list[dict[str, Any]]


def find_cell(table: CellTable, row: int, col: int) -> int:
    """The number of the cell in a row and column of the grid.

    Raises:
        UsageError: if there is none.
    """
    places = np.flatnonzero((table.places == (row, col)).all(axis=1))
    if not len(places):
        rows, cols = (table.places.max(axis=0) + 1).tolist() if len(table.places) else (0, 0)
        why = f"there are {rows} rows and {cols} columns of cells, counted from 0"
        if not rows:
            why = "its cells are features, and lie in no grid: name a place with --at"
        raise UsageError(f"there is no cell {row},{col}", why=why)
    return int(places[0])


def find_place(opened: OpenScene, table: CellTable, lon: float, lat: float) -> int | None:
    """The number of the cell at a longitude and latitude (x and y in pixels without a CRS); None outside of all."""
    point = np.array([[lon, lat]])
    if opened.raster.grid.crs is not None:
        placed = project_each(point, "EPSG:4326", opened.raster.grid.crs, where=opened.scene.id)
        if not np.isfinite(placed).all():
            return None
        point = to_pixels(placed, opened.raster.grid.transform)
    x, y = point[0]
    tops, lefts, heights, widths = table.windows.T
    inside = (tops <= y) & (y < tops + heights) & (lefts <= x) & (x < lefts + widths)
    numbers = np.flatnonzero(inside)
    return int(numbers[0]) if len(numbers) else None


def explain(opened: OpenScene, table: CellTable, number: int) -> Explanation:
    """Why a cell has its class."""
    class_id = int(table.class_ids[number])
    row, col = table.places[number].tolist()
    labels = opened.scene.labels
    if isinstance(labels, GeoJsonLabelsConfig):
        rows, settings = _polygons(opened, table, number, labels), _settings(labels)
    else:
        rows, settings = _pixels(opened, table, number), "the class of most labelled pixels, ties to the smaller id"
    return Explanation(
        opened.scene.id,
        row,
        col,
        table.windows[number].tolist(),
        None if class_id == UNLABELLED else opened.class_names[class_id],
        bool(table.in_aoi[number]),
        str(table.reasons[number]),
        settings,
        rows,
    )


def _settings(labels: GeoJsonLabelsConfig) -> str:
    area = "the cell's area" if labels.use_intersection_over_cell else "the polygon's area"
    choice = "the smallest class id" if labels.pick_min_class_id else "the largest intersection"
    rest = f"else {labels.background_class!r}" if labels.background_class is not None else "else no class"
    return f"intersection over {area} of at least {labels.ioa_threshold:g}; of several {choice}; {rest}"


def _polygons(opened: OpenScene, table: CellTable, number: int, labels: GeoJsonLabelsConfig) -> list[dict[str, Any]]:
    found = table.candidates
    assert found is not None
    ratios = found.ratios(labels)
    pairs = np.flatnonzero(found.windows == number)
    pairs = pairs[np.lexsort((found.class_ids[pairs], -ratios[pairs]))]
    return [
        {
            "feature": f"features[{int(found.features[pair])}]",
            "class": opened.class_names[int(found.class_ids[pair])],
            "shared_px": round(float(found.shared_px2[pair]), 2),
            "ioa_over_cell": round(float(found.shared_px2[pair] / found.cell_px2[pair]), 4),
            "ioa_over_polygon": round(float(found.shared_px2[pair] / found.polygon_px2[pair]), 4),
            "is_candidate": bool(ratios[pair] >= labels.ioa_threshold - TOLERANCE),
            "wins": bool(table.winners[number] == pair),
        }
        for pair in pairs.tolist()
    ]


def _pixels(opened: OpenScene, table: CellTable, number: int) -> list[dict[str, Any]]:
    if not isinstance(opened.source, RasterLabels):
        return []
    counts = opened.source.class_counts(table.windows[number : number + 1])[0]
    total = int(table.windows[number, 2:].prod())
    return [
        {
            "class": opened.class_names[class_id],
            "pixels": int(counts[class_id]),
            "share": round(float(counts[class_id] / total), 4),
            "wins": bool(class_id == table.class_ids[number]),
        }
        for class_id in np.argsort(-counts, kind="stable").tolist()
        if counts[class_id]
    ]


def table_of(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of an explanation for people."""
    columns = list(rows[0]) if rows else []
    return columns, [[_shown(row[name]) for name in columns] for row in rows]


def _shown(value: Any) -> str:
    return ("yes" if value else "") if isinstance(value, bool) else str(value)
