"""The features of a label file and where they lie on a scene, whatever format the file has."""

from __future__ import annotations

from rv_core.errors import nearest
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig, VectorLabelsConfig
from rv_pipeline_chip_classification.labels.feature_classes import property_names
from rv_pipeline_chip_classification.scenes.grid import Grid
from rv_pipeline_chip_classification.scenes.windows import Window
from rv_pipeline_chip_classification.vectors.geojson import FeatureCollection, read_geojson
from rv_pipeline_chip_classification.vectors.placing import Spread, table_in_pixels
from rv_pipeline_chip_classification.vectors.polygons import FeaturePolygons, polygons_in_pixels
from rv_pipeline_chip_classification.vectors.reader import read_vector
from rv_pipeline_chip_classification.vectors.table import FeatureTable, VectorFieldError, choice_of

_MAX_SHOWN = 20


def features_of(
    config: GeoJsonLabelsConfig, grid: Grid, extent: Window
) -> tuple[FeatureCollection | FeatureTable, FeaturePolygons]:
    """The features of a label file, and their polygons in pixels of a scene.

    Args:
        config: of the labels.
        grid: of the scene.
        extent: of the scene, over which cells are laid.

    Raises:
        VectorFieldError: if a field of the config does not fit the file.
        DataError: if the file cannot be used.
    """
    if not isinstance(config, VectorLabelsConfig):
        collection = read_geojson(config.uri)
        return collection, polygons_in_pixels(collection, grid)
    names = property_names(config)
    table = read_vector(choice_of(config, names))
    _check_names(table, names, config)
    cell_px = config.cell_size_px if config.point_cell else None
    return table, table_in_pixels(table, grid, Spread(config.buffer_m, cell_px, extent))


def _check_names(table: FeatureTable, names: tuple[str, ...], config: VectorLabelsConfig) -> None:
    """A file without the column that holds the class labels nothing."""
    if not len(table.geometries) or any(name in table.names for name in names):
        return
    near = nearest(names[0], table.names) if config.class_property is not None else None
    shown = ", ".join(name[:100] for name in table.names[:_MAX_SHOWN])
    raise VectorFieldError(
        f"{table.kind} has no column {' or '.join(names)}",
        field="class_property",
        where=config.uri,
        why=f"it has {shown}" if shown else "it has none",
        fix=f"did you mean {near!r}?" if near else "name the column that holds the class in class_property",
    )
