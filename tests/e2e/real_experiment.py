"""A module of an experiment on real scenes whose folder is laid out as `rv demo --data` takes it."""

from __future__ import annotations

from pathlib import Path

_MODULE = """
import csv
from rv_pipeline_chip_classification import (
    ChipClassificationConfig, ChipConfig, ClassConfig, ClassRasterLabelsConfig, DatasetConfig, RasterSourceConfig,
    SceneConfig, TrainConfig)

CLASSES = {classes!r}

def scenes(data, split):
    with open({table!r}, newline="") as file:
        return [
            SceneConfig(
                id=row["scene_id"],
                raster=RasterSourceConfig(uris=[data + "/" + row["image"]]),
                labels=ClassRasterLabelsConfig(uri=data + "/" + row["labels"], class_values=CLASSES))
            for row in csv.DictReader(file) if row["split"] == split]

def get_config(data: str, root_uri: str):
    return ChipClassificationConfig(
        root_uri=root_uri, name="real", classes=ClassConfig(names=list(CLASSES.values())),
        dataset=DatasetConfig(
            train_scenes=scenes(data, "train"), validation_scenes=scenes(data, "val"),
            test_scenes=scenes(data, "test")),
        chip=ChipConfig(chip_size_px=32, stride_px=16), train=TrainConfig(num_epochs=4, num_threads=1))
"""


def write_real_experiment(module: Path, scenes: Path) -> Path:
    """Write the module; it takes `-a data URI`, where the images and labels are, and `-a root_uri URI`.

    Args:
        module: the file to write.
        scenes: the folder with `scenes.csv` and `classes.json`.
    """
    from rv_pipeline_chip_classification.verbs.demo.experiment import common_classes, read_data_set

    kept, _ = common_classes(read_data_set(scenes))
    classes = {int(entry["id"]): entry["name"] for entry in kept}
    module.write_text(_MODULE.format(classes=classes, table=str(scenes / "scenes.csv")))
    return module
