"""Samples of a map: drawn at random in each class, written for someone to fill in, and read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError, Finding, RvError, UsageError
from rv_core.files import by_uri
from rv_pipeline_chip_classification.sampling.area_estimates import Sample, allocate
from rv_pipeline_chip_classification.verbs.areas.map_files import MappedAreas, MappedCells

_SHOWN_PROBLEMS = 20
_FIX = "write mapped,reference and a row per unit that was drawn; weight says how much ground a unit stands for"


@dataclass(frozen=True)
class NamedSample:
    """A sample, and the classes that it and the map have.

    Args:
        class_names: those of the map, then those that are in the reference alone.
        areas_m2: (K,) float64, of these in the map.
        sample: the units, by number of these classes.
    """

    class_names: tuple[str, ...]
    areas_m2: NDArray[np.float64]
    sample: Sample


def read_sample(uri: str, mapped: MappedAreas) -> NamedSample:
    """A sample from a CSV or GeoJSON file with `mapped`, `reference` and perhaps `weight`.

    Raises:
        UsageError: if it is no sample of this map: a column or a reference is missing, or a class is not in the map.
    """
    rows = _rows_of(uri)
    missing = [name for name in ("mapped", "reference") if not rows or name not in rows[0]]
    if missing:
        raise UsageError("this is no sample", where=uri, why=f"it has no {' and no '.join(missing)}", fix=_FIX)
    names = {name: number for number, name in enumerate(mapped.class_names)}
    findings: list[Finding] = []
    units: list[tuple[int, int, float]] = []
    for number, row in enumerate(rows, 1):
        strata, reference = (_text_of(row.get(name)) for name in ("mapped", "reference"))
        weight = _weight_of(row.get("weight"))
        if strata not in mapped.class_names:
            findings.append(Finding(f"unit {number}", f"its mapped class {strata!r} is not in the map"))
        elif not reference:
            findings.append(Finding(f"unit {number}", "it has no reference"))
        elif weight is None:
            findings.append(Finding(f"unit {number}", f"its weight {row.get('weight')!r} is no number above 0"))
        else:
            units.append((names[strata], names.setdefault(reference, len(names)), weight))
    if findings:
        what = f"{len(findings)} of {len(rows)} units of the sample cannot be used"
        fix = "fill in every unit that was drawn: leaving some out makes the sample no probability sample"
        raise UsageError(what, where=uri, findings=findings[:_SHOWN_PROBLEMS], fix=fix)
    areas = np.zeros(len(names))
    areas[: len(mapped.areas_m2)] = mapped.areas_m2
    columns = [np.array(column) for column in zip(*units, strict=True)]
    sample = Sample(columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2].astype(np.float64))
    return NamedSample(tuple(names), areas, sample)


def _rows_of(uri: str) -> list[dict[str, Any]]:
    text = by_uri.read_text(uri, may_be_pipe=True).removeprefix("\ufeff")
    try:
        if not text.lstrip().startswith("{"):
            return list(csv.DictReader(io.StringIO(text)))
        return [dict(feature["properties"]) for feature in json.loads(text)["features"]]
    except (ValueError, KeyError, TypeError, csv.Error) as err:
        raise UsageError("this is no sample", where=uri, why=f"{type(err).__name__}: {err}", fix=_FIX) from err


def _text_of(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _weight_of(value: Any) -> float | None:
    try:
        weight = 1.0 if value in (None, "") else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return weight if 0 < weight < float("inf") else None


def draw(mapped: MappedAreas, num_units: int, seed: int) -> NDArray[np.int64]:
    """Cells of a map, drawn at random without replacement in each class: numbers of cells, ascending.

    Raises:
        UsageError: if the map is a table of areas, which has no cells.
    """
    cells = mapped.cells
    if cells is None:
        raise UsageError("a table of areas has no cells to draw from", fix="name the files of the map, or a root")
    rng = np.random.default_rng(seed)
    wanted = allocate(mapped.areas_m2, num_units)
    chosen = []
    for number, count in enumerate(wanted.tolist()):
        own = np.flatnonzero((cells.classes == number) & (cells.areas_m2 > 0))
        chosen.append(rng.choice(own, min(count, len(own)), replace=False))
    return np.sort(np.concatenate(chosen))


def _keep_filled_in(path: Path) -> None:
    """Refuse to write over a sample with references: they are hours of somebody's looking."""
    if not path.is_file():
        return
    try:
        num_filled = sum(bool(_text_of(row.get("reference"))) for row in _rows_of(str(path.absolute())))
    except RvError:
        num_filled = 0
    if num_filled:
        what = f"{num_filled} units of the sample that is there are filled in already"
        raise UsageError(what, where=str(path), fix="give -o another name, or move that file away")


def write_sample(path: Path, mapped: MappedAreas, cells: MappedCells, units: Sequence[int]) -> None:
    """Write drawn cells with an empty `reference`: as GeoJSON, or as CSV with the middle of each cell.

    The weight is the ground that a cell stands for, in hectares: cells at the edge of an image, and those with pixels
    without data, stand for less.

    Raises:
        DataError: if the file is neither.
        UsageError: if it is there already and somebody has begun to fill it in.
    """
    _keep_filled_in(path)
    rows = [
        {
            "unit": number,
            "mapped": mapped.class_names[int(cells.classes[cell])],
            "reference": "",
            "weight": round(float(cells.areas_m2[cell]) / 1e4, 6),
            "map": Path(mapped.files[int(cells.sources[cell])]).stem,
        }
        for number, cell in enumerate(units, 1)
    ]
    if path.suffix.lower() in (".geojson", ".json"):
        features = [
            {
                "type": "Feature",
                "properties": row,
                "geometry": {"type": "Polygon", "coordinates": [cells.rings[cell].tolist()]},
            }
            for row, cell in zip(rows, units, strict=True)
        ]
        lines = ",\n".join(json.dumps(feature, ensure_ascii=False) for feature in features)
        text = f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n'
    elif path.suffix.lower() == ".csv":
        table = io.StringIO()
        writer = csv.DictWriter(table, [*rows[0], "lon", "lat"], lineterminator="\n")
        writer.writeheader()
        for row, cell in zip(rows, units, strict=True):
            lon, lat = cells.rings[cell, :4].mean(axis=0).tolist()
            writer.writerow({**row, "lon": round(lon, 9), "lat": round(lat, 9)})
        text = table.getvalue()
    else:
        raise DataError("a sample is written as .csv or .geojson", where=str(path))
    by_uri.write_bytes(str(path.absolute()), text.encode())
