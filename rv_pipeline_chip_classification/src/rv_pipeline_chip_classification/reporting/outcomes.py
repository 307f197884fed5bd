"""What was predicted for labelled cells, for comparing one run with another."""

from __future__ import annotations

from typing import cast

import numpy as np

from rv_core import ReportOutcomes, ReportSource
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.reporting.evaluated import Evaluated, read_evaluated


def outcomes(source: ReportSource) -> list[ReportOutcomes]:
    """The labelled and predicted cells of each evaluated subset; none where `eval` is not done.

    Raises:
        StorageError: if a file is missing.
        DataError: if one is damaged.
        ValueError: likewise.
    """
    if "eval" not in source.done:
        return []
    config = cast(ChipClassificationConfig, source.config)
    return [_of_subset(found, config.classes.names) for found in read_evaluated(config, source.storage)]


def _of_subset(found: Evaluated, class_names: list[str]) -> ReportOutcomes:
    cells, places, groups = [], [np.empty((0, 2))], list[int]()
    truth, predicted = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, scene in enumerate(found.scenes):
        is_kept = scene.is_predicted
        cells += [f"{scene.scene_id} {window}" for window in scene.windows[is_kept].tolist()]
        middles = scene.middles[is_kept]
        places.append(middles if scene.is_placed else np.full_like(middles, np.nan))
        groups += [number] * int(is_kept.sum())
        truth.append(scene.truth[is_kept])
        predicted.append(scene.predicted[is_kept])
    return ReportOutcomes(
        subset=found.subset,
        metrics=_metrics(found),
        classes=class_names,
        cells=cells,
        places=np.concatenate(places).tolist(),
        groups=groups,
        truth=np.concatenate(truth).tolist(),
        predicted=np.concatenate(predicted).tolist(),
    )


def _metrics(found: Evaluated) -> dict[str, float | None]:
    overall = found.overall
    per_class = {f"F1 of {figures['class_name']}": figures["f1"] for figures in overall["classes"]}
    return {
        "accuracy": overall["accuracy"],
        "macro F1": overall["macro"]["f1"],
        "kappa": overall.get("kappa"),
        **per_class,
        "calibration error": overall.get("calibration_error"),
    }
