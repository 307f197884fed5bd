"""Writes the demo's `experiment.py`: a module that a user reads, changes and keeps."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from rv_core.errors import DataError, RvError, UsageError
from rv_core.files import by_uri

#: A class that holds less than this share of the labelled pixels has too few chips to be learnt or tested.
MIN_CLASS_SHARE = 0.02

_TEMPLATE = Template('''\
"""$title

Run it:    rv run local experiment.py --splits 2
Check it:  rv check experiment.py
"""

import csv
from pathlib import Path

from rv_pipeline_chip_classification import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    $labels_class,
    DatasetConfig,
    RasterSourceConfig,
    SceneConfig,
    TrainConfig,
)

DATA = Path($data)  # scenes.csv names the scenes: scene_id, image, labels, split

COLORS = $colors
$extra

def get_config(runner: str, root_uri: str = $root, num_epochs: int = $num_epochs) -> ChipClassificationConfig:
    return ChipClassificationConfig(
        root_uri=root_uri,
        name=$name,
        classes=ClassConfig(names=list(COLORS), colors=list(COLORS.values())),
        dataset=DatasetConfig(
            train_scenes=scenes("train"), validation_scenes=scenes("val"), test_scenes=scenes("test")
        ),
        chip=ChipConfig(chip_size_px=32, stride_px=16),
        train=TrainConfig(num_epochs=num_epochs),
    )


def scenes(split: str) -> list[SceneConfig]:
    """The scenes of one split, as scenes.csv lists them."""
    with open(DATA / "scenes.csv", newline="", encoding="utf-8") as file:
        return [scene(row) for row in csv.DictReader(file) if row["split"] == split]


def scene(row: dict[str, str]) -> SceneConfig:
    """One scene: its image and its labels."""
    return SceneConfig(
        id=row["scene_id"],
        raster=RasterSourceConfig(uris=[str(DATA / row["image"])]),
        labels=$labels,
    )
''')

_CLASS_RASTER = """ClassRasterLabelsConfig(uri=str(DATA / row["labels"]), class_values=CLASS_VALUES)"""
_GEOJSON = """GeoJsonLabelsConfig(
            uri=str(DATA / row["labels"]),
            background_class="background",  # cells without a polygon
            use_intersection_over_cell=True,
            ioa_threshold=0.05,  # a cell counts as soon as a polygon covers 5 % of it
        )"""


@dataclass(frozen=True)
class DataSet:
    """A folder with `scenes.csv` and `classes.json`.

    Args:
        folder: where it is.
        rows: the lines of scenes.csv.
        classes: `{"id", "name", "color"}` of classes.json.
        is_synthetic: whether rv generated it.
    """

    folder: Path
    rows: tuple[dict[str, str], ...]
    classes: tuple[dict[str, Any], ...]
    is_synthetic: bool

    @property
    def has_polygons(self) -> bool:
        """Whether the labels are GeoJSON files (else class rasters)."""
        return self.rows[0]["labels"].lower().endswith((".geojson", ".json"))


def read_data_set(folder: Path, *, is_synthetic: bool = False) -> DataSet:
    """Look at a data set.

    Raises:
        UsageError: if the folder is not laid out like one.
    """
    try:
        rows = tuple(csv.DictReader(io.StringIO(by_uri.read_text(str(folder / "scenes.csv")), newline="")))
        classes = tuple(json.loads(by_uri.read_text(str(folder / "classes.json")))["classes"])
    except (RvError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder} is not a data set for the demo",
            why=f"{type(error).__name__}: {error}",
            fix="it needs scenes.csv (scene_id,image,labels,split) and classes.json ({'classes': [{id, name, color}]})",
        ) from error
    columns = {"scene_id", "image", "labels", "split"}
    if not rows or not columns <= set(rows[0]) or not {"train", "test"} <= {row["split"] for row in rows}:
        raise UsageError(
            "scenes.csv has no scenes for training and testing",
            where=str(folder / "scenes.csv"),
            fix=f"its columns are {', '.join(sorted(columns))}; split is train, val or test",
        )
    return DataSet(folder, rows, classes, is_synthetic)


def common_classes(data: DataSet) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The classes that are frequent enough in the training labels, and those that are left out.

    Raises:
        DataError: if a label raster cannot be read.
    """
    import numpy as np
    import rasterio
    from rasterio.errors import RasterioError

    counts = np.zeros(65_536, np.int64)
    for row in data.rows:
        if row["split"] == "train":
            path = data.folder / row["labels"]
            try:
                with rasterio.open(path) as raster:
                    counts += np.bincount(raster.read(1).ravel(), minlength=counts.size)
            except (RasterioError, ValueError) as error:
                raise DataError(f"the labels of {row['scene_id']} cannot be read: {error}", where=str(path)) from error
    known = [int(entry["id"]) for entry in data.classes]
    total = max(1, int(counts[known].sum()))
    kept = [entry for entry in data.classes if counts[int(entry["id"])] / total >= MIN_CLASS_SHARE]
    return kept, [entry for entry in data.classes if entry not in kept]


def render(data: DataSet, root: Path, *, num_epochs: int) -> str:
    """The text of `experiment.py`."""
    if data.has_polygons:
        kept = list(data.classes)
        colors = {"background": "#d9d9d9", **{entry["name"]: entry["color"] for entry in kept}}
        extra = ""
    else:
        kept, left_out = common_classes(data)
        colors = {entry["name"]: entry["color"] for entry in kept}
        names = ", ".join(entry["name"] for entry in left_out)
        note = f"# Too rare to learn, so left unlabelled: {names}\n" if left_out else ""
        values = ", ".join(f"{entry['id']}: {entry['name']!r}" for entry in kept).replace("'", '"')
        extra = f"{note}CLASS_VALUES = {{{values}}}\n"
    source = "synthetic scenes that `rv demo` generated" if data.is_synthetic else data.folder.name
    name = "synthetic-demo" if data.is_synthetic else "demo"
    lines = "".join(f'    "{key}": "{value}",\n' for key, value in colors.items())
    return _TEMPLATE.substitute(
        title=f"Chip classification of {source}: which class is each 32 x 32 pixel cell?",
        data=json.dumps(str(data.folder)),
        root=json.dumps(str(root)),
        name=json.dumps(name),
        num_epochs=num_epochs,
        colors="{\n" + lines + "}",
        extra=extra,
        labels_class="GeoJsonLabelsConfig" if data.has_polygons else "ClassRasterLabelsConfig",
        labels=_GEOJSON if data.has_polygons else _CLASS_RASTER,
    )
