"""Predicted cells as GeoJSON: written and read one feature per line, so that no scene is ever held in memory.

RFC 7946: EPSG:4326, longitude then latitude, exterior rings counterclockwise. Coordinates have 12 decimals (a tenth of
a micrometre), and neighbours share their corners to the last digit. Cells begin between -180 and 180, and those across
the date line go on beyond 180. A cell that holds a pole, or has a corner there, has more points than four: its ring
leads along the pole. A cell of which a corner is not on Earth, as at the rim of a geostationary image, has
`"geometry": null`. Where the image has no CRS, coordinates are pixels (x = column, y = row) and the collection says `"rv:coordinates": "pixels"`.

Properties of a cell: `class_id`, `class_name`, `score` (of that class), `scores` (one per class id: probabilities, or
logits over the temperature, and then the collection says `"rv:scores": "logits"`), `scene`, `window` `[row_off, col_off, height, width]` in pixels of the scene, `valid_fraction`. A cell without any valid
pixel, or with pixels so wild that the model gives no numbers, has `class_id`, `class_name`, `score` and `scores` null:
it is no class, and never evaluated as one. A cell whose scores say too little has its `scores` and the others null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.prediction.cell_scores import ScoredCells, probabilities_of
from rv_pipeline_chip_classification.prediction.polar_cells import Ring, outlines_of
from rv_pipeline_chip_classification.scenes.crs import degrees_per_unit, project_each
from rv_pipeline_chip_classification.scenes.grid import Affine6, Grid
from rv_pipeline_chip_classification.scenes.windows import WindowArray

_WGS84 = "EPSG:4326"
_DECIMALS = 12
#: A western end this close to the date line lies on it.
_SEAM_DEG = 1e-9
#: Cells whose corners are projected together: setting up a projection takes longer than a thousand points.
_CELLS_AT_ONCE = 1024
_NOWHERE = "null"
_SCENE, _LOGITS = '"scene": ', '"rv:scores": "logits", '
_PROPERTIES, _GEOMETRY = '{"type": "Feature", "properties": ', ', "geometry": '
_POLYGON, _POLYGON_END = '{"type": "Polygon", "coordinates": [', "]}"
_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_POSITION = rf"\[{_NUMBER}, {_NUMBER}\]"
_RING = rf"\[{_POSITION}(?:, {_POSITION})+\]"
#: The end of a feature as it is written here; anything else, such as damage, is for a reader of JSON.
_WRITTEN_GEOMETRY = re.compile(f"{re.escape(_POLYGON)}{_RING}{re.escape(_POLYGON_END)}}}")
_FIRST_FEATURE, _LAST_LINE = '"features": [', "]}"


class PredictedCell(NamedTuple):
    """A cell as it is in a file.

    Args:
        window: (row_off, col_off, height, width).
        class_id: None where the cell has no valid pixel, or scores that say too little.
        scores: by class id, probabilities; None where it has no valid pixel.
        geometry: its text in the GeoJSON; None where it has none, or another place than `GeoJsonWriter` gives it.
    """

    window: tuple[int, int, int, int]
    class_id: int | None
    scores: tuple[float, ...] | None
    geometry: str | None = None


class GeoJsonWriter:
    """Writes the cells of one scene to a text file as they come; call `close` at the end.

    Args:
        file: open for writing, with the newline as the end of a line.
        grid: of the scene.
        scene_id: what the property `scene` says.
        class_names: by class id.
        where: the image, for messages.
        gives_logits: whether scores are logits.
    """

    def __init__(
        self,
        file: TextIO,
        grid: Grid,
        *,
        scene_id: str,
        class_names: Sequence[str],
        where: str,
        gives_logits: bool = False,
    ) -> None:
        self._file, self._grid, self._where = file, grid, where
        self._names = list(class_names)
        self._scene = json.dumps(scene_id)
        self._pending: list[ScoredCells] = []
        self._num_pending = 0
        self._separator = ""
        #: Cells so far that have no place on Earth.
        self.num_without_place = 0
        file.write(collection_head(grid, scene_id, gives_logits=gives_logits))

    def write(self, cells: ScoredCells) -> None:
        """Append cells."""
        self._pending.append(cells)
        self._num_pending += len(cells.windows)
        if self._num_pending >= _CELLS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Write what is left and the end of the document; the file stays open."""
        self._flush()
        self._file.write(f"\n{_LAST_LINE}\n" if self._separator else f"{_LAST_LINE}\n")

    def _flush(self) -> None:
        if not self._num_pending:
            return
        windows = np.concatenate([cells.windows for cells in self._pending])
        geometries = geometry_texts(windows, self._grid, where=self._where)
        self.num_without_place += geometries.count(_NOWHERE)
        texts = iter(geometries)
        for cells in self._pending:
            self._write_features(cells, texts)
        self._pending, self._num_pending = [], 0

    def _write_features(self, cells: ScoredCells, geometries: Iterator[str]) -> None:
        columns = zip(
            cells.windows.tolist(),
            cells.class_ids.tolist(),
            # Through float64, so that 0.123456 is not written as 0.12345600128173828.
            np.round(cells.scores.astype(np.float64), 6).tolist(),
            np.round(cells.valid_fractions, 6).tolist(),
            strict=True,
        )
        for window, class_id, scores, fraction in columns:
            known: dict[str, Any] = dict.fromkeys(("class_id", "class_name", "score", "scores"))
            if class_id < 0:
                known["scores"] = scores if np.isfinite(scores[0]) else None
            else:
                name, score = self._names[class_id], scores[class_id]
                known = {"class_id": class_id, "class_name": name, "score": score, "scores": scores}
            properties = json.dumps(known, ensure_ascii=False)[:-1]
            self._file.write(
                f'{self._separator}{_PROPERTIES}{properties}, "scene": {self._scene}, '
                f'"window": {window}, "valid_fraction": {fraction}}}{_GEOMETRY}{next(geometries)}}}'
            )
            self._separator = ",\n"


