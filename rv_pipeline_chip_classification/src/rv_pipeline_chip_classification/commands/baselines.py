"""How good the simplest answers are on the same cells, and what a user must know of a model beside them.

The *constant* answer is the commonest class of the training chips, whatever the image shows. The *linear probe* knows
the mean and the spread of each band of a cell (`training.linear_probe`); `train` fits it and leaves it in
`train/linear-probe.json`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_core.errors import RvError
from rv_pipeline_chip_classification.training.linear_probe import LinearProbe, band_statistics, fit_linear_probe
from rv_pipeline_chip_classification.training.metrics import confusion_matrix, metrics_of

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.chips.store import ChipStore

PROBE, METRICS = "train/linear-probe.json", "train/metrics.json"
#: Of a class with fewer cells than this no score can be told from chance.
MIN_CELLS = 10
#: The probe is fitted to so many chips at most, evenly chosen: its few hundred weights need no more.
MAX_CHIPS = 20_000
_CHIPS_AT_ONCE = 64

_log = logging.getLogger(__name__)


class Baselines(NamedTuple):
    """The simplest answers that a training leaves.

    Args:
        commonest: class id of the constant answer; None where the training left no metrics.
        probe: the linear probe; None where the training left none.
    """

    commonest: int | None = None
    probe: LinearProbe | None = None

    def to_json(
        self, truth: NDArray[np.int64], probed: NDArray[np.int64] | None, class_names: Sequence[str]
    ) -> dict[str, Any]:
        """How good they are: `{"constant": {class_id, class_name, accuracy, kappa, macro}, "linear_probe": {…}}`.

        Args:
            truth: (N,) int64, the class ids of the cells.
            probed: (N,) int64, what the probe says of them; None if it was not asked.
            class_names: by class id.
        """
        found: dict[str, Any] = {"constant": None, "linear_probe": None}
        if self.commonest is not None:
            answer = np.full_like(truth, self.commonest)
            name = class_names[self.commonest]
            found["constant"] = {"class_id": self.commonest, "class_name": name, **_scores(truth, answer, class_names)}
        if probed is not None:
            found["linear_probe"] = _scores(truth, probed, class_names)
        return found


def _scores(truth: NDArray[np.int64], answer: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, Any]:
    metrics = metrics_of(confusion_matrix(truth, answer, len(class_names)), class_names)
    return {name: metrics[name] for name in ("accuracy", "kappa", "macro")}


def read_baselines(storage: Storage, num_classes: int) -> Baselines:
    """What `train` left; what an older version did not leave, or is damaged, is None."""
    commonest = probe = None
    try:
        supports = [entry["support"] for entry in json.loads(storage.read_text(METRICS))["train"]["classes"]]
        commonest = _commonest(np.array(supports, np.int64)) if len(supports) == num_classes else None
    except (RvError, ValueError, KeyError, TypeError, OverflowError) as err:
        _log.info("no constant answer to compare with: %s", err)
    try:
        if storage.exists(PROBE):
            read = LinearProbe.from_json(json.loads(storage.read_text(PROBE)))
            probe = read if len(read.bias) == num_classes else None
    except (RvError, ValueError, KeyError, TypeError, OverflowError) as err:
        _log.info("no linear probe to compare with: %s", err)
    return Baselines(commonest, probe)


def _commonest(counts: NDArray[np.int64]) -> int | None:
    return int(counts.argmax()) if len(counts) and counts.sum() > 0 else None


def fit_baselines(train: ChipStore, num_classes: int, size_px: int) -> Baselines:
    """The simplest answers of the training chips.

    Args:
        train: the chips.
        num_classes: K.
        size_px: side of a cell; what a chip shows around it is left out.
    """
    step = -(-train.num_chips // MAX_CHIPS)
    indices = np.arange(0, train.num_chips, step)
    features = features_of(train, indices, size_px)
    return Baselines(
        _commonest(train.class_counts(num_classes)), fit_linear_probe(features, train.class_ids[indices], num_classes)
    )


def features_of(store: ChipStore, indices: NDArray[np.int64], size_px: int) -> NDArray[np.float64]:
    """The band statistics of chips: (N, 2 C) float64."""
    parts = [np.empty((0, 2 * store.num_channels))]
    for begin in range(0, len(indices), _CHIPS_AT_ONCE):
        chips, valid = store.gather(indices[begin : begin + _CHIPS_AT_ONCE])
        parts.append(band_statistics(middle(chips, size_px), None if valid is None else middle(valid, size_px)))
    return np.concatenate(parts)


def middle(chips: NDArray[Any], size_px: int) -> NDArray[Any]:
    """The middle of chips (N, H, W, …), `size_px` high and wide; all of a chip that is no larger."""
    top, left = (max(0, (side - size_px) // 2) for side in chips.shape[1:3])
    return chips[:, top : top + size_px if top else None, left : left + size_px if left else None]


def compare_training(
    baselines: Baselines,
    validation: ChipStore,
    metrics: Mapping[str, Any] | None,
    class_names: Sequence[str],
    size_px: int,
) -> dict[str, Any]:
    """What `train/metrics.json` says of the simplest answers on the validation chips: `baselines` and `warnings`.

    Args:
        baselines: of the training chips.
        validation: the validation chips.
        metrics: of the model on them; None where there are none.
        class_names: by class id.
        size_px: side of a cell.
    """
    if metrics is None:
        return {"baselines": None, "warnings": []}
    probed = None
    if baselines.probe is not None:
        probed = baselines.probe.classes_of(features_of(validation, np.arange(validation.num_chips), size_px))
    found = baselines.to_json(validation.class_ids, probed, class_names)
    return {"baselines": found, "warnings": warnings_of("validation", metrics, found, things="chips")}


def warnings_of(
    subset: str, metrics: Mapping[str, Any], baselines: Mapping[str, Any], *, things: str = "cells"
) -> list[str]:
    """What must be known before a model is used, a sentence each.

    Args:
        subset: where it was looked.
        metrics: `metrics_of` the model.
        baselines: `Baselines.to_json` on the same cells.
        things: what is counted.
    """
    never = [entry for entry in metrics["classes"] if entry["support"] and not entry["predicted"]]
    few = [entry for entry in metrics["classes"] if 0 < entry["support"] < MIN_CELLS]
    found = [
        f"{subset}: the model never answers {entry['class_name']!r}, the class of {entry['support']} of the {things}"
        for entry in never
    ]
    constant, macro_f1 = baselines.get("constant"), metrics["macro"]["f1"]
    if constant and macro_f1 is not None and macro_f1 <= constant["macro"]["f1"] + 1e-9:
        always = f"always {constant['class_name']!r} ({constant['macro']['f1']:.3f})"
        found.append(f"{subset}: macro F1 {macro_f1:.3f} is no better than answering {always}")
    if few:
        counts = ", ".join(f"{entry['class_name']!r} {entry['support']}" for entry in few)
        found.append(
            f"{subset}: too few {things} of some classes to tell anything by (fewer than {MIN_CELLS}): {counts}"
        )
    return found


def notes_of(metrics: Mapping[str, Any], baselines: Mapping[str, Any]) -> list[str]:
    """What else the comparison says, a sentence each; arguments as of `warnings_of`."""
    notes = []
    probe, constant, macro_f1 = baselines.get("linear_probe"), baselines.get("constant"), metrics["macro"]["f1"]
    if probe and macro_f1 is not None and macro_f1 < probe["macro"]["f1"]:
        notes.append(
            f"A linear model on the mean and spread of each band has the better macro F1, {probe['macro']['f1']:.3f}."
        )
    if constant and metrics["accuracy"] is not None and metrics["accuracy"] < constant["accuracy"]:
        always = f"{constant['class_name']!r} ({constant['accuracy']:.3f})"
        notes.append(f"Accuracy {metrics['accuracy']:.3f} is below that of answering always {always}.")
    return notes
