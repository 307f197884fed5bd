"""The cells of a scene as a GeoJSON layer that GIS programs show and change, and that is read back as labels.

One feature per line. Properties: `class_name` (null for a cell without a class, which is no label then), `scene`,
`subset`, `row` and `col` in the grid of cells, `window` in pixels, `reason`, `share` (of `ioa_over_cell`,
`ioa_over_polygon` or `label_fraction`, as the labels are set), `feature` that won, `best_class` and `best_ioa` of the
best polygon where none was good enough; further ones where a verb adds them. There is no `class_id`, which would win
against a changed `class_name`. Coordinates are those of predictions, see `prediction/geojson_file.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.config.values import uris_of
from rv_core.errors import Finding, UsageError
from rv_core.files import uris
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig
from rv_pipeline_chip_classification.labels.sources import UNLABELLED
from rv_pipeline_chip_classification.prediction.geojson_file import cell_rings
from rv_pipeline_chip_classification.prediction.polar_cells import outlines_of
from rv_pipeline_chip_classification.scenes.crs import degrees_per_unit
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import WindowArray
from rv_pipeline_chip_classification.verbs.labels.cell_table import CellTable, OpenScene

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.verbs.experiment import LabelledScene

_CELLS_AT_ONCE = 4096


def layer_lines(
    opened: OpenScene, table: CellTable, subset: str, extras: Sequence[Mapping[str, Any]] | None = None
) -> Iterator[str]:
    """The lines of the file.

    Args:
        opened: the scene.
        table: its cells.
        subset: of the scene.
        extras: further properties by cell, which come first.
    """
    kind = "" if opened.raster.grid.crs is not None else '"rv:coordinates": "pixels", '
    yield f'{{"type": "FeatureCollection", {kind}"scene": {json.dumps(opened.scene.id)}, "features": [\n'
    best = _best_candidates(opened, table)
    separator = ""
    for first in range(0, len(table.windows), _CELLS_AT_ONCE):
        stop = min(first + _CELLS_AT_ONCE, len(table.windows))
        rings = _outlines(table.windows[first:stop], opened.raster.grid, opened.scene.id)
        for number, ring in zip(range(first, stop), rings, strict=True):
            properties = {
                **(extras[number] if extras is not None else {}),
                **_properties(opened, table, number, subset),
                **best.get(number, {}),
            }
            geometry = {"type": "Polygon", "coordinates": [ring]} if ring is not None else None
            feature = {"type": "Feature", "properties": properties, "geometry": geometry}
            yield separator + json.dumps(feature, ensure_ascii=False)
            separator = ",\n"
    yield "\n]}\n"


def refuse_to_replace_inputs(output: Path, entries: Sequence[LabelledScene]) -> None:
    """Refuse a folder where a layer would be written over a file that the config reads.

    Args:
        output: the folder of the layers.
        entries: the scenes that get one.

    Raises:
        UsageError: naming the files.
    """
    inputs = {
        os.path.realpath(uris.local_path(uris.expand(uri)))
        for entry in entries
        for _, uri in uris_of(entry.scene)
        if uris.is_local(uris.expand(uri))
    }
    targets = [output / f"{entry.scene.id}.geojson" for entry in entries]
    findings = [
        Finding(str(target), "it is read by this config") for target in targets if os.path.realpath(target) in inputs
    ]
    if findings:
        fix = "choose another folder (--output)"
        raise UsageError("layers would replace files of the scenes; nothing was done", findings=findings[:20], fix=fix)


def write_layer(target: Path, lines: Iterable[str]) -> None:
    """Write a layer to a file, whole or not at all; its folder is created."""
    path = target.absolute()
    storage = Storage(str(path.parent), attempt_tag=str(os.getpid()))
    with storage.output_file(path.name) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)


def _outlines(windows: WindowArray, grid: Grid, where: str) -> list[Any]:
    rings = cell_rings(windows, grid, where=where)
    is_placed: list[bool] = np.asarray(np.isfinite(rings).all(axis=(1, 2))).tolist()
    is_projected = grid.crs is not None and degrees_per_unit(grid.crs) is None
    outlines: list[Any] = outlines_of(rings) if is_projected else rings.tolist()
    return [ring if placed else None for ring, placed in zip(outlines, is_placed, strict=True)]


def _properties(opened: OpenScene, table: CellTable, number: int, subset: str) -> dict[str, Any]:
    class_id, share = int(table.class_ids[number]), float(table.shares[number])
    is_used = class_id != UNLABELLED and bool(table.in_aoi[number])
    row, col = table.places[number].tolist()
    winner = int(table.winners[number])
    feature = int(table.candidates.features[winner]) if table.candidates is not None and winner >= 0 else None
    return {
        "class_name": opened.class_names[class_id] if is_used else None,
        "scene": opened.scene.id,
        "subset": subset,
        "row": row if row >= 0 else None,
        "col": col if col >= 0 else None,
        "window": table.windows[number].tolist(),
        "reason": str(table.reasons[number]),
        "share": None if np.isnan(share) else share,
        "feature": feature,
    }


def _best_candidates(opened: OpenScene, table: CellTable) -> dict[int, dict[str, Any]]:
    """The best polygon of each cell that no polygon has won."""
    found, labels = table.candidates, opened.scene.labels
    if found is None or not isinstance(labels, GeoJsonLabelsConfig):
        return {}
    ratios: NDArray[np.float64] = found.ratios(labels)
    order = np.lexsort((-ratios, found.windows))
    windows = found.windows[order]
    is_first = np.ones(len(order), np.bool_)
    is_first[1:] = windows[1:] != windows[:-1]
    return {
        int(found.windows[pair]): {
            "best_class": opened.class_names[int(found.class_ids[pair])],
            "best_ioa": round(float(ratios[pair]), 6),
        }
        for pair in order[is_first].tolist()
        if table.winners[found.windows[pair]] < 0
    }