def collection_head(grid: Grid, scene_id: str, *, gives_logits: bool = False) -> str:
    """The first line of a file of cells."""
    kind = "" if grid.crs is not None else '"rv:coordinates": "pixels", '
    kind += _LOGITS if gives_logits else ""
    return f'{{"type": "FeatureCollection", {kind}{_SCENE}{json.dumps(scene_id)}, {_FIRST_FEATURE}\n'


def geometry_texts(windows: WindowArray, grid: Grid, *, where: str) -> list[str]:
    """The geometries of cells as JSON; `null` for one with a corner that is not on Earth. Arguments: as of `cell_rings`."""
    return [
        _NOWHERE if ring is None else f"{_POLYGON}{json.dumps(ring)}{_POLYGON_END}"
        for ring in outlines_of_windows(windows, grid, where=where)
    ]


def outlines_of_windows(windows: WindowArray, grid: Grid, *, where: str) -> list[Ring | None]:
    """The outlines of cells, closed; None for one with a corner that is not on Earth. Arguments: as of `cell_rings`."""
    return outlines_of_corners(_corners_of(windows, grid), grid.crs, where=where)


def outlines_of_corners(corners: NDArray[np.float64], crs: str | None, *, where: str) -> list[Ring | None]:
    """As `outlines_of_windows`, of (N, 4, 2) corners in a CRS."""
    rings = _rings_of_corners(corners, crs, where=where)
    is_placed: list[bool] = np.asarray(np.isfinite(rings).all(axis=(1, 2))).tolist()
    # In degrees a cell as wide as the world is a plain box.
    is_projected = crs is not None and degrees_per_unit(crs) is None
    outlines: list[Ring] = outlines_of(rings) if is_projected else rings.tolist()
    return [ring if placed else None for ring, placed in zip(outlines, is_placed, strict=True)]


def cell_rings(windows: WindowArray, grid: Grid, *, where: str) -> NDArray[np.float64]:
    """The outlines of windows, counterclockwise from the upper left corner of the image's pixels, closed.

    Args:
        windows: (N, 4) int64.
        grid: of the scene.
        where: the image, for messages.

    Returns:
        (N, 5, 2) float64, longitude then latitude; pixel column then row if the grid has no CRS. NaN where a corner
        has no longitude and latitude.

    Raises:
        DataError: if the CRS of the image is not known.
    """
    return _rings_of_corners(_corners_of(windows, grid), grid.crs, where=where)


def _corners_of(windows: WindowArray, grid: Grid) -> NDArray[np.float64]:
    """The corners of windows on the map, (N, 4, 2), from the upper left one; pixels if the grid has no CRS."""
    top, left = windows[:, 0], windows[:, 1]
    bottom, right = top + windows[:, 2], left + windows[:, 3]
    cols = np.stack([left, left, right, right], axis=1).astype(np.float64)
    rows = np.stack([top, bottom, bottom, top], axis=1).astype(np.float64)
    corners = np.stack([cols, rows], axis=2)
    return corners if grid.crs is None else to_map(corners.reshape(-1, 2), grid.transform).reshape(-1, 4, 2)


def _rings_of_corners(corners: NDArray[np.float64], crs: str | None, *, where: str) -> NDArray[np.float64]:
    if crs is not None:
        points = corners.reshape(-1, 2)
        lonlat = project_each(points, crs, _WGS84, where=where)
        degrees = degrees_per_unit(crs)
        if degrees is not None:
            # Longitudes of an image in degrees run on: projecting them may have turned some around the world.
            turns = (points[:, 0] * degrees - lonlat[:, 0]) / 360.0
            lonlat = np.column_stack([lonlat[:, 0] + np.round(turns) * 360.0, lonlat[:, 1]])
        corners = lonlat.reshape(-1, 4, 2)
        corners = _from_west(corners if degrees is not None else _beyond_date_line(corners))
    is_clockwise = _doubled_areas(corners) < 0
    corners[is_clockwise] = corners[is_clockwise][:, [0, 3, 2, 1]]
    # Adding zero turns -0.0 into 0.0.
    return np.round(np.concatenate([corners, corners[:, :1]], axis=1), _DECIMALS) + 0.0


