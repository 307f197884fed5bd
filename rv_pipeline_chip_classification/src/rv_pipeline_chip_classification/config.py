"""The configuration of the chip classification pipeline, whole: what a user writes, and nothing that has to be imported.

Every config class can be imported from here, as saved configs do.

Sizes and offsets are whole pixels of the scene's own grid (after `bbox` they still count from the file's first pixel).
Windows are half-open boxes `[row_off, col_off, height, width]`. Class ids are positions in `ClassConfig.names`, from 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from rv_core import AsBefore, PipelineConfig
from rv_core.errors import Finding
from rv_pipeline_chip_classification import config_checks as checks
from rv_pipeline_chip_classification.config_labels import (
    ClassRasterLabelsConfig,
    GeoJsonLabelsConfig,
    VectorAreaConfig,
    VectorLabelsConfig,
)
from rv_pipeline_chip_classification.config_parts import (
    LabelsConfig,
    NotNegative,
    cell_size_px,
    check_keep,
    check_overlap,
    check_value_scales,
)
from rv_pipeline_chip_classification.config_scenes import (
    ClassConfig,
    DatasetConfig,
    MaskConfig,
    RasterConfig,
    RasterSourceConfig,
    RasterStackConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.config_steps import (
    AnalyzeConfig,
    ChipConfig,
    EvalConfig,
    ModelConfig,
    PredictConfig,
    TrainConfig,
)

__all__ = [
    "AnalyzeConfig",
    "ChipClassificationConfig",
    "ChipConfig",
    "ClassConfig",
    "ClassRasterLabelsConfig",
    "DatasetConfig",
    "EvalConfig",
    "GeoJsonLabelsConfig",
    "LabelsConfig",
    "MaskConfig",
    "ModelConfig",
    "PredictConfig",
    "RasterConfig",
    "RasterSourceConfig",
    "RasterStackConfig",
    "SceneConfig",
    "TrainConfig",
    "VectorAreaConfig",
    "VectorLabelsConfig",
]


@dataclass(kw_only=True)
class ChipClassificationConfig(PipelineConfig):
    """A chip classification pipeline: from scenes and labels to a model, predicted maps and metrics.

    Args:
        classes: what is told apart.
        dataset: the scenes.
        analyze: how statistics are taken.
        chip: which windows become chips.
        model: the network.
        train: how it learns.
        predict: how scenes are classified.
        eval: what is evaluated.
        normalize: how pixel values reach the model: `stats` subtracts the training mean and divides by the standard
            deviation per channel, `minmax` maps the training minimum and maximum to 0 and 1, `none` scales by the
            dtype's range (floats stay), `weights` takes mean and standard deviation of the card in `model.weights`.
        scale_to: `[low, high]` per channel (one for all), which become 0 and 1 instead of what `normalize` says; values
            outside stay outside. No statistics are taken then.
        bundle_formats: what `bundle` writes beside the bundle: `onnx`, the model from pixels to probabilities for other
            programs (needs the extra `onnx`), and `stac_mlm`, a STAC item with the Machine Learning Model extension.
        seed: of everything random: windows, shuffling, augmentation, initial weights.
    """

    pipeline: ClassVar[str] = "rv_pipeline_chip_classification.pipeline:ChipClassificationPipeline"

    classes: ClassConfig
    dataset: DatasetConfig
    analyze: AnalyzeConfig = field(default_factory=AnalyzeConfig)
    chip: ChipConfig = field(default_factory=ChipConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    normalize: Literal["stats", "minmax", "none", "weights"] = "stats"
    scale_to: Annotated[list[list[float]] | None, AsBefore(None)] = None
    bundle_formats: Annotated[list[Literal["onnx", "stac_mlm"]], AsBefore([])] = field(default_factory=list)
    seed: NotNegative = 0

    def validate(self) -> Iterable[Finding]:
        rasters = [scene.raster for _, _, scene in self.dataset.located_scenes()]
        scenes = [
            checks.SceneFacts(f"dataset.{path}", subset, scene.id, scene.labels, scene.raster.channel_order)
            for path, subset, scene in self.dataset.located_scenes()
        ]
        yield from checks.check_scenes(scenes, self.classes.names)
        yield from check_keep(self.chip.keep, self.classes.names)
        yield from check_value_scales(self.scale_to, self.normalize, [raster.apply_scale for raster in rasters])
        yield from checks.check_evaluation(self.eval.subsets, self.predict.subsets)
        yield from checks.check_cell_sizes(scenes, self.chip.chip_size_px, self.predict.stride_px)
        for cell_px in sorted({cell_size_px(scene.labels, self.chip.chip_size_px) for scene in scenes})[:1]:
            yield from check_overlap("predict.overlap", self.predict.overlap, cell_px, self.predict.stride_px)
        yield from checks.check_normalize(self.normalize, self.model.weights)
        yield from checks.check_class_weights(self.train.class_weights, len(self.classes.names))
