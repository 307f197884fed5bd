"""Plain records, and the frame that they make where pandas or geopandas is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rv_core.errors import DataError, UsageError

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
