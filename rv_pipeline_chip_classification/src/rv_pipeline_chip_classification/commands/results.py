"""What a finished pipeline says of its results, and the names of the files that `eval` writes. Imports nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from rv_core import Storage, StorageError, Summary, SummaryTable
from rv_pipeline_chip_classification.config import ChipClassificationConfig

#: Pictures and maps of so many scenes are named; the others lie beside them.
MAX_SCENES = 3
_TRAINING = "train/metrics.json"


def evaluation_name(subset: str) -> str:
    """Name of the metrics of a subset under the root."""
    return f"eval/{subset}/eval.json"


def picture_name(subset: str, scene_id: str) -> str:
    """Name of the picture of an evaluated scene under the root."""
    return f"eval/{subset}/{scene_id}.png"


def outcomes_name(subset: str, scene_id: str, ending: str = "geojson") -> str:
    """Name of the labelled cells of an evaluated scene, right and wrong, under the root."""
    return f"eval/{subset}/{scene_id}.{ending}"


def style_name(subset: str, scene_id: str) -> str:
    """Name of how QGIS shows them."""
    return f"eval/{subset}/{scene_id}.qml"


def summarize(config: ChipClassificationConfig, storage: Storage, done: Collection[str]) -> Summary | None:
    """The results of a pipeline whose `eval` is done: what `eval.json` says, beside the simplest answers.

    Args:
        config: the config.
        storage: the root.
        done: the commands that are done.

    Raises:
        StorageError: if a file is not there.
        ValueError: if one is damaged.
    """
    if "eval" not in done:
        return None
    reports = [json.loads(storage.read_text(evaluation_name(subset))) for subset in config.eval.subsets]
    scored = [report for report in reports if report["overall"] is not None]
    if not scored:
        return None
    warnings = [text for report in reports for text in report.get("warnings", ())]
    if "validation" not in config.eval.subsets:
        warnings += _training_warnings(storage)
    return Summary(
        numbers=_numbers(scored[-1]),
        tables=[*map(_comparison, scored), _class_table(scored)],
        warnings=warnings,
        notes=[f"{report['subset']}: {text}" for report in reports for text in report.get("notes", ())],
        files=_files(config, storage, done),
        commands={
            "to classify a new image of the same sensor": "rv predict {root}/bundle/model-bundle.zip NEW.tif -o maps"
        }
        if "bundle" in done
        else {},
    )


def _training_warnings(storage: Storage) -> Sequence[str]:
    # Not there or damaged where train was not asked for its metrics since: the evaluation says enough.
    with suppress(StorageError, ValueError):
        return list(json.loads(storage.read_text(_TRAINING)).get("warnings", ()))
    return ()


def _numbers(report: dict[str, Any]) -> dict[str, Any]:
    subset, overall = report["subset"], report["overall"]
    numbers = {f"{subset} macro F1": overall["macro"]["f1"], f"{subset} accuracy": overall["accuracy"]}
    constant = (report.get("baselines") or {}).get("constant")
    if constant:
        numbers[f"always {constant['class_name']!r}"] = constant["accuracy"]
    return numbers


def _comparison(report: dict[str, Any]) -> SummaryTable:
    """The model beside the simplest answers, on the same cells."""
    baselines = report.get("baselines") or {}
    rows = [("this model", report["overall"])]
    if baselines.get("linear_probe"):
        rows.append(("linear, on mean and spread of each band", baselines["linear_probe"]))
    if baselines.get("constant"):
        rows.append((f"always {baselines['constant']['class_name']!r}", baselines["constant"]))
    return SummaryTable(
        title=f"{report['subset']}: {report['overall']['coverage']['matched']:,} labelled cells",
        columns=("answer", "accuracy", "macro F1", "kappa"),
        rows=[(name, found["accuracy"], found["macro"]["f1"], found["kappa"]) for name, found in rows],
    )


def _class_table(reports: Sequence[dict[str, Any]]) -> SummaryTable:
    columns = ["class", *(name for report in reports for name in (f"{report['subset']} F1", "cells"))]
    rows = [
        [of_class[0]["class_name"], *(value for found in of_class for value in (found["f1"], found["support"]))]
        for of_class in zip(*(report["overall"]["classes"] for report in reports), strict=True)
    ]
    return SummaryTable(columns, rows)


def _files(config: ChipClassificationConfig, storage: Storage, done: Collection[str]) -> dict[str, str]:
    subset = config.eval.subsets[-1]
    files = {evaluation_name(subset): f"all metrics of the {subset} scenes"}
    for scene in config.dataset.scenes_of(subset)[:MAX_SCENES]:
        named = {
            picture_name(subset, scene.id): f"picture of {scene.id}",
            outcomes_name(subset, scene.id): f"errors of {scene.id}",
            f"predict/{scene.id}.tif": f"map of {scene.id}",
        }
        files |= {name: what for name, what in named.items() if storage.exists(name)}
    if "bundle" in done:
        files["bundle/model-bundle.zip"] = "the model"
    return files
