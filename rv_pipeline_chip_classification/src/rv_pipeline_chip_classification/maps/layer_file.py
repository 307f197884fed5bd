"""Layers of polygons with flat columns, in files that GIS programs open: GeoPackage, FlatGeobuf, GeoParquet.

They come in portions. GeoParquet is written as they come, by pyarrow: the GDAL that pyogrio brings has no driver for it. For
the others GDAL pulls the portions from a draft, so that no layer is ever held in memory. The same portions give the
same bytes: a GeoPackage tells a fixed time.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.maps.formats import INSTALL
from rv_pipeline_chip_classification.scenes.grid import Affine6
from rv_pipeline_chip_classification.scenes.windows import WindowArray

_DRIVERS = {"gpkg": "GPKG", "fgb": "FlatGeobuf"}
_GEOMETRY = "geometry"
#: GDAL writes when a layer was changed; then no two files would be the same.
_TIME = "1970-01-01T00:00:00.000Z"
_POLYGON = np.dtype([("order", "u1"), ("type", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])


class LayerWriter:
    """Writes a layer as its features come; a context manager.

    Args:
        path: the file.
        kind: `gpkg`, `fgb` or `parquet`.
        columns: name -> `int32`, `float64` or `string`.
        crs: of the geometries, as WKT; None for pixels.
        layer: its name, where the format has one.
        geometry_type: `Polygon` or `MultiPolygon`.

    Raises:
        DataError: if what writes it is not installed.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        columns: Mapping[str, str],
        *,
        crs: str | None,
        layer: str,
        geometry_type: str = "Polygon",
    ) -> None:
        self._path, self._kind, self._crs, self._layer, self._type = path, kind, crs, layer, geometry_type
        self._arrow = _library("pyarrow", kind)
        self._names = tuple(columns)
        with ExitStack() as stack:
            if kind == "parquet":
                parquet = _library("pyarrow.parquet", kind)
                fields = {name: "float32" if found == "float64" else found for name, found in columns.items()}
                self._schema = self._schema_of(fields).with_metadata({"geo": _geo(crs, geometry_type)})
                self._writer: Any = stack.enter_context(
                    parquet.ParquetWriter(path, self._schema, compression="zstd", compression_level=9)
                )
            else:
                self._schema = self._schema_of(columns)
                self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="rv-layer-")))
                _library("pyogrio", kind)
                self._writer = self._arrow.ipc.new_file(str(self._folder / "draft"), self._schema)
                stack.callback(self._writer.close)
            self._stack = stack.pop_all()

    def write(self, geometries: Any, columns: Sequence[Any]) -> None:
        """Append features.

        Args:
            geometries: WKB of each, as `bytes` or what `boxes_as_wkb` gives.
            columns: an array per column in order; masked where there is no value.
        """
        arrow, num_features = self._arrow, len(geometries)
        if isinstance(geometries, np.ndarray):
            offsets = arrow.py_buffer(np.arange(num_features + 1, dtype=np.int32) * geometries.dtype.itemsize)
            buffers = [None, offsets, arrow.py_buffer(geometries.tobytes())]
            shapes = arrow.Array.from_buffers(arrow.binary(), num_features, buffers)
        else:
            shapes = arrow.array(geometries, arrow.binary())
        arrays = [
            arrow.array(np.ma.getdata(values), field.type, mask=np.ma.getmaskarray(values))
            for values, field in zip(columns, list(self._schema)[1:], strict=True)
        ]
        self._writer.write_batch(arrow.record_batch([shapes, *arrays], schema=self._schema))

    def _schema_of(self, columns: Mapping[str, str]) -> Any:
        types = {"int32": self._arrow.int32(), "string": self._arrow.string()}
        types |= {"float32": self._arrow.float32(), "float64": self._arrow.float64()}
        fields = [(name, types[found]) for name, found in columns.items()]
        return self._arrow.schema([(_GEOMETRY, self._arrow.binary()), *fields])

    def _convert(self) -> None:
        pyogrio = _library("pyogrio", self._kind)
        target = self._folder / f"layer.{self._kind}"
        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _TIME})
        try:
            with self._arrow.memory_map(str(self._folder / "draft")) as file, warnings.catch_warnings():
                warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
                draft = self._arrow.ipc.open_file(file)
                batches = (draft.get_batch(number) for number in range(draft.num_record_batches))
                pyogrio.raw.write_arrow(
                    self._arrow.RecordBatchReader.from_batches(self._schema, batches),
                    target,
                    driver=_DRIVERS[self._kind],
                    layer=self._layer,
                    geometry_name=_GEOMETRY,
                    geometry_type=self._type,
                    crs=self._crs,
                )
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
        shutil.move(target, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is None and self._kind != "parquet":
                self._writer.close()
                self._convert()


def boxes_as_wkb(windows: WindowArray, transform: Affine6) -> NDArray[Any]:
    """The outlines of windows in map coordinates, counterclockwise: (N,) records of WKB.

    Args:
        windows: (N, 4) int64.
        transform: from pixels (column, row) to the map; neighbours share their corners to the last bit.
    """
    a, b, c, d, e, f = transform
    top, left = windows[:, 0], windows[:, 1]
    bottom, right = top + windows[:, 2], left + windows[:, 3]
    cols, rows = np.stack([left, left, right, right, left]), np.stack([top, bottom, bottom, top, top])
    if a * e - b * d > 0:
        cols, rows = cols[::-1], rows[::-1]
    polygons = np.zeros(len(windows), _POLYGON)
    polygons["order"], polygons["type"], polygons["rings"], polygons["points"] = 1, 3, 1, 5
    polygons["xy"][..., 0], polygons["xy"][..., 1] = (a * cols + b * rows + c).T, (d * cols + e * rows + f).T
    return polygons


def _geo(crs: str | None, geometry_type: str) -> str:
    """The metadata of GeoParquet 1.1."""
    from rasterio.crs import CRS

    described = None if crs is None else CRS.from_user_input(crs).to_dict(projjson=True)
    column = {"encoding": "WKB", "geometry_types": [geometry_type], "crs": described, "orientation": "counterclockwise"}
    return json.dumps({"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}})


def _library(name: str, kind: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as err:
        what = f"a file of the format {kind!r} cannot be written: {name.partition('.')[0]} cannot be imported"
        raise DataError(what, why=str(err), fix=INSTALL) from err
