"""An experiment on the scenes of `tests/scenes.py`, as a user writes one: every `<subset>-<n>.tif` of a folder."""

from __future__ import annotations

from pathlib import Path

from rv_pipeline_chip_classification import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    GeoJsonLabelsConfig,
    ModelConfig,
    RasterSourceConfig,
    SceneConfig,
    TrainConfig,
)


def get_config(
    runner: str, root_uri: str, data: str = "data", num_epochs: int = 1, aoi: bool = False
) -> ChipClassificationConfig:
    def scenes(subset: str) -> list[SceneConfig]:
        return [scene(path.stem) for path in sorted(Path(data).glob(f"{subset}-*.tif"))]

    def scene(name: str) -> SceneConfig:
        return SceneConfig(
            id=name,
            raster=RasterSourceConfig(uris=[f"{data}/{name}.tif"]),
            labels=GeoJsonLabelsConfig(uri=f"{data}/{name}.geojson"),
            aoi_uris=[f"{data}/{name}-aoi.geojson"] if aoi else [],
        )

    return ChipClassificationConfig(
        root_uri=root_uri,
        name="tiny",
        classes=ClassConfig(names=["forest", "shrub", "rock"]),
        dataset=DatasetConfig(
            train_scenes=scenes("train"), validation_scenes=scenes("validation"), test_scenes=scenes("test")
        ),
        chip=ChipConfig(chip_size_px=16),
        model=ModelConfig(backbone="small_cnn"),
        train=TrainConfig(num_epochs=num_epochs, num_threads=1),
    )
