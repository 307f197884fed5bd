"""The same features as files of every format, in any CRS; they are written with pyogrio and pyarrow as programs do."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.warp import transform

pyogrio = pytest.importorskip("pyogrio")
pytest.importorskip("pyarrow")

UTM = "EPSG:32618"
ORIGIN = (500_000.0, 4_500_000.0)
FORMATS = ("gpkg", "shp", "zip", "fgb", "parquet", "geojson", "geojsonl", "csv")
_DRIVERS = {"gpkg": "GPKG", "shp": "ESRI Shapefile", "fgb": "FlatGeobuf"}


def in_crs(pixels: Any, crs: str, origin: tuple[float, float] = ORIGIN) -> Any:
    """Geometries in pixels (1 m, in UTM zone 18) in another CRS; `pixels` is an array of shapely geometries."""

    def place(corners: np.ndarray) -> np.ndarray:
        eastings, northings = origin[0] + corners[:, 0], origin[1] - corners[:, 1]
        return np.column_stack(transform(UTM, crs, eastings, northings))

    return shapely.transform(pixels, place)


def write(
    folder: Path,
    kind: str,
    geometries: Any,
    columns: Mapping[str, Sequence[Any]],
    crs: str | None,
    name: str = "labels",
) -> str:
    """Write features and return the file; CSV holds WKT."""
    path = folder / f"{name}.{kind}"
    if kind in _DRIVERS:
        write_layer(path, geometries, columns, crs)
    elif kind == "zip":
        _write_zip(path, write(folder / "zipped", "shp", geometries, columns, crs, name))
    elif kind == "parquet":
        write_parquet(path, geometries, columns, crs)
    elif kind == "csv":
        _write_csv(path, [geometry.wkt for geometry in geometries], columns)
    else:
        _write_geojson(path, geometries, columns, crs, is_lines=kind == "geojsonl")
    return str(path)


def write_layer(
    path: Path, geometries: Any, columns: Mapping[str, Sequence[Any]], crs: str | None, **options: Any
) -> None:
    """Write a layer with pyogrio; options are its own."""
    path.parent.mkdir(exist_ok=True)
    arrays = [np.array(values, object if isinstance(values[0], str) else None) for values in columns.values()]
    kinds = {geometry.geom_type for geometry in geometries}
    options.setdefault("geometry_type", kinds.pop() if len(kinds) == 1 else "Unknown")
    options.setdefault("driver", _DRIVERS[path.suffix[1:]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a file without a CRS
        pyogrio.raw.write(str(path), shapely.to_wkb(geometries), arrays, list(columns), crs=crs, **options)


def _write_zip(path: Path, shapefile: str) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in sorted(Path(shapefile).parent.iterdir()):
            archive.write(part, f"inside/{part.name}")


def write_parquet(path: Path, geometries: Any, columns: Mapping[str, Sequence[Any]], crs: str | None) -> None:
    """GeoParquet 1.1 as its specification has it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from rasterio.crs import CRS

    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": []}
    if crs != "EPSG:4326":
        column["crs"] = None if crs is None else CRS.from_user_input(crs).to_dict(projjson=True)
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pa.table(
        {**{name: list(values) for name, values in columns.items()}, "geometry": shapely.to_wkb(geometries).tolist()}
    )
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)


def _write_csv(path: Path, wkt: list[str], columns: Mapping[str, Sequence[Any]]) -> None:
    import csv

    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "wkt"])
        writer.writerows(zip(*columns.values(), wkt, strict=True))


def _write_geojson(
    path: Path, geometries: Any, columns: Mapping[str, Sequence[Any]], crs: str | None, *, is_lines: bool
) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    features = [
        {"type": "Feature", "properties": properties, "geometry": json.loads(text)}
        for properties, text in zip(rows, shapely.to_geojson(geometries).tolist(), strict=True)
    ]
    if is_lines:
        path.write_text("".join(json.dumps(feature) + "\n" for feature in features))
        return
    document: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs is not None and crs != "EPSG:4326":
        document["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(document))


def squares(count_a_side: int, size_px: int) -> Any:
    """Squares that share their edges: cells of a chessboard, row by row, in pixels."""
    rows, cols = np.divmod(np.arange(count_a_side**2), count_a_side)
    return shapely.box(cols * size_px, rows * size_px, (cols + 1) * size_px, (rows + 1) * size_px)
