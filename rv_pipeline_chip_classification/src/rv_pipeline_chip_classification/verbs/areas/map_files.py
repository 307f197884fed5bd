"""What a map covers, class by class: predicted cells from their vector files, or a table of areas."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from rv_core.errors import DataError, UsageError
from rv_core.files import uris
from rv_core.files.by_uri import local_copy, read_text
from rv_pipeline_chip_classification.ground.equal_area import (
    HECTARE_M2,
    WGS84,
    equal_area_crs,
    middle_of,
    on_sphere,
    ring_areas_m2,
)
from rv_pipeline_chip_classification.ground.footprints import Footprint, near_pairs
from rv_pipeline_chip_classification.scenes.crs import project_each
from rv_pipeline_chip_classification.vectors.files import is_vector_name

#: Cells whose areas are worked out together.
_CELLS_AT_ONCE = 50_000
#: Ground that two maps share is told from here on, in square metres.
_TOLD_M2 = 1.0
#: Of a side of a cell: steps this short are none, and by so much off they are whole.
_NO_STEP = 0.01


@dataclass(frozen=True)
class MappedCells:
    """The cells of a map that have a class.

    Args:
        classes: (N,) int64, number of the class.
        areas_m2: (N,) float64, the ground that each stands for: its pixels with data.
        rings: (N, 5, 2) float64, longitude and latitude.
        sources: (N,) int64, number of the file.
    """

    classes: NDArray[np.int64]
    areas_m2: NDArray[np.float64]
    rings: NDArray[np.float64]
    sources: NDArray[np.int64]


@dataclass(frozen=True)
class MappedAreas:
    """The areas of the classes of a map.

    Args:
        class_names: by number.
        areas_m2: (K,) float64.
        cells: None for a table of areas.
        files: where the cells are from.
        notes: sentences for the user.
    """

    class_names: tuple[str, ...]
    areas_m2: NDArray[np.float64]
    cells: MappedCells | None = None
    files: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def read_area_table(uri: str) -> MappedAreas:
    """Areas from a CSV: `class` and `area_ha`, or `class`, `pixels` and `pixel_m`.

    Raises:
        UsageError: if it is no such table.
    """
    text = read_text(uri, may_be_pipe=True).removeprefix("\ufeff")
    fix = "write class,area_ha or class,pixels,pixel_m (the side of a pixel in metres), and a row per class"
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        names = tuple(row["class"].strip() for row in rows)
        areas = [_area_of(row) for row in rows]
    except (KeyError, ValueError, AttributeError, TypeError, OverflowError, csv.Error) as err:
        why = f"{type(err).__name__}: {err}"
        raise UsageError("this is no table of mapped areas", where=uri, why=why, fix=fix) from err
    is_wrong = not names or len(set(names)) < len(names) or not all(0 <= area < float("inf") for area in areas)
    if is_wrong or not 0 < sum(areas) < float("inf"):
        why = "it has no row, a class twice, an area that is none, or no area at all"
        raise UsageError("this is no table of mapped areas", where=uri, why=why, fix=fix)
    return MappedAreas(names, np.array(areas))


def _area_of(row: dict[str, str]) -> float:
    if row.get("area_ha"):
        return float(row["area_ha"]) * HECTARE_M2
    return float(row["pixels"]) * float(row["pixel_m"]) ** 2


def read_predicted(files: Sequence[str]) -> MappedAreas:
    """The cells of files that `predict` or `rv predict` wrote.

    Cells without a class are not part of the map. Of a cell its pixels with data count (`valid_fraction`): what lies
    beyond the edge of the image is none.

    Raises:
        DataError: if a file is none of predictions, or its cells have no place on Earth.
    """
    names: dict[tuple[int, str], int] = {}
    parts: list[MappedCells] = []
    notes: list[str] = []
    num_without = 0
    for number, file in enumerate(files):
        found, without, factor = _cells_of(file, number, names)
        parts.append(found)
        num_without += without
        if factor < 1:
            notes.append(f"{file}: cells overlap, and each counts as the step between them is large ({factor:.0%})")
    cells = MappedCells(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))
    if not len(cells.classes):
        raise DataError("no cell of these maps has a class", where=", ".join(files[:3]))
    if not cells.areas_m2.sum() > 0:
        why = "valid_fraction or the geometry of all of them is 0"
        raise DataError("the cells of these maps cover no ground", where=", ".join(files[:3]), why=why)
    if num_without:
        notes.append(f"{num_without} cells have no class, for want of data, and are no part of the map")
    notes += _shared_ground(files, parts)
    ordered = sorted(names)  # by class id, then name
    places = np.argsort([names[key] for key in ordered])
    cells = replace(cells, classes=places[cells.classes])
    areas = np.bincount(cells.classes, cells.areas_m2, minlength=len(names)).astype(np.float64)
    return MappedAreas(tuple(name for _, name in ordered), areas, cells, tuple(files), notes)


_COLUMNS = ("classes", "areas_m2", "rings", "sources")


def _cells_of(file: str, number: int, names: dict[tuple[int, str], int]) -> tuple[MappedCells, int, float]:
    classes: list[int] = []
    rings: list[Any] = []
    fractions: list[float] = []
    windows: list[Any] = []
    num_without = 0
    try:
        for feature in _features_of(file):
            properties = feature["properties"]
            if properties["class_name"] is None:
                num_without += 1
                continue
            if feature["geometry"] is None:
                raise DataError("areas of cells that are not on Earth are not worked out", where=file)
            corners = feature["geometry"]["coordinates"][0]
            if len(corners) != 5:
                raise DataError("areas of cells at a pole are not worked out", where=file)
            key = int(properties["class_id"]), str(properties["class_name"])
            classes.append(names.setdefault(key, len(names)))
            rings.append(corners)
            fractions.append(float(properties["valid_fraction"]))
            if not is_vector_name(file):
                windows.append(properties["window"])
        places = np.array(rings, np.float64).reshape(len(rings), 5, 2)
        boxes = np.array(windows, np.int64).reshape(len(windows), 4)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as err:
        why = f"{type(err).__name__}: {err}"
        raise DataError("this is no file of predicted cells", where=file, why=why) from err
    if not (np.isfinite(places).all() and all(0 <= fraction <= 1 for fraction in fractions)):
        why = "a coordinate is no number, or a valid_fraction is not from 0 to 1"
        raise DataError("this is no file of predicted cells", where=file, why=why)
    if len(places) and np.abs(places[..., 1]).max() > 90:
        raise DataError("cells without a place on Earth have no areas", where=file, why="coordinates are pixels")
    factor = _step_share_of_rings(places) if is_vector_name(file) else _step_share(boxes)
    areas = np.array(fractions) * factor * _areas_m2(places)
    sources = np.full(len(classes), number, np.int64)
    return MappedCells(np.array(classes, np.int64), areas, places, sources), num_without, factor


def _features_of(file: str) -> Iterator[Any]:
    """The features of a file of cells, whichever of the formats it is."""
    if not is_vector_name(file):
        yield from _features(local_copy(file), file)
        return
    from rv_pipeline_chip_classification.maps.flat_cells import read_flat_cells

    cells = read_flat_cells(file)
    if cells.crs is None:
        raise DataError("cells without a place on Earth have no areas", where=file, why="coordinates are pixels")
    yield from cells.features


def _features(path: Path, shown: str) -> Iterator[Any]:
    """The features of a file, line by line as rv writes them, else all at once."""
    with path.open(encoding="utf-8") as file:
        first = file.readline().rstrip()
        if first.endswith('"features": ['):
            if '"rv:coordinates": "pixels"' in first:
                raise DataError(
                    "cells without a place on Earth have no areas", where=shown, why="coordinates are pixels"
                )
            for line in file:
                text = line.strip()
                if text == "]}":
                    return
                yield json.loads(text.removesuffix(","))
            raise ValueError("the file ends too early")
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("it is no object of JSON")
    if document.get("rv:coordinates") == "pixels":
        raise DataError("cells without a place on Earth have no areas", where=shown, why="coordinates are pixels")
    yield from document["features"]


def _areas_m2(rings: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = [ring_areas_m2(rings[first : first + _CELLS_AT_ONCE]) for first in range(0, len(rings), _CELLS_AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty(0)


def _step_share_of_rings(rings: NDArray[np.float64]) -> float:
    """As `_step_share`, from the outlines (N, 5, 2) of cells whose windows are not known: steps are as long both ways."""
    if len(rings) < 2:
        return 1.0
    points = rings.reshape(-1, 2)
    flat = project_each(points, WGS84, equal_area_crs(*middle_of(points)), where="").reshape(-1, 5, 2)
    one, other = flat[:, 1] - flat[:, 0], flat[:, 3] - flat[:, 0]
    # To the next cell, which in every format is mostly a neighbour, and from the first one to all.
    steps = _in_sides(np.diff(flat[:, 0], axis=0), one[:-1], other[:-1]).max(axis=1)
    step = float(steps[steps > _NO_STEP].min(initial=1.0))
    extent = _in_sides(flat[:, 0] - flat[0, 0], one[:1], other[:1]).max(axis=0)
    return step ** int((extent > step / 2).sum()) if step < 1 - _NO_STEP else 1.0


def _in_sides(ways: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """How long ways (N, 2) are along either side of a cell, in such sides; 0 for a cell without an area."""
    areas = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    areas = np.where(areas == 0, np.inf, areas)
    along_one = ways[:, 0] * other[:, 1] - ways[:, 1] * other[:, 0]
    along_other = one[:, 0] * ways[:, 1] - one[:, 1] * ways[:, 0]
    return np.asarray(np.abs(np.stack([along_one / areas, along_other / areas], axis=1)))


def _step_share(windows: NDArray[np.int64]) -> float:
    """What of a cell the step to the next ones is, 1 where cells do not overlap."""
    share = 1.0
    for axis in (0, 1):
        starts = np.unique(windows[:, axis]) if len(windows) else np.empty(0, np.int64)
        size_px = int(windows[:, axis + 2].max(initial=1))
        step_px = int(np.diff(starts).min()) if len(starts) > 1 else size_px
        share *= min(1.0, step_px / size_px)
    return share


def _shared_ground(files: Sequence[str], parts: Iterable[MappedCells]) -> list[str]:
    """What to say of maps that overlap: their common ground would count twice."""
    outlines = [(file, _outline(part)) for file, part in zip(files, parts, strict=True) if len(part.classes)]
    pairs = near_pairs([outline for _, outline in outlines], within_m=0.0)
    shared = [pair for pair in pairs if pair.shared_m2 > _TOLD_M2]
    if not shared:
        return []
    worst = max(shared, key=lambda pair: pair.shared_m2)
    names = " and ".join(os.path.basename(outlines[number][0]) for number in (worst.one, worst.other))
    text = (
        f"{len(shared)} pairs of maps overlap, {names} by {worst.shared_m2 / HECTARE_M2:,.4g} ha: that ground counts "
        "twice, and intervals are not to be trusted; leave one of them out"
    )
    return [text]


def _outline(cells: MappedCells) -> Footprint:
    """The convex hull of cells."""
    points = cells.rings.reshape(-1, 2)
    crs = equal_area_crs(*middle_of(points))
    hull = shapely.convex_hull(shapely.multipoints(project_each(points, WGS84, crs, where="")))
    lonlat = project_each(shapely.get_coordinates(hull), crs, WGS84, where="")
    center = on_sphere(lonlat).mean(axis=0)
    radius_m = float(np.linalg.norm(on_sphere(lonlat) - center, axis=1).max())
    return Footprint(shapely.set_coordinates(hull, lonlat), center, radius_m)


def is_root(uri: str) -> bool:
    """Whether an input is the folder of a run."""
    return uris.is_local(uri) and os.path.isfile(os.path.join(uris.local_path(uri), "pipeline-config.json"))
