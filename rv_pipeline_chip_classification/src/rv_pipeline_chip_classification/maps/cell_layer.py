"""Predicted cells as a layer with flat columns, in any format but GeoJSON, which has them nested (`geojson_file`).

Columns: `class_id`, `class_name`, `score` of that class, `score_<class>` of each class, `valid_fraction`, `scene`. What a cell
does not have is null. Geometries have the CRS of the image, those of GeoJSONSeq longitude and latitude with seven decimals
(a centimetre).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from rv_pipeline_chip_classification.maps.layer_file import LayerWriter, boxes_as_wkb
from rv_pipeline_chip_classification.prediction.cell_scores import SCORE_DECIMALS, ScoredCells
from rv_pipeline_chip_classification.prediction.geojson_file import outlines_of_windows
from rv_pipeline_chip_classification.scenes.grid import Grid

_CELLS_AT_ONCE = 16_384
_DECIMALS = 7
_NO_CRS: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class LayerOf(NamedTuple):
    """What a layer of cells is of.

    Args:
        grid: of the scene.
        scene_id: of the scene.
        class_names: by class id.
    """

    grid: Grid
    scene_id: str
    class_names: Sequence[str]

    def columns(self) -> dict[str, str]:
        """Name -> type."""
        scores = dict.fromkeys(score_columns(self.class_names), "float64")
        return {
            "class_id": "int32",
            "class_name": "string",
            "score": "float64",
            **scores,
            "valid_fraction": "float64",
            "scene": "string",
        }

    def values(self, cells: ScoredCells) -> list[Any]:
        """An array per column."""
        has_class, num_cells = cells.class_ids >= 0, len(cells.class_ids)
        ids = np.where(has_class, cells.class_ids, 0)
        # Through float64, so that 0.123456 is not written as 0.12345600128173828.
        scores = np.round(cells.scores.astype(np.float64), SCORE_DECIMALS)
        names = np.array(list(self.class_names), object)[ids]
        return [
            np.ma.array(ids.astype(np.int32), mask=~has_class),
            np.ma.array(names, mask=~has_class),
            np.ma.array(scores[np.arange(num_cells), ids], mask=~has_class),
            *(np.ma.array(column, mask=~cells.has_scores) for column in scores.T),
            np.round(cells.valid_fractions, SCORE_DECIMALS),
            np.full(num_cells, self.scene_id, object),
        ]


def score_columns(class_names: Sequence[str]) -> list[str]:
    """`score_<class>` by class id; SQLite tells no capitals from small letters, so what is the same then has its id too."""
    plain = [name.casefold() for name in class_names]
    return [
        f"score_{name}" if plain.count(name.casefold()) == 1 else f"score_{name}_{class_id}"
        for class_id, name in enumerate(class_names)
    ]


class CellLayerWriter:
    """Writes the cells of one scene as they come; a context manager.

    Args:
        path: the file.
        kind: `geojsonseq`, `gpkg`, `fgb` or `parquet`.
        layer: what they are.
    """

    def __init__(self, path: Path, kind: str, layer: LayerOf) -> None:
        self._layer, self._pending, self._num_pending = layer, list[ScoredCells](), 0
        self._writer: LayerWriter | _LineWriter = (
            _LineWriter(path, layer)
            if kind == "geojsonseq"
            else LayerWriter(path, kind, layer.columns(), crs=layer.grid.crs, layer=layer.scene_id)
        )

    def write(self, cells: ScoredCells) -> None:
        """Append cells."""
        self._pending.append(cells)
        self._num_pending += len(cells.windows)
        if self._num_pending >= _CELLS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._num_pending:
            return
        cells = ScoredCells(0, *(np.concatenate(column) for column in list(zip(*self._pending, strict=True))[1:]))
        grid = self._layer.grid
        if isinstance(self._writer, _LineWriter):
            self._writer.write(cells)
        else:
            transform = _NO_CRS if grid.crs is None else grid.transform
            self._writer.write(boxes_as_wkb(cells.windows, transform), self._layer.values(cells))  # type: ignore[arg-type]
        self._pending, self._num_pending = [], 0

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        except BaseException as err:
            self._writer.__exit__(type(err), err, err.__traceback__)
            raise
        self._writer.__exit__(kind, error, traceback)


class _LineWriter:
    """GeoJSON, a feature per line."""

    def __init__(self, path: Path, layer: LayerOf) -> None:
        self._layer, self._names = layer, tuple(layer.columns())
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, cells: ScoredCells) -> None:
        layer = self._layer
        outlines = outlines_of_windows(cells.windows, layer.grid, where=layer.scene_id)
        columns = [np.ma.asarray(values).tolist() for values in layer.values(cells)]
        for outline, *values in zip(outlines, *columns, strict=True):
            geometry = None
            if outline is not None:
                ring = [[round(x, _DECIMALS), round(y, _DECIMALS)] for x, y in outline]
                geometry = {"type": "Polygon", "coordinates": [ring]}
            properties = dict(zip(self._names, values, strict=True))
            feature = {"type": "Feature", "properties": properties, "geometry": geometry}
            self._file.write(json.dumps(feature, ensure_ascii=False) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
