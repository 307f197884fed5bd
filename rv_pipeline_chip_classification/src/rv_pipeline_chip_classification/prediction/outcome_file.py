"""Labelled cells with what is predicted for them, as GeoJSON: the errors on the map.

Geometry and coordinates are those of predicted cells (see `geojson_file`). Properties of a cell: `outcome` (`right`,
`wrong` or `not predicted`, which a cell without valid pixels is too), `truth` and `prediction` (class names), `truth_id`
and `prediction_id`, `score` of the predicted class, `margin` (by how much that is more than the next class's), `scene`,
`window`. What is not predicted has them null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.prediction.cell_scores import SCORE_DECIMALS
from rv_pipeline_chip_classification.prediction.geojson_file import (
    collection_head,
    damaged_cells,
    geometry_texts,
    read_features,
)
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import WindowArray

#: Setting up a projection takes longer than a thousand points, and a scene may have a million cells.
_CELLS_AT_ONCE = 4096


class Outcomes(NamedTuple):
    """Labelled cells and what is predicted for them.

    Args:
        windows: (N, 4) int64.
        truth: (N,) int64, class ids.
        predicted: (N,) int64, class ids; negative for what is not predicted.
        scores: (N,) float64.
        margins: (N,) float64.
        geometries: of each its text in the GeoJSON of the prediction, or None; None where no one has any.
    """

    windows: WindowArray
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    margins: NDArray[np.float64]
    geometries: Sequence[str | None] | None = None


def write_outcomes(path: Path, cells: Outcomes, grid: Grid, *, scene_id: str, class_names: Sequence[str]) -> None:
    """Write the cells of one scene; the same cells give the same bytes.

    Args:
        path: the file.
        cells: the cells.
        grid: of the scene.
        scene_id: what the property `scene` says.
        class_names: by class id.

    Raises:
        DataError: if the CRS of the image is not known.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(collection_head(grid, scene_id))
        separator = ""
        for begin in range(0, len(cells.windows), _CELLS_AT_ONCE):
            part = slice(begin, begin + _CELLS_AT_ONCE)
            geometries = _geometries_of(cells, part, grid, scene_id)
            columns = zip(*(column[part].tolist() for column in cells[:5]), geometries, strict=True)
            for window, truth, predicted, score, margin, geometry in columns:
                known = _properties(truth, predicted, score, margin, class_names)
                properties = json.dumps({**known, "scene": scene_id, "window": window}, ensure_ascii=False)
                file.write(f'{separator}{{"type": "Feature", "properties": {properties}, "geometry": {geometry}}}')
                separator = ",\n"
        file.write("\n]}\n" if separator else "]}\n")


def _geometries_of(cells: Outcomes, part: slice, grid: Grid, scene_id: str) -> list[str]:
    """The geometries of some cells as JSON: those of the prediction, and what that has not."""
    windows = cells.windows[part]
    texts = [None] * len(windows) if cells.geometries is None else cells.geometries[part]
    missing = [place for place, text in enumerate(texts) if text is None]
    made = iter(geometry_texts(windows[missing], grid, where=scene_id)) if missing else iter(())
    return [next(made) if text is None else text for text in texts]


class Outcome(NamedTuple):
    """A labelled cell as it is in a file.

    Args:
        window: (row_off, col_off, height, width).
        truth: class id.
        predicted: class id; None for what is not predicted.
        score: of the predicted class; None likewise.
        ring: its outline, [longitude, latitude] by corner, or [column, row] where the image has no CRS; None for a
            cell that has no place on Earth.
    """

    window: tuple[int, int, int, int]
    truth: int
    predicted: int | None
    score: float | None
    ring: Sequence[Sequence[float]] | None


def read_outcomes(path: Path, *, where: str) -> Iterator[Outcome]:
    """The cells of a file that `write_outcomes` wrote, line by line.

    Args:
        path: the file.
        where: what to call it in messages.

    Raises:
        DataError: if it is cut short or was changed to another layout.
    """
    return (_outcome_of(feature, where) for feature in read_features(path, where=where, made_by="eval"))


def _outcome_of(feature: Any, where: str) -> Outcome:
    try:
        known = feature["properties"]
        row_off, col_off, height, width = (int(number) for number in known["window"])
        predicted, score, geometry = known["prediction_id"], known["score"], feature["geometry"]
        return Outcome(
            (row_off, col_off, height, width),
            int(known["truth_id"]),
            None if predicted is None else int(predicted),
            None if score is None else float(score),
            None if geometry is None else geometry["coordinates"][0],
        )
    except (ValueError, KeyError, TypeError, IndexError) as err:
        raise damaged_cells(where, 0, f"{type(err).__name__}: {err}", made_by="eval") from err


def _properties(truth: int, predicted: int, score: float, margin: float, names: Sequence[str]) -> dict[str, Any]:
    if predicted < 0:
        return {
            "outcome": "not predicted",
            "truth": names[truth],
            "prediction": None,
            "truth_id": truth,
            "prediction_id": None,
            "score": None,
            "margin": None,
        }
    return {
        "outcome": "right" if truth == predicted else "wrong",
        "truth": names[truth],
        "prediction": names[predicted],
        "truth_id": truth,
        "prediction_id": predicted,
        "score": round(score, SCORE_DECIMALS),
        "margin": round(margin, SCORE_DECIMALS),
    }
