"""Plain records, and the frame that they make where pandas or geopandas is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rv_core import Storage
from rv_core.errors import DataError, UsageError
from rv_pipeline_chip_classification.prediction.cell_scores import PredictionNames

_WGS84 = "EPSG:4326"
_PIXELS = "rv:coordinates"


class Records(list[dict[str, Any]]):
    """A list of plain dictionaries.

    Args:
        records: what it holds; `geometry`, where they have one, is a GeoJSON geometry or None.
        crs: of the geometries, as "EPSG:4326" (longitude, then latitude); None for pixels, or no geometry.
    """

    def __init__(self, records: Iterable[dict[str, Any]] = (), *, crs: str | None = None) -> None:
        super().__init__(records)
        self.crs = crs

    def frame(self) -> Any:
        """A `geopandas.GeoDataFrame` of records with geometries, else a `pandas.DataFrame`.

        Raises:
            UsageError: if the library is not installed.
        """
        if any("geometry" in record for record in self):
            return self._geo_frame()
        try:
            import pandas
        except ImportError as err:
            raise _missing("pandas", err) from err
        return pandas.DataFrame.from_records(list(self))

    def _geo_frame(self) -> Any:
        try:
            import geopandas
        except ImportError as err:
            raise _missing("geopandas", err) from err
        from shapely.geometry import shape

        geometries = [shape(record["geometry"]) if record["geometry"] else None for record in self]
        return geopandas.GeoDataFrame.from_records(
            [{name: value for name, value in record.items() if name != "geometry"} for record in self]
        ).set_geometry(geopandas.GeoSeries(geometries, crs=self.crs))


def _missing(library: str, err: ImportError) -> UsageError:
    return UsageError(
        f"there is no frame without {library}",
        why=str(err),
        fix=f"pip install {library}; the records themselves are a list",
    )


def cells_of(path: Path, *, where: str) -> Records:
    """The cells of a GeoJSON file that `predict` or `eval` wrote: their properties, and `geometry`.

    Args:
        path: the file.
        where: what to call it in messages.

    Raises:
        DataError: if it is damaged.
    """
    try:
        collection = json.loads(path.read_text(encoding="utf-8"))
        crs = None if collection.get(_PIXELS) else _WGS84
        return Records(
            ({**feature["properties"], "geometry": feature["geometry"]} for feature in collection["features"]), crs=crs
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        fix = "run the command that wrote it again (--rerun); copy a file before you edit it"
        raise DataError(
            "a file of cells cannot be read", where=where, why=f"{type(err).__name__}: {err}", fix=fix
        ) from err


def layer_cells_of(storage: Storage, names: PredictionNames, ending: str) -> Records:
    """As `cells_of`, of a vector file with flat columns; windows are those of the file of cells beside it.

    Args:
        storage: of the root.
        names: of the prediction.
        ending: of the vector file.

    Raises:
        DataError: if it is damaged, or what reads it is not installed.
        StorageError: if it cannot be read.
    """
    from rv_pipeline_chip_classification.maps.flat_cells import read_flat_cells

    cells = read_flat_cells(storage.uri(names.vector(ending)))
    class_ids = [feature["properties"]["class_id"] for feature in cells.features]
    # A FlatGeobuf file is sorted by its index.
    windows = [None] * len(class_ids) if ending == "fgb" else _windows_of(storage, names, class_ids)
    records = [
        {**feature["properties"], "window": window, "geometry": feature["geometry"]}
        for feature, window in zip(cells.features, windows, strict=True)
    ]
    return Records(records, crs=None if any(map(_is_in_pixels, records)) else cells.crs)


def _windows_of(storage: Storage, names: PredictionNames, class_ids: list[int | None]) -> list[list[int] | None]:
    """The windows of cells in order; None for all where no file of the same cells is there."""
    from rv_pipeline_chip_classification.prediction.cell_file import read_cells

    known = list(read_cells(storage.input_file(names.cells), where=names.cells)) if storage.exists(names.cells) else []
    if [cell.class_id for cell in known] != class_ids:
        return [None] * len(class_ids)
    return [list(cell.window) for cell in known]


def _is_in_pixels(record: dict[str, Any]) -> bool:
    """Whether the first corner of a cell is that of its window: GeoJSONSeq does not say of what its numbers are."""
    window, geometry = record["window"], record["geometry"]
    return bool(window and geometry and geometry["coordinates"][0][0] == [window[1], window[0]])
