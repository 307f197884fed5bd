"""The sections of the report of a chip classification."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from rv_core import (
    ReportChart,
    ReportMatrix,
    ReportSection,
    ReportSeries,
    ReportSource,
    ReportText,
    Storage,
    SummaryTable,
)
from rv_core.errors import RvError
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.reporting.evaluated import Evaluated, read_evaluated
from rv_pipeline_chip_classification.training.calibration import Reliability

_HISTORY, _METRICS = "train/history.jsonl", "train/metrics.json"
#: More scenes than this are listed by their accuracy, the worst first, and cut.
_MAX_SCENES = 100


def sections(source: ReportSource) -> list[ReportSection]:
    """What `rv report` shows of a chip classification, of the commands that are done."""
    config, storage = cast(ChipClassificationConfig, source.config), source.storage
    found: list[ReportSection] = []
    evaluated: list[Evaluated] = []
    if "eval" in source.done:
        found += _guarded("Classes", lambda: _classes(config, storage, evaluated))
    if evaluated:
        # Imports rasterio and Pillow.
        from rv_pipeline_chip_classification.reporting.scene_maps import map_parts, worst_parts

        found += _guarded("Maps", lambda: map_parts(config, storage, evaluated[-1]))
        found += _guarded("Worst errors", lambda: worst_parts(config, evaluated[-1]))
        found += _guarded("Calibration", lambda: _calibration(evaluated))
    if "train" in source.done:
        found += _guarded("Training", lambda: _training(storage))
    return found


def _guarded(title: str, make: Callable[[], Iterator[Any]]) -> list[ReportSection]:
    """The section, as far as it can be made."""
    parts: list[Any] = []
    try:
        parts.extend(make())
    except RvError as error:
        parts.append(ReportText(f"{error.block.what} ({error.block.where})", "warning"))
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        parts.append(ReportText(f"this cannot be shown: {type(error).__name__}: {error}", "warning"))
    return [ReportSection(title, parts)] if parts else []


def _classes(config: ChipClassificationConfig, storage: Storage, evaluated: list[Evaluated]) -> Iterator[Any]:
    """Figures per class and scene, and the confusion matrix; keeps what was read."""
    evaluated += read_evaluated(config, storage)
    for found in evaluated:
        overall, classes = found.overall, found.overall["classes"]
        yield ReportText(_headline(found))
        yield SummaryTable(
            ["class", "precision", "recall", "F1", "cells", "predicted"],
            [
                [c["class_name"], c["precision"], c["recall"], c["f1"], c["support"], c.get("predicted")]
                for c in classes
            ],
            f"{found.subset}: classes",
        )
        names = [c["class_name"] for c in classes]
        title = f"{found.subset}: what labelled cells were predicted as"
        yield ReportMatrix(overall["confusion"], names, names, "truth", "prediction", title)
        yield from _scene_table(found)


def _headline(found: Evaluated) -> str:
    overall, coverage = found.overall, found.overall["coverage"]
    kappa = f", kappa {overall['kappa']:.3f}" if overall.get("kappa") is not None else ""
    matched = f"{coverage['matched']:,} of {coverage['labelled']:,} labelled cells are predicted"
    if overall["accuracy"] is None:
        return f"{found.subset}: {matched}."
    figures = f"accuracy {overall['accuracy']:.3f}, macro F1 {overall['macro']['f1']:.3f}{kappa}"
    return f"{found.subset}: {figures}; {matched}."


def _scene_table(found: Evaluated) -> Iterator[SummaryTable]:
    per_scene = found.report["per_scene"]
    if len(per_scene) < 2:
        return
    rows = [
        [scene, figures["accuracy"], figures["macro"]["f1"], figures["coverage"]["matched"]]
        for scene, figures in per_scene.items()
    ]
    rows.sort(key=lambda row: 2.0 if row[1] is None else row[1])
    cut = f", the worst {_MAX_SCENES} of {len(rows)}" if len(rows) > _MAX_SCENES else ", the worst first"
    columns = ["scene", "accuracy", "macro F1", "cells"]
    yield SummaryTable(columns, rows[:_MAX_SCENES], f"{found.subset}: scenes{cut}")


def _calibration(evaluated: Sequence[Evaluated]) -> Iterator[Any]:
    series, tables = [], []
    for found in evaluated:
        if not found.scenes:
            continue
        is_predicted = np.concatenate([scene.is_predicted for scene in found.scenes])
        scores = np.concatenate([scene.scores for scene in found.scenes])[is_predicted]
        is_right = ~np.concatenate([scene.is_wrong for scene in found.scenes])[is_predicted]
        bins = Reliability.of(scores, is_right, np.zeros(len(scores), np.int64)).bins()
        series.append(ReportSeries(found.subset, [(found_in["confidence"], found_in["accuracy"]) for found_in in bins]))
        rows = [[found_in["count"], found_in["confidence"], found_in["accuracy"]] for found_in in bins]
        tables.append(SummaryTable(["cells", "mean score", "share of right ones"], rows, f"{found.subset}: by score"))
        error = found.overall.get("calibration_error")
        if error is not None:
            text = (
                f"{found.subset}: the expected calibration error is {error:.3f}: by so much a score is off on average."
            )
            yield ReportText(text)
    if series:
        yield ReportChart(
            "Share of right cells by score; on the dashed line a score is what it says",
            series,
            "mean score of the predicted class",
            "share of right cells",
            y_range=(0.0, 1.0),
            x_range=(0.0, 1.0),
            has_diagonal=True,
        )
        yield from tables


def _training(storage: Storage) -> Iterator[ReportChart | ReportText]:
    epochs = [json.loads(line) for line in storage.read_text(_HISTORY).splitlines() if line.strip()]
    metrics = json.loads(storage.read_text(_METRICS)) if storage.exists(_METRICS) else {}
    best = metrics.get("best_epoch")
    marks = {"chosen epoch": float(best)} if isinstance(best, int) else {}
    if metrics:
        chosen = f" Epoch {best} was chosen by {metrics.get('chosen_by')}." if marks else ""
        chips = f"{metrics['num_train_chips']:,} chips" if "num_train_chips" in metrics else "chips"
        yield ReportText(f"{len(epochs)} epochs on {chips}.{chosen}")
    charts = {
        "Loss by epoch": ("loss", {"train_loss": "training", "validation_loss": "validation"}),
        "Accuracy and macro F1 by epoch": (
            "share",
            {
                "train_accuracy": "training accuracy",
                "validation_accuracy": "validation accuracy",
                "validation_macro_f1": "validation macro F1",
            },
        ),
    }
    for title, (what, names) in charts.items():
        lines = [ReportSeries(name, _points(epochs, field)) for field, name in names.items()]
        yield ReportChart(title, [line for line in lines if line.points], "epoch", what, marks=marks)


def _points(epochs: Sequence[dict[str, Any]], field: str) -> list[tuple[float, float]]:
    return [(float(epoch["epoch"]), float(epoch[field])) for epoch in epochs if epoch.get(field) is not None]
