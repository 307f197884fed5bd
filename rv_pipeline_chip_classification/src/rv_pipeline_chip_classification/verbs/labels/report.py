"""The histogram of labels, per scene and subset, what is not used and why, and what other settings would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rv_core.wording import count_text
from rv_pipeline_chip_classification.commands.chip import select_windows
from rv_pipeline_chip_classification.config import ChipClassificationConfig, GeoJsonLabelsConfig
from rv_pipeline_chip_classification.verbs.experiment import LabelledScene, boundary_of
from rv_pipeline_chip_classification.verbs.labels.cell_table import (
    background_id,
    cell_table,
    open_scene,
    sensitivity,
)

_MAX_SHOWN = 8


@dataclass(frozen=True)
class SceneLabels:
    """What a scene is labelled with.

    Args:
        scene_id: the scene.
        subset: of the scene.
        num_features: features of its label file; 0 for a raster.
        dropped: reason -> features or polygons that were left out.
        notes: sentences about the labels.
        num_cells: cells over its extent.
        cells: class name -> cells that are used.
        unused: reason -> cells that are not.
        chips: class name -> windows that become chips if their pixels are valid; None for a test scene.
        sensitivity: setting -> cells whose class it would change.
    """

    scene_id: str
    subset: str
    num_features: int
    dropped: dict[str, int]
    notes: list[str]
    num_cells: int
    cells: dict[str, int]
    unused: dict[str, int]
    chips: dict[str, int] | None
    sensitivity: dict[str, int] = field(default_factory=dict)


def labels_of(entry: LabelledScene) -> SceneLabels:
    """Look at the labels of one scene; of its image only the header is read.

    Raises:
        DataError: if a file of it cannot be used.
    """
    config = entry.config
    with boundary_of(entry), open_scene(entry.scene, config.classes, config.chip) as opened:
        assert opened.source is not None
        table = cell_table(opened, config.chip)
        labels, report = entry.scene.labels, opened.source.report
        changed = {}
        if isinstance(labels, GeoJsonLabelsConfig):
            changed = sensitivity(table, labels, background_id(opened))
        chips = None
        if entry.subset != "test":
            selected = select_windows(entry.scene, opened.raster, opened.aoi, opened.source, config.chip, config.seed)
            counts = np.bincount(selected.labels.class_ids, minlength=len(opened.class_names)).tolist()
            chips = dict(zip(opened.class_names, counts, strict=True))
        return SceneLabels(
            entry.scene.id,
            entry.subset,
            report.num_features,
            dict(report.dropped),
            [*report.notes, *filter(None, [opened.source.warn_of(opened.cell_px)])],
            len(table.windows),
            dict(zip(opened.class_names, table.class_counts(len(opened.class_names)), strict=True)),
            dict(table.unused()),
            chips,
            changed,
        )


def report_json(found: Sequence[SceneLabels], config: ChipClassificationConfig) -> dict[str, Any]:
    """The report as plain values: `{"classes", "scenes": [...], "subsets": {subset: totals}}`."""
    scenes = [vars(its) for its in found]
    return {"classes": list(config.classes.names), "scenes": scenes, "subsets": totals_of(found)}


def totals_of(found: Sequence[SceneLabels]) -> dict[str, dict[str, Any]]:
    """Sums over the scenes of each subset."""
    totals: dict[str, dict[str, Any]] = {}
    for subset in dict.fromkeys(its.subset for its in found):
        own = [its for its in found if its.subset == subset]
        has_chips = any(its.chips is not None for its in own)
        totals[subset] = {
            "num_scenes": len(own),
            "num_cells": sum(its.num_cells for its in own),
            "cells": _sum(its.cells for its in own),
            "unused": _sum(its.unused for its in own),
            "chips": _sum(its.chips or {} for its in own) if has_chips else None,
            "sensitivity": _sum(its.sensitivity for its in own),
        }
    return totals


def _sum(counts: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for its in counts:
        for name, count in its.items():
            total[name] += count
    return dict(total)


def report_rows(found: Sequence[SceneLabels], class_names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the table: a row per scene, one per subset, and one for its chips."""
    columns = ["subset", "scene", "cells", "unused", *class_names]
    rows = []
    for subset, total in totals_of(found).items():
        own = [its for its in found if its.subset == subset]
        rows += [_row(subset, its.scene_id, its.num_cells, its.unused, its.cells, class_names) for its in own]
        label = f"all {len(own)}"
        rows.append(_row(subset, label, total["num_cells"], total["unused"], total["cells"], class_names, shares=True))
        if total["chips"] is not None:
            num_chips = sum(total["chips"].values())
            rows.append(_row(subset, "chips", num_chips, {}, total["chips"], class_names, shares=True))
    return columns, rows


def _row(
    subset: str,
    label: str,
    num_cells: int,
    unused: Mapping[str, int],
    counts: Mapping[str, int],
    class_names: Sequence[str],
    *,
    shares: bool = False,
) -> list[str]:
    total = max(1, sum(counts.values()))
    texts = [f"{counts[name]} ({counts[name] / total:.1%})" if shares else str(counts[name]) for name in class_names]
    return [subset, label, str(num_cells), str(sum(unused.values())), *texts]


def report_lines(found: Sequence[SceneLabels]) -> Iterator[str]:
    """What the table does not say: what is not used, what was left out of files, what other settings would change."""
    for subset, total in totals_of(found).items():
        if total["unused"]:
            reasons = ", ".join(f"{count} {reason}" for reason, count in total["unused"].items())
            yield f"{subset}: cells without use: {reasons}"
    notes: dict[str, list[str]] = {}
    for its in found:
        for note in its.notes:
            notes.setdefault(note, []).append(its.scene_id)
    for note, scenes in list(notes.items())[:_MAX_SHOWN]:
        more = f" and {count_text(len(scenes) - 1, 'other scene')}" if len(scenes) > 1 else ""
        yield f"{scenes[0]}{more}: {note}"
    if len(notes) > _MAX_SHOWN:
        yield f"… and {count_text(len(notes) - _MAX_SHOWN, 'more note')} (--json has all)"
    for subset, total in totals_of(found).items():
        if total["sensitivity"]:
            words = ", ".join(f"{name}: {count}" for name, count in total["sensitivity"].items())
            yield f"{subset}: of {total['num_cells']} cells another class (or none) with {words}"
