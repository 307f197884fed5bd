"""The command `merge`: the files of a scene that was predicted in parts, from the scores of its parts.

Cells go through the writers in the order and the batches of one part after the other, so the bytes are those of a scene
that was predicted as one. Nothing holds more than a few thousand cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.control import Control
from rv_pipeline_chip_classification.maps.probe_file import probe_file, read_probe_answers
from rv_pipeline_chip_classification.maps.scene_files import CellCounts, SceneFiles, grid_of
from rv_pipeline_chip_classification.neighbours.refinement import refined, scored_grid, written_grid
from rv_pipeline_chip_classification.parts.scene_parts import Part, num_predict_parts, part_id
from rv_pipeline_chip_classification.prediction.cell_scores import (
    FOLDER,
    Answers,
    PredictionNames,
    ScoredCells,
    answers_of,
    no_numbers,
    part_name,
    part_probe_name,
)
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid
from rv_pipeline_chip_classification.prediction.score_file import read_scores
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster


@dataclass(frozen=True)
class PartsOfScene:
    """The predicted parts of one scene.

    Args:
        scene_id: the scene.
        folder: of the predictions, under the storage's root.
        count: how many parts there are.
        answers: what becomes of the scores of cells.
    """

    scene_id: str
    folder: str
    count: int
    answers: Answers

    def names(self) -> list[str]:
        """The files of their scores, in order."""
        parts = [Part(number, self.count) for number in range(1, self.count + 1)]
        return [part_name(self.folder, part_id(self.scene_id, part)) for part in parts]


def merge_scene(scene: SceneConfig, config: ChipClassificationConfig, storage: Storage, control: Control) -> None:
    """Write the files of a scene of a config from the scores of its parts.

    Args:
        scene: the scene.
        config: reads `classes`, `chip.chip_size_px` and `predict`.
        storage: the root.
        control: told of progress and counts.

    Raises:
        DataError: if scores are damaged, or no cell has any numbers.
        StorageError: if some are not there.
    """
    classes = config.classes
    colors = tuple(classes.color_of(class_id) for class_id in range(len(classes.names)))
    predict = config.predict
    files = SceneFiles(
        tuple(classes.names),
        colors,
        predict.write_geotiff,
        predict.scores == "logits",
        vector=predict.vector,
        keeps_cells=True,
    )
    parts = PartsOfScene(scene.id, FOLDER, num_predict_parts(config, scene), answers_of(config.predict))
    with SceneRaster(scene.raster, scene.id) as raster:
        cells = grid_of(scene, raster.extent, config.chip.chip_size_px, config.predict.stride_px)
        merge_parts(raster, cells, parts, files, storage, control)


def merge_parts(
    raster: SceneRaster, cells: CellGrid, parts: PartsOfScene, files: SceneFiles, storage: Storage, control: Control
) -> CellCounts:
    """Write the files of a scene from the scores of its parts.

    Args:
        raster: the open scene; its pixels are not read.
        cells: all of its cells.
        parts: what was predicted.
        files: how they are written.
        storage: the root.
        control: told of progress and counts.

    Raises:
        DataError: if scores are damaged, or no cell has any numbers.
        StorageError: if some are not there.
    """
    counts = CellCounts(np.zeros(len(files.class_names), np.int64))
    scored = scored_grid(cells, parts.answers)
    found = refined(_found(scored, parts, len(files.class_names), storage, control), scored, parts.answers)
    files.write(
        raster,
        written_grid(scored),
        _counted(found, counts, parts.scene_id),
        PredictionNames(f"{parts.folder}/{parts.scene_id}"),
        storage,
    )
    if files.keeps_cells:
        _merge_probe(parts, written_grid(scored).num_cells, len(files.class_names), storage)
    control.record(**counts.to_json(files.class_names))
    counts.tell(parts.scene_id)
    return counts


def _merge_probe(parts: PartsOfScene, num_cells: int, num_classes: int, storage: Storage) -> None:
    """What the linear probe says of the scene, where it was asked of every part."""
    names = PredictionNames(f"{parts.folder}/{parts.scene_id}")
    answers = [read_probe_answers(storage, part_probe_name(name), num_classes) for name in parts.names()]
    known = [answer for answer in answers if answer is not None]
    if len(known) < len(answers) or sum(map(len, known)) != num_cells:
        if storage.exists(names.probe):
            storage.delete(names.probe)
        return
    with storage.output_file(names.probe) as path, probe_file(path, num_cells) as write:
        for answer in known:
            write(answer)


def _found(
    cells: CellGrid, parts: PartsOfScene, num_classes: int, storage: Storage, control: Control
) -> Iterator[ScoredCells]:
    """What the parts hold, in order."""
    first = 0
    for name in parts.names():
        for some in read_scores(storage.input_file(name), cells, first, num_classes, where=storage.uri(name)):
            yield some
            first += len(some.class_ids)
            control.progress(first, cells.num_cells)
    if first != cells.num_cells:
        what = f"the parts of scene {parts.scene_id!r} hold {first} of its {cells.num_cells} cells"
        raise DataError(what, where=storage.uri(parts.folder), fix='run the command "predict" again (--rerun)')


def _counted(cells: Iterable[ScoredCells], counts: CellCounts, scene_id: str) -> Iterator[ScoredCells]:
    """The cells, counted once those before are written."""
    for some in cells:
        yield some
        counts.add(some)
    if counts.first_without_numbers is not None and not counts.per_class.any() and not counts.num_abstained:
        raise no_numbers(counts.first_without_numbers, scene_id)
