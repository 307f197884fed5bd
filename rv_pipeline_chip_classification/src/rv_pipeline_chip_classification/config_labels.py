"""The part of the configuration that says where labels come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from rv_core import Range, Uri
from rv_core.errors import Finding
from rv_pipeline_chip_classification import config_checks as checks
from rv_pipeline_chip_classification.config_parts import Fraction, LabelsConfig


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
            (`{"10": "forest"}`, for 10 and 10.0 alike) is no class id.
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
