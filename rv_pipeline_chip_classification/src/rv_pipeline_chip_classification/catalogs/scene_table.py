"""A dataset from a table with a row per scene."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rv_core.errors import ConfigError, Finding, nearest
from rv_core.files import uris
from rv_pipeline_chip_classification.catalogs.rows import beside, read_rows
from rv_pipeline_chip_classification.config import (
    DatasetConfig,
    GeoJsonLabelsConfig,
    LabelsConfig,
    RasterSourceConfig,
    SceneConfig,
    VectorLabelsConfig,
)

_log = logging.getLogger(__name__)
_COLUMNS = ("id", "image", "labels", "aoi", "subset", "nodata", "bbox")
#: What other tables call them; those of `rv split` among them.
_ALSO = {"scene_id": "id", "split": "subset"}
_SUBSETS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_IMAGES = (".tif", ".tiff", ".vrt", ".png", ".jp2", ".img")
_MAX_FINDINGS = 20


def scenes_from_table(
    uri: str, *, labels: LabelsConfig | None = None, raster: RasterSourceConfig | None = None
) -> DatasetConfig:
    """The scenes of a table: CSV, Parquet or GeoPackage, a row per scene.

    Columns, of which `image` alone must be there; files are named from the folder of the table on:

    - `image`: several files, with `;` between them, are a mosaic.
    - `id` (or `scene_id`): else the name of the image without its ending.
    - `labels`: the label file; empty for a scene that is only predicted.
    - `aoi`: vector files of areas of interest, with `;` between them.
    - `subset` (or `split`, as `rv split` writes it): train, validation (or val), test; a scene where it is empty is
      left out. Without the column all are training scenes.
    - `nodata`: a number. `bbox`: four whole numbers, row_off col_off height width.

    Other columns are told in the log; one that is spelt nearly like these is an error.

    Args:
        uri: the table.
        labels: what else is said of labels: a config whose `uri` each row replaces. Without it GeoJSON and other
            vector files are read with the defaults; a class raster needs it, for its values.
        raster: what else is said of images: a config whose `uris` each row replaces.

    Raises:
        ConfigError: with everything that is wrong in the table.
    """
    table = uri if not uris.is_relative(uri) else uris.absolute(uri, os.getcwd())
    names, rows = read_rows(table)
    columns = _columns_of(names, table)
    found: dict[str, list[SceneConfig]] = {"train": [], "validation": [], "test": []}
    findings: list[Finding] = []
    for number, row in enumerate(rows, 2):
        its = {column: row[name] for column, name in columns.items()}
        try:
            subset = _subset_of(its) if "subset" in columns else "train"
            if subset is not None:
                found[subset].append(_scene_of(its, table, labels, raster or RasterSourceConfig(uris=[])))
        except ValueError as err:
            findings.append(Finding(f"row {number}", str(err)))
    if findings:
        raise ConfigError("a table of scenes cannot be used", where=table, findings=findings[:_MAX_FINDINGS])
    return DatasetConfig(**{f"{subset}_scenes": scenes for subset, scenes in found.items()})


def _columns_of(names: list[str], table: str) -> dict[str, str]:
    """Column as it is documented -> as the table has it."""
    columns: dict[str, str] = {}
    unknown = []
    for name in names:
        known = _ALSO.get(name, name)
        if known in _COLUMNS:
            columns.setdefault(known, name)
        else:
            unknown.append(name)
    findings = [Finding(name, f"did you mean {near!r}?") for name in unknown if (near := nearest(name, _COLUMNS))]
    if "image" not in columns:
        findings.append(
            Finding("image", f"there is no such column; there are {', '.join(names[:_MAX_FINDINGS]) or 'none'}")
        )
    if findings:
        raise ConfigError("columns of a table of scenes are not known", where=table, findings=findings[:_MAX_FINDINGS])
    if unknown:
        _log.warning("%s: columns that say nothing to rv are left out: %s", table, ", ".join(unknown[:_MAX_FINDINGS]))
    return columns


def _subset_of(row: Mapping[str, str]) -> str | None:
    """The subset, None for a scene that is left out."""
    text = row["subset"].lower()
    if text and text not in _SUBSETS:
        raise ValueError(f"{row['subset']!r} is no subset: write train, validation or test")
    return _SUBSETS.get(text)


def _scene_of(
    row: Mapping[str, str], table: str, labels: LabelsConfig | None, raster: RasterSourceConfig
) -> SceneConfig:
    images = _files(row["image"], table)
    if not images:
        raise ValueError("it names no image")
    changes: dict[str, Any] = {"uris": images}
    if row.get("nodata"):
        changes["nodata"] = _number(row["nodata"], "nodata", float)
    if row.get("bbox"):
        changes["bbox"] = [_number(word, "bbox", int) for word in row["bbox"].replace(",", " ").split()]
    scene_id = row.get("id") or os.path.splitext(uris.name_of(images[0]))[0]
    files = _files(row.get("labels", ""), table)
    if len(files) > 1:
        raise ValueError("it names several label files")
    return SceneConfig(
        id=scene_id,
        raster=replace(raster, **changes),
        labels=_labels_of(files[0], labels) if files else None,
        aoi_uris=_files(row.get("aoi", ""), table),
    )


def _number(text: str, column: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError as err:
        raise ValueError(f"its {column} {text[:50]!r} is no number") from err


def _files(text: str, table: str) -> list[str]:
    return [beside(table, name.strip()) for name in text.split(";") if name.strip()]


def _labels_of(uri: str, labels: LabelsConfig | None) -> LabelsConfig:
    if labels is not None:
        return replace(labels, uri=uri)  # type: ignore[call-arg]
    name = uris.name_of(uri).lower()
    if name.endswith(_IMAGES):
        raise ValueError(f"its labels {uri} are a raster: say what its values mean, labels=ClassRasterLabelsConfig(…)")
    return GeoJsonLabelsConfig(uri=uri) if name.endswith((".geojson", ".json")) else VectorLabelsConfig(uri=uri)