def to_map(points: NDArray[np.float64], transform: Affine6) -> NDArray[np.float64]:
    """Pixel coordinates (N, 2), column then row, as map coordinates (N, 2), x then y."""
    a, b, c, d, e, f = transform
    cols, rows = points[:, 0], points[:, 1]
    return np.column_stack([a * cols + b * rows + c, d * cols + e * rows + f])


def _beyond_date_line(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rings (N, 4, 2) of which no one spans the world: western longitudes of such a ring are raised by 360."""
    lonlat = lonlat.copy()
    longitudes = lonlat[..., 0]
    is_torn = np.ptp(longitudes, axis=1) > 180
    longitudes[is_torn] += np.where(longitudes[is_torn] < 0, 360.0, 0.0)
    return lonlat


def _from_west(lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rings (N, 4, 2) turned around the world so that their western end is from -180 to below 180."""
    turns = np.floor((lonlat[..., 0].min(axis=1) + 180.0 + _SEAM_DEG) / 360.0)
    turned: NDArray[np.float64] = lonlat - np.stack([turns * 360.0, np.zeros_like(turns)], axis=1)[:, None]
    return turned


def _doubled_areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twice the signed area of each quadrilateral (N, 4, 2), positive if counterclockwise (shoelace formula)."""
    one, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]


def read_predictions(path: Path, *, where: str) -> Iterator[PredictedCell]:
    """The cells of a file that `GeoJsonWriter` wrote, line by line.

    Args:
        path: the file.
        where: what to call it in messages.

    Raises:
        DataError: if it is cut short or was changed to another layout.
    """
    with path.open(encoding="utf-8") as file:
        are_logits = _LOGITS in file.readline().partition(_SCENE)[0]
    for number, text in enumerate(_feature_texts(path, where), 2):
        try:
            yield _cell_of(text, are_logits=are_logits)
        except (ValueError, KeyError, TypeError) as err:
            raise damaged_cells(where, number, f"{type(err).__name__}: {err}") from err


def read_features(path: Path, *, where: str, made_by: str = "predict") -> Iterator[Any]:
    """The features of a file with one of them per line.

    Args:
        path: the file.
        where: what to call it in messages.
        made_by: the command that wrote it.

    Raises:
        DataError: if it is cut short or was changed to another layout.
    """
    for number, text in enumerate(_feature_texts(path, where, made_by), 2):
        try:
            feature = json.loads(text)
        except ValueError as err:
            raise damaged_cells(where, number, f"{type(err).__name__}: {err}", made_by=made_by) from err
        yield feature


def _feature_texts(path: Path, where: str, made_by: str = "predict") -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        line, number = file.readline(), 1
        if not line.rstrip().endswith(_FIRST_FEATURE):
            raise damaged_cells(where, number, "it does not begin like a file of predictions", made_by=made_by)
        for line in file:
            number, text = number + 1, line.strip()
            if text == _LAST_LINE:
                return
            yield text.removesuffix(",")
        raise damaged_cells(where, number, "the file ends too early", made_by=made_by)


def _cell_of(text: str, *, are_logits: bool) -> PredictedCell:
    before, _, after = text.partition(_GEOMETRY)
    if before.startswith(_PROPERTIES) and _WRITTEN_GEOMETRY.fullmatch(after):
        # Its coordinates take longer to read than all else, and longer still to write.
        properties, geometry = json.loads(before.removeprefix(_PROPERTIES)), after[:-1]
    else:
        properties, geometry = json.loads(text)["properties"], None
    row_off, col_off, height, width = (int(number) for number in properties["window"])
    class_id, scores = properties["class_id"], properties["scores"]
    if are_logits and scores is not None:
        scores = probabilities_of(np.array([scores], np.float64))[0].tolist()
    return PredictedCell(
        (row_off, col_off, height, width),
        None if class_id is None else int(class_id),
        None if scores is None else tuple(map(float, scores)),
        geometry,
    )


def damaged_cells(where: str, line: int, why: str, *, made_by: str = "predict") -> DataError:
    """The error for a file of cells; `line` 0 for one that is not told."""
    return DataError(
        "a file of predictions cannot be read",
        where=f"{where}, line {line}" if line else where,
        why=why,
        fix=f'run the command "{made_by}" again (--rerun); copy the file before you edit it',
    )
