"""A small experiment on generated scenes: three classes that a small network learns in a few epochs."""

from __future__ import annotations

import os
from pathlib import Path

from rv_pipeline_chip_classification import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    DatasetConfig,
    ModelConfig,
    RasterSourceConfig,
    SceneConfig,
    TrainConfig,
)

NAMES = ["dark", "bright", "rough"]


def scene(data: str, name: str) -> SceneConfig:
    return SceneConfig(
        id=name,
        raster=RasterSourceConfig(uris=[f"{data}/{name}.tif"]),
        labels=ClassRasterLabelsConfig(uri=f"{data}/{name}_labels.tif", class_values=dict(enumerate(NAMES))),
    )


def get_config(
    runner: str,
    data: str,
    root_uri: str,
    num_epochs: int = 15,
    checkpoint_every_s: float = 300.0,
    context_px: int = 0,
) -> ChipClassificationConfig:
    return ChipClassificationConfig(
        root_uri=root_uri,
        name="small",
        classes=ClassConfig(names=NAMES),
        dataset=DatasetConfig(
            train_scenes=[scene(data, "train_1"), scene(data, "train_2")],
            validation_scenes=[scene(data, "val_1")],
            test_scenes=[scene(data, "test_1")],
        ),
        chip=ChipConfig(chip_size_px=16, stride_px=8, context_px=context_px),
        model=ModelConfig(backbone="small_cnn"),
        train=TrainConfig(num_epochs=num_epochs, num_threads=1, checkpoint_every_s=checkpoint_every_s),
    )


def write_scenes(folder: Path, size_px: int = 96) -> None:
    """Four scenes with their class rasters; the same on every call."""
    import numpy as np
    import rasterio
    from rasterio.transform import from_origin

    for index, name in enumerate(("train_1", "train_2", "val_1", "test_1")):
        rng = np.random.default_rng(index)
        labels = np.kron(rng.integers(0, len(NAMES), (size_px // 16, size_px // 16)), np.ones((16, 16))).astype(
            np.uint8
        )
        image = np.choose(labels, [100.0, 400.0, 250.0]) + rng.normal(
            0, np.choose(labels, [15, 15, 140]), (3, *labels.shape)
        )
        profile = {
            "driver": "GTiff",
            "crs": "EPSG:32633",
            "transform": from_origin(500_000 + 5_000 * index, 5_000_000, 10, 10),
            "width": size_px,
            "height": size_px,
        }
        os.makedirs(folder, exist_ok=True)
        with rasterio.open(folder / f"{name}.tif", "w", count=3, dtype="uint16", **profile) as raster:
            raster.write(image.clip(1, 2000).astype(np.uint16))
            raster.descriptions = ("red", "green", "blue")
        with rasterio.open(folder / f"{name}_labels.tif", "w", count=1, dtype="uint8", **profile) as raster:
            raster.write(labels, 1)
