"""The part of the configuration that says where labels come from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from rv_core import Config, Range, Uri
from rv_core.errors import Finding
from rv_pipeline_chip_classification import config_checks as checks
from rv_pipeline_chip_classification.config_parts import Fraction, LabelsConfig

_CRS = re.compile(r"(EPSG|ESRI):\d{1,7}", re.IGNORECASE)


@dataclass(kw_only=True)
class GeoJsonLabelsConfig(LabelsConfig):
    """Labels from polygons in a GeoJSON file (EPSG:4326, or its legacy `crs` member; pixels if the image has no CRS).

    The class of a feature is its property `class_id` (0-based), else `class_name`, else `label`; a feature without
    any of them is dropped and counted. A name that is no class is an error.

    Args:
        uri: the GeoJSON file. A file without features is allowed with `background_class`: all of the scene is that.
        infer_cells: True lays a grid of cells over the extent and gives each the class of a polygon; False takes the
            bounds of each feature as a cell, to whole pixels and wherever it lies: each is predicted and evaluated as
            a window of its own. `chip.sampling="cells"` trains on such windows too.
        ioa_threshold: a polygon is a candidate for a window if intersection over area reaches this (equality counts).
            Each polygon is looked at on its own. Of several candidates the one with the largest intersection wins,
            ties go to the smaller class id.
        use_intersection_over_cell: the area in "intersection over area" is the window's; False takes the polygon's,
            and then a polygon larger than a cell labels hardly any.
        pick_min_class_id: of several candidates the smallest class id wins instead.
        background_class: the class of windows without a candidate; None leaves them unlabelled, which means neither
            chipped nor evaluated.
        class_property: the one property that holds the class, an id or a name, instead of the three above. That no
            feature has it is an error.
        class_mapping: name or number in the file -> class name; "" leaves such features out. A number that is mapped
            (`{"10": "forest"}`, for 10 and 10.0 alike) is no class id; true and false are mapped as "true" and "false".
    """

    uri: Uri
    infer_cells: bool = True
    ioa_threshold: Annotated[float, Range(min_exclusive=0, max=1)] = 0.5
    use_intersection_over_cell: bool = False
    pick_min_class_id: bool = False
    background_class: str | None = None
    class_property: str | None = None
    class_mapping: dict[str, str] = field(default_factory=dict)

    def validate(self) -> Iterable[Finding]:
        return checks.check_geojson_labels(self.class_property)

    def class_names_used(self) -> Iterator[tuple[str, str]]:
        if self.background_class is not None:
            yield "background_class", self.background_class
        yield from ((f"class_mapping.{key}", name) for key, name in self.class_mapping.items() if name)

    def has_cell_grid(self) -> bool:
        return self.infer_cells


@dataclass(kw_only=True)
class VectorLabelsConfig(GeoJsonLabelsConfig):
    """Labels from a vector file: GeoPackage, Shapefile (zipped too), FlatGeobuf, GeoParquet, GeoJSON(Seq), or CSV.

    What `GeoJsonLabelsConfig` has means the same here. Most formats need the extra `vector`. Points and lines have no
    area: `buffer_m` gives them one, `point_cell` takes the cell that holds a point.

    Args:
        uri: the file; its parts (`.shx`, `.dbf`, `.prj`, `.cpg`, `-wal`) are found beside it.
        layer: of a GeoPackage with several layers; of a zip archive with several files the name of one.
        where: which features count: the condition of an SQL WHERE clause, such as `"year = 2024 AND area_ha > 1"`.
        crs: of the coordinates, `"EPSG:32633"`, where the file names none; it is taken instead of that of the file.
        geometry_columns: columns of a CSV or Parquet table: one with WKT, or those of x and y. Empty finds `wkt`,
            `geometry`, `geom`; `lon`, `lat` (then in EPSG:4326); `x`, `y` by their names.
        buffer_m: metres on the ground around points and lines.
        point_cell: a point labels the cell that holds it, whose side `cell_size_px` must say.
    """

    layer: str | None = None
    where: str | None = None
    crs: str | None = None
    geometry_columns: list[str] = field(default_factory=list)
    buffer_m: Annotated[float | None, Range(min_exclusive=0, max=100_000)] = None
    point_cell: bool = False

    def validate(self) -> Iterable[Finding]:
        yield from super().validate()
        yield from check_vector_file(self.where, self.crs, self.geometry_columns)
        yield from check_points(self.buffer_m, self.cell_size_px, point_cell=self.point_cell)


@dataclass(kw_only=True)
class VectorAreaConfig(Config):
    """The features of a vector file as an area of interest.

    Args:
        uri: the file, of any format that `VectorLabelsConfig` reads.
        layer: as there.
        where: as there.
        crs: as there.
        geometry_columns: as there.
        buffer_m: as there.
    """

    uri: Uri
    layer: str | None = None
    where: str | None = None
    crs: str | None = None
    geometry_columns: list[str] = field(default_factory=list)
    buffer_m: Annotated[float | None, Range(min_exclusive=0, max=100_000)] = None

    def validate(self) -> Iterable[Finding]:
        return check_vector_file(self.where, self.crs, self.geometry_columns)


@dataclass(kw_only=True)
class ClassRasterLabelsConfig(LabelsConfig):
    """Labels from a raster of class values: a window has the class of most of its labelled pixels (ties: smaller id).

    Args:
        uri: the raster, its first band. Any CRS and grid: nearest neighbour onto the scene's grid.
        class_values: raster value -> class name. Several values may name one class; pixels of other values, of
            nodata and outside the raster are unlabelled.
        min_fraction: the share of *all* pixels of the window that its class must reach, else it is unlabelled.
    """

    uri: Uri
    class_values: dict[int, str]
    min_fraction: Fraction = 0.0

    def validate(self) -> Iterable[Finding]:
        return checks.check_class_values(self.class_values)

    def class_names_used(self) -> Iterator[tuple[str, str]]:
        yield from ((f"class_values.{value}", name) for value, name in self.class_values.items())


def check_vector_file(where: str | None, crs: str | None, geometry_columns: Sequence[str]) -> Iterator[Finding]:
    """What is said of a vector file means something."""
    if where is not None and not where.strip():
        yield Finding("where", "the condition is empty", "leave it out for all features")
    if crs is not None and not _CRS.fullmatch(crs):
        yield Finding("crs", f"{crs[:100]!r} names no CRS", 'write "EPSG:" and its code, for instance "EPSG:32633"')
    if len(geometry_columns) > 2 or len(set(geometry_columns)) != len(geometry_columns):
        fix = 'write ["geometry"], or ["lon", "lat"]'
        yield Finding("geometry_columns", f"{list(geometry_columns)} are neither one column nor two", fix)


def check_points(buffer_m: float | None, cell_size_px: int | None, *, point_cell: bool) -> Iterator[Finding]:
    """Points get their area in one way, and a cell has a size."""
    if point_cell and buffer_m is not None:
        yield Finding("buffer_m", "goes without point_cell", "leave out one of them")
    if point_cell and cell_size_px is None:
        yield Finding("cell_size_px", "point_cell takes the cell that holds a point, and its size is not given")
