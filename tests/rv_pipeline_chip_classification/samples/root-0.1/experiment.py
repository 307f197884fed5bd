"""An experiment with every class of the config; its scenes lie beside it, in the folder that $SCENES names."""

from __future__ import annotations

from rv_pipeline_chip_classification import (
    AnalyzeConfig,
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    LabelsConfig,
    ModelConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
    TrainConfig,
)

NAMES = ["forest", "shrub", "rock"]


def scene(name: str, labels: LabelsConfig | None, aoi: bool = False, **raster: object) -> SceneConfig:
    return SceneConfig(
        id=name,
        raster=RasterSourceConfig(uris=[f"${{SCENES}}/{name}.tif"], channel_order=[2, 1, 0], **raster),
        labels=labels,
        aoi_uris=[f"${{SCENES}}/{name}-aoi.geojson"] if aoi else [],
    )


def polygons(name: str, **options: object) -> GeoJsonLabelsConfig:
    return GeoJsonLabelsConfig(uri=f"${{SCENES}}/{name}.geojson", **options)


def values(name: str) -> ClassRasterLabelsConfig:
    return ClassRasterLabelsConfig(
        uri=f"${{SCENES}}/{name}-labels.tif", class_values=dict(enumerate(NAMES)), min_fraction=0.5
    )


def get_config(runner: str, root_uri: str) -> ChipClassificationConfig:
    return ChipClassificationConfig(
        root_uri=root_uri,
        name="chips",
        classes=ClassConfig(names=NAMES, colors=["#1c6330", "#ccba7c", "#b2ada3"]),
        dataset=DatasetConfig(
            train_scenes=[
                scene("train-1", polygons("train-1", class_property="class_name", class_mapping={"wood": "forest"})),
                scene("train-2", values("train-2"), nodata=0.0),
            ],
            validation_scenes=[scene("validation-3", polygons("validation-3", background_class="rock"), aoi=True)],
            test_scenes=[scene("test-4", values("test-4"), bbox=[0, 0, 32, 32]), scene("test-5", None)],
        ),
        analyze=AnalyzeConfig(sample_fraction=1.0),
        chip=ChipConfig(chip_size_px=16, stride_px=8, min_valid_fraction=0.5, within_aoi=False),
        model=ModelConfig(backbone="small_cnn"),
        train=TrainConfig(num_epochs=1, batch_size=4, class_weights=[1.0, 1.0, 2.0], augment="flips", num_threads=1),
        predict=PredictConfig(stride_px=8, batch_size=16, subsets=["validation", "test"]),
        eval=EvalConfig(subsets=["validation", "test"]),
        normalize="minmax",
        seed=7,
    )
