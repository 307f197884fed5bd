"""The chip classification pipeline: its commands, what they work through and what they read.

analyze and chip are independent; train needs both; predict and bundle need train, eval needs predict. A scene that is too
large for one item is chipped and predicted in parts; merge, which is there for such scenes alone, makes its files. The commands
themselves are plain functions in `commands/`, imported when they run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from rv_core import Finding, Items, Pipeline, Storage, Summary, command
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.config_checks import own_backbone
from rv_pipeline_chip_classification.config_parts import SUBSETS
from rv_pipeline_chip_classification.model.openmp import wait_passively
from rv_pipeline_chip_classification.parts.scene_parts import (
    SceneItem,
    ask_for_extents,
    items_of,
    num_chip_parts,
    num_predict_parts,
    of_whole,
    scene_of,
)
from rv_pipeline_chip_classification.raster_files.rasterio_import import import_rasterio

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.raster_inputs import RasterInputs

#: What decides the training is what the card says, whatever its name is and wherever it lies: `facts` tells it.
_BY_FACTS = ("model.weights",)
#: What `eval` has to know of a prediction to put finer cells together.
_HOW_IT_ANSWERS = tuple(
    f"predict.{name}" for name in ("abstain_below", "scores", "augment", "overlap", "smooth", "precision")
)


def scenes_to_analyze(config: ChipClassificationConfig) -> list[SceneConfig]:
    """The training scenes, if their statistics are used at all."""
    return [] if config.normalize == "none" or config.scale_to is not None else config.dataset.train_scenes


def scenes_to_chip(subset: str) -> Any:
    """A function that gives the scenes of a subset, those that are too large for one item in parts."""

    def scenes(config: ChipClassificationConfig) -> list[SceneItem]:
        found = config.dataset.scenes_of(subset)
        ask_for_extents(found)
        return [item for scene in found for item in items_of(scene, num_chip_parts(config, scene))]

    return scenes


def scenes_to_predict(subset: str) -> Any:
    """As `scenes_to_chip`, if the config asks for the prediction of the subset."""

    def scenes(config: ChipClassificationConfig) -> list[SceneItem]:
        found = config.dataset.scenes_of(subset) if subset in config.predict.subsets else []
        ask_for_extents(found)
        return [item for scene in found for item in items_of(scene, num_predict_parts(config, scene))]

    return scenes


def scenes_to_merge(subset: str) -> Any:
    """A function that gives the scenes of a subset that are predicted in parts."""

    def scenes(config: ChipClassificationConfig) -> list[SceneConfig]:
        found = config.dataset.scenes_of(subset) if subset in config.predict.subsets else []
        ask_for_extents(found)
        return [scene for scene in found if num_predict_parts(config, scene) > 1]

    return scenes


class ChipClassificationPipeline(Pipeline):
    """Runs the commands on the scenes of a `ChipClassificationConfig`."""

    requires_modules = ("rasterio", "numpy", "shapely")
    _raster_inputs: RasterInputs | None = None
    _facts: dict[str, str] | None = None

    deep_check = "rv_pipeline_chip_classification.checks.deep:deep_check"
    deep_check_ignores: tuple[str, ...] | None = ("train", "bundle_formats")

    def __init__(self, config: ChipClassificationConfig) -> None:
        super().__init__(config)
        if config.model.weights is not None or own_backbone(config.model.backbone) is not None:
            # What is checked then is in files of the user's cache, and in code that may import what it likes.
            self.deep_check_ignores = None

    def inputs(self, command: str, item: Any) -> list[str]:
        """The files of the config, and all that GDAL reads for the rasters among them."""
        from rv_pipeline_chip_classification.raster_inputs import RasterInputs, rasters_of, vectors_of

        config = cast(ChipClassificationConfig, self._config)
        self._raster_inputs = self._raster_inputs or RasterInputs(rasters_of(config), vectors_of(config))
        return self._raster_inputs.added_to(super().inputs(command, item))

    def facts(self, command: str) -> dict[str, str]:
        """What the card of the weights says, and the text of a backbone of the user's own: the training depends on them."""
        if command != "train":
            return {}
        from rv_pipeline_chip_classification.checks.training_facts import training_facts

        self._facts = (
            training_facts(cast(ChipClassificationConfig, self._config)) if self._facts is None else self._facts
        )
        return self._facts

    @command(items=scenes_to_analyze, reads=("analyze",))
    def analyze(self, scenes: Items[SceneConfig]) -> None:
        """Statistics of the training scenes, per channel."""
        import_rasterio()
        from rv_pipeline_chip_classification.commands.analyze import analyze_scene

        for scene in scenes:
            with self._boundary_of(scene):
                analyze_scene(scene, self.config.analyze, self.storage, self.progress)

    @command(
        items={subset: scenes_to_chip(subset) for subset in ("train", "validation")},
        reads=("classes.names", "chip", "seed"),
        ignores=("chip.max_windows_per_item",),
    )
    def chip(self, scenes: Items[SceneItem]) -> None:
        """Pixels and labelled windows of the training and validation scenes."""
        import_rasterio()
        from rv_pipeline_chip_classification.commands.chip import chip_scene

        config = self.config
        for scene in scenes:
            with self._boundary_of(scene):
                counts = chip_scene(
                    scene, scenes.group, config.classes, config.chip, config.seed, self.storage, self.progress
                )
            self.record(**counts.to_json())

    @command(
        requires=("analyze", "chip"),
        reads=(
            "classes.names",
            "dataset.train_scenes",
            "dataset.validation_scenes",
            "chip.chip_size_px",
            "chip.context_px",
            "model",
            "train",
            "normalize",
            "scale_to",
            "seed",
        ),
        ignores=("train.checkpoint_every_s", "train.num_workers", *_BY_FACTS),
        gpus=1,
        attempts=3,
    )
    def train(self) -> None:
        """A model from the chips, checkpointed and resumed."""
        wait_passively()
        from rv_pipeline_chip_classification.commands.train import run_train

        with self.stop_gracefully():
            run_train(self.config, self.storage, self)

    @command(
        items={subset: scenes_to_predict(subset) for subset in SUBSETS},
        requires=("train",),
        reads=("classes", "chip.chip_size_px", "model", "normalize", "scale_to", "predict"),
        ignores=("predict.on_drift", "predict.max_windows_per_item", *_BY_FACTS),
        gpus=1,
    )
    def predict(self, scenes: Items[SceneItem]) -> None:
        """A class and scores for every cell of the scenes to predict."""
        import_rasterio()
        wait_passively()
        from rv_pipeline_chip_classification.commands.predict import open_predictor

        predictor = None
        for scene in scenes:
            predictor = predictor or open_predictor(self.config, self.storage)
            with self._boundary_of(scene):
                predictor.predict_scene(scene, self.storage, self)

    @command(
        items={subset: scenes_to_merge(subset) for subset in SUBSETS},
        completes="predict",
        reads=("classes", "chip.chip_size_px", "predict"),
        ignores=("predict.on_drift", "predict.batch_size"),
    )
    def merge(self, scenes: Items[SceneConfig]) -> None:
        """The files of scenes that were predicted in parts."""
        import_rasterio()
        from rv_pipeline_chip_classification.commands.merge import merge_scene

        for scene in scenes:
            with self._boundary_of(scene):
                merge_scene(scene, self.config, self.storage, self)

    @command(
        requires=("predict",),
        reads=(
            "classes.names",
            "classes.colors",
            "chip.chip_size_px",
            "chip.within_aoi",
            "dataset.train_scenes",
            "dataset.validation_scenes",
            "dataset.test_scenes",
            "eval",
            *_HOW_IT_ANSWERS,
        ),
        # With others of these there are other predictions, and so another key; colours are those of pictures.
        ignores=("classes.colors", *_HOW_IT_ANSWERS),
    )
    def eval(self) -> None:
        """Metrics of the predictions, per class, scene and subset."""
        import_rasterio()
        from rv_pipeline_chip_classification.commands.evaluate import run_evaluate

        run_evaluate(self.config, self.storage, self)

    @command(
        requires=("train",),
        reads=(
            "classes",
            "chip.chip_size_px",
            "dataset.train_scenes",
            "model",
            "normalize",
            "scale_to",
            "predict.stride_px",
            "bundle_formats",
        ),
        ignores=_BY_FACTS,
    )
    def bundle(self) -> None:
        """The trained model with all that is needed to use it elsewhere."""
        from rv_pipeline_chip_classification.commands.bundle import run_bundle

        run_bundle(self.config, self.storage)

    def summary(self, storage: Storage, done: Collection[str]) -> Summary | None:
        """What `eval.json` says, beside the simplest answers on the same cells."""
        from rv_pipeline_chip_classification.commands.results import summarize

        return summarize(self.config, storage, done)

    def _boundary_of(self, item: SceneItem) -> AbstractContextManager[None]:
        from rv_pipeline_chip_classification.file_boundary import file_boundary

        scene, _ = scene_of(item)

        def place() -> str:
            config = cast(ChipClassificationConfig, self._config)
            paths = [path for path, _, other in config.dataset.located_scenes() if other.id == scene.id]
            return f"dataset.{paths[0] if paths else '?'} ({', '.join(scene.raster.uris[:3])})"

        return file_boundary(f"scene {scene.id!r} cannot be used", where=place)

    def smoke(self, config: ChipClassificationConfig) -> ChipClassificationConfig:
        """The first scene of each subset, and one epoch."""
        dataset = {f"{subset}_scenes": config.dataset.scenes_of(subset)[:1] for subset in SUBSETS}
        return replace(
            config,
            dataset=replace(config.dataset, **dataset),
            model=replace(config.model, freeze_backbone_epochs=0),
            train=replace(config.train, num_epochs=1),
        )

    def preflight(self, todo: Mapping[str, Sequence[str]]) -> Iterable[Finding]:
        """Checks that need neither numpy nor rasterio: that local files are there."""
        from rv_pipeline_chip_classification.checks.cheap import cheap_check

        return cheap_check(self.config, of_whole(todo))
