"""What a prediction is made of – scores of cells, names of files – for those who read or write it without a model."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config_parts import Precision
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray

#: The class id of a cell without any valid pixel, for which the model gives no numbers, or of which it is too unsure.
NO_CLASS = -1
#: Where predictions lie under a root.
FOLDER = "predict"
#: What the name of the file of cells for `eval` and others ends with.
CELLS_ENDING = "cells.npy"
#: And that of the file of what the linear probe says of them.
PROBE_ENDING = "probe.npy"
_PART_ENDING = "scores.npy"
#: Decimals of a score wherever it is written.
SCORE_DECIMALS = 6


class Answers(NamedTuple):
    """How a model answers.

    Args:
        abstain_below: a cell whose best class has a lower probability gets none; None always gives one.
        gives_logits: whether scores are logits over the temperature, not probabilities.
        averages_symmetries: whether scores are the mean of those of the eight symmetries of a chip.
        averages_overlaps: whether cells that overlap are averaged onto cells as wide as the step between them.
        smooth: side of the neighbourhood, in cells and odd, over which scores of a grid are averaged; 1 is the cell.
        precision: of the forward pass.
    """

    abstain_below: float | None = None
    gives_logits: bool = False
    averages_symmetries: bool = False
    averages_overlaps: bool = False
    smooth: int = 1
    precision: Precision = "float32"

    @property
    def are_refined(self) -> bool:
        """Whether what is written of a cell depends on the scores of others."""
        return self.averages_overlaps or self.smooth > 1

    def classes_of(self, scores: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The class ids of scores (B, K), `NO_CLASS` where they say too little: (B,) int64."""
        class_ids = scores.argmax(axis=1)
        if self.abstain_below is not None:
            probabilities = probabilities_of(scores) if self.gives_logits else np.round(scores, SCORE_DECIMALS)
            class_ids[probabilities.max(axis=1) < self.abstain_below] = NO_CLASS
        return class_ids


class AnswerChoices(Protocol):
    """The fields of a config that say how a model answers: of `PredictConfig` and `ApplyConfig`."""

    abstain_below: float | None
    scores: Any
    augment: Any
    overlap: Any
    smooth: int
    precision: Any


def answers_of(choices: AnswerChoices) -> Answers:
    """What a config chooses."""
    return Answers(
        choices.abstain_below,
        gives_logits=choices.scores == "logits",
        averages_symmetries=choices.augment == "d4",
        averages_overlaps=choices.overlap == "average",
        smooth=choices.smooth,
        precision=choices.precision,
    )


def probabilities_of(logits: NDArray[Any]) -> NDArray[np.float64]:
    """The softmax of logits (B, K), in float64 and rounded as scores are written."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    rounded: NDArray[np.float64] = np.round(powers / powers.sum(axis=1, keepdims=True), SCORE_DECIMALS)
    return rounded


class ScoredCells(NamedTuple):
    """What a model says of some cells that follow each other.

    Args:
        first: number of the first cell.
        windows: (B, 4) int64.
        class_ids: (B,) int64; `NO_CLASS` for a cell without a valid pixel, without numbers, or with scores that say too
            little.
        scores: (B, K) float32, probabilities or logits, rounded to `SCORE_DECIMALS`; NaN in the first two cases.
        valid_fractions: (B,) float64, share of valid pixels; what is outside of the extent is not valid.
    """

    first: int
    windows: WindowArray
    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    valid_fractions: NDArray[np.float64]

    @property
    def without_numbers(self) -> NDArray[np.bool_]:
        """Which cells have valid pixels, and still no numbers from the model: (B,) bool."""
        lost: NDArray[np.bool_] = ~self.has_scores & (self.valid_fractions > 0)
        return lost

    @property
    def has_scores(self) -> NDArray[np.bool_]:
        """Which cells the model gives numbers for: (B,) bool."""
        return np.asarray(np.isfinite(self.scores).all(axis=1))

    @property
    def abstained(self) -> NDArray[np.bool_]:
        """Which cells have scores, and no class because these say too little: (B,) bool."""
        return np.asarray((self.class_ids == NO_CLASS) & self.has_scores)

    def first_without_numbers(self) -> Window | None:
        """The window of the first cell without numbers."""
        lost = self.without_numbers
        return Window(*self.windows[int(lost.argmax())].tolist()) if lost.any() else None


def no_numbers(window: Window, scene_id: str) -> DataError:
    """The error of a scene for which the model gives no numbers at all.

    Args:
        window: the first that has pixels.
        scene_id: the scene.
    """
    return DataError(
        f"the model gives no numbers for the window {list(window)} of {scene_id!r}, nor for any other",
        why="pixel values are far outside of those that it was trained on, or its weights are damaged",
        fix="compare the values of the image with those of the training images",
    )


class PredictionNames(NamedTuple):
    """Names of the files of one prediction under a storage's root.

    Args:
        stem: the common part, for instance "predict/scene_1".
    """

    stem: str

    @property
    def geojson(self) -> str:
        """The cells."""
        return f"{self.stem}.geojson"

    @property
    def cells(self) -> str:
        """The cells for `eval` and others, where there is no GeoJSON."""
        return f"{self.stem}.{CELLS_ENDING}"

    @property
    def probe(self) -> str:
        """What the linear probe says of the cells, for `eval`."""
        return f"{self.stem}.{PROBE_ENDING}"

    def vector(self, ending: str) -> str:
        """The cells in another format, by what names of its files end with."""
        return f"{self.stem}.{ending}"

    @property
    def classes(self) -> str:
        """The raster of class ids."""
        return f"{self.stem}.tif"

    @property
    def categories(self) -> str:
        """The names of the classes of the raster of class ids, where GDAL looks for them."""
        return f"{self.classes}.aux.xml"

    @property
    def scores(self) -> str:
        """The raster of scores."""
        return f"{self.stem}.scores.tif"

    @property
    def style(self) -> str:
        """How QGIS shows the cells and the raster of class ids."""
        return f"{self.stem}.qml"


def part_name(folder: str, item_id: str) -> str:
    """The file of the scores of a part, until they are put together.

    Args:
        folder: of the predictions, under a storage's root.
        item_id: of the part.
    """
    return f"{folder}/{item_id}.{_PART_ENDING}"


def part_probe_name(scores_name: str) -> str:
    """The file of what the linear probe says of a part, beside that of its scores, of which this is the name."""
    return f"{scores_name.removesuffix(_PART_ENDING)}{PROBE_ENDING}"


def prediction_names(scene_id: str) -> PredictionNames:
    """The files that the command `predict` writes for a scene."""
    return PredictionNames(f"{FOLDER}/{scene_id}")
