"""Labelled cells with what is predicted for them as a layer, with the columns of the GeoJSON beside it (`outcome_file`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rv_pipeline_chip_classification.maps.layer_file import LayerWriter, boxes_as_wkb
from rv_pipeline_chip_classification.prediction.cell_scores import SCORE_DECIMALS
from rv_pipeline_chip_classification.prediction.outcome_file import Outcomes
from rv_pipeline_chip_classification.scenes.grid import Grid

_PIXELS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_COLUMNS = {
    **dict.fromkeys(("outcome", "truth", "prediction"), "string"),
    **dict.fromkeys(("score", "margin"), "float64"),
    "scene": "string",
}


def write_outcome_layer(
    path: Path, kind: str, cells: Outcomes, grid: Grid, *, scene_id: str, class_names: Sequence[str]
) -> None:
    """Write the cells of one scene, in the CRS of its image.

    Args:
        path: the file.
        kind: `gpkg`, `fgb` or `parquet`.
        cells: the cells.
        grid: of the scene.
        scene_id: what the column `scene` says.
        class_names: by class id.

    Raises:
        DataError: if what writes it is not installed.
    """
    names, is_missing = np.array([*class_names, ""], object), cells.predicted < 0
    outcomes = np.where(cells.truth == cells.predicted, "right", "wrong").astype(object)
    outcomes[is_missing] = "not predicted"
    columns = [
        outcomes,
        names[cells.truth],
        np.ma.array(names[cells.predicted], mask=is_missing),
        np.ma.array(np.round(cells.scores, SCORE_DECIMALS), mask=is_missing),
        np.ma.array(np.round(cells.margins, SCORE_DECIMALS), mask=is_missing),
        np.full(len(outcomes), scene_id, object),
    ]
    boxes = boxes_as_wkb(cells.windows, _PIXELS if grid.crs is None else grid.transform)
    with LayerWriter(path, kind, _COLUMNS, crs=grid.crs, layer=scene_id) as layer:
        layer.write(boxes, columns)
