"""The files of one predicted scene, written as cells come, from a model or from parts; and what it came to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rv_core import Storage
from rv_pipeline_chip_classification.config import SceneConfig
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.maps.cell_layer import CellLayerWriter, LayerOf
from rv_pipeline_chip_classification.maps.formats import ENDINGS, MODULES
from rv_pipeline_chip_classification.prediction.category_file import categories_text
from rv_pipeline_chip_classification.prediction.cell_file import CellWriter
from rv_pipeline_chip_classification.prediction.cell_scores import PredictionNames, ScoredCells
from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid, CellList
from rv_pipeline_chip_classification.prediction.geojson_file import GeoJsonWriter
from rv_pipeline_chip_classification.prediction.geotiff_file import GridRasterWriter
from rv_pipeline_chip_classification.prediction.qgis_style import prediction_style
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window

_log = logging.getLogger(__name__)


@dataclass
class CellCounts:
    """What a prediction came to.

    Args:
        per_class: cells by class id.
        num_without_data: cells without a valid pixel, which have no class.
        num_without_numbers: cells that have one, and for which the model gives no numbers: no class either.
        first_without_numbers: the window of the first of these.
        num_abstained: cells whose scores say too little: no class either.
        num_unfinished: cells of a part whose scores will be averaged with those around them, and have no class before.
        seconds: wall time.
        drift: which channels have other values than the training pixels, in words; "" for none.
    """

    per_class: NDArray[np.int64]
    num_without_data: int = 0
    num_without_numbers: int = 0
    first_without_numbers: Window | None = None
    num_abstained: int = 0
    num_unfinished: int = 0
    seconds: float = 0.0
    drift: str = ""

    @property
    def num_cells(self) -> int:
        """All cells."""
        known = int(self.per_class.sum()) + self.num_abstained
        return known + self.num_without_data + self.num_without_numbers + self.num_unfinished

    def add(self, cells: ScoredCells) -> None:
        """Count some more cells."""
        known = cells.class_ids[cells.class_ids >= 0]
        self.per_class += np.bincount(known, minlength=len(self.per_class))
        num_lost, num_abstained = int(cells.without_numbers.sum()), int(cells.abstained.sum())
        self.num_without_numbers += num_lost
        self.num_abstained += num_abstained
        self.num_without_data += len(cells.class_ids) - len(known) - num_lost - num_abstained
        self.first_without_numbers = self.first_without_numbers or cells.first_without_numbers()

    def abstained_note(self) -> str:
        """In words, that some cells have scores and no class; "" if none."""
        if not self.num_abstained:
            return ""
        return f"{self.num_abstained} of {self.num_cells} cells have no class, because no class reaches abstain_below"

    def lost_note(self) -> str:
        """In words, that some cells have no numbers; "" if all have."""
        if self.first_without_numbers is None:
            return ""
        window = list(self.first_without_numbers)
        return (
            f"{self.num_without_numbers} of {self.num_cells} cells have no class, because the model gives no numbers for "
            f"their pixel values; the first is the window {window}"
        )

    def to_json(self, class_names: Sequence[str]) -> dict[str, int]:
        """The numbers by name, for a manifest; `cells_of_<class name>` for each class."""
        if self.num_unfinished:
            return {"num_cells": self.num_cells}
        lost = {"num_without_numbers": self.num_without_numbers} if self.num_without_numbers else {}
        lost |= {"num_abstained": self.num_abstained} if self.num_abstained else {}
        per_class = zip(class_names, self.per_class, strict=True)
        return {
            "num_cells": self.num_cells,
            "num_without_data": self.num_without_data,
            **lost,
            **{f"cells_of_{name}": int(count) for name, count in per_class},
        }

    def tell(self, scene_id: str) -> None:
        """Write into the log what is odd."""
        if self.num_without_data:
            _log.warning(
                "scene %s: %d of %d cells have no valid pixel and no class",
                scene_id,
                self.num_without_data,
                self.num_cells,
            )
        for note in filter(None, [self.lost_note(), self.abstained_note(), self.drift]):
            _log.warning("scene %s: %s", scene_id, note)


def grid_of(scene: SceneConfig, extent: Window, chip_size_px: int, stride_px: int | None) -> CellGrid:
    """The cells of a scene of which the cells are a grid.

    Args:
        scene: the scene.
        extent: of its image.
        chip_size_px: the size of a cell where the labels have none of their own.
        stride_px: step between cells; None is the size.
    """
    size_px = cell_size_px(scene.labels, chip_size_px)
    return CellGrid(extent, size_px, stride_px or size_px)


@dataclass(frozen=True)
class SceneFiles:
    """Writes the files of scenes; the same cells give the same bytes.

    Args:
        class_names: by class id.
        class_colors: `#rrggbb` by class id.
        write_geotiff: whether rasters are written beside the GeoJSON, where cells are a grid.
        gives_logits: whether the scores are logits.
        vector: the format of the vector file, a key of `ENDINGS`, or `none`.
        keeps_cells: whether cells are written for `eval` and others where there is no GeoJSON.
    """

    class_names: tuple[str, ...]
    class_colors: tuple[str, ...]
    write_geotiff: bool = True
    gives_logits: bool = False
    vector: str = "geojson"
    keeps_cells: bool = False

    def write(
        self,
        raster: SceneRaster,
        cells: CellGrid | CellList,
        scored: Iterable[ScoredCells],
        names: PredictionNames,
        storage: Storage,
    ) -> None:
        """Write all files of a scene.

        Args:
            raster: the open scene.
            cells: which cells.
            scored: all of them, in order.
            names: of the files.
            storage: where they go.
        """
        with ExitStack() as stack:
            geojson = self._open_geojson(stack, raster, names, storage) if self.vector == "geojson" else None
            others = [*self._open_layer(stack, raster, cells, names, storage)]
            rasters = self._open_rasters(stack, raster, cells, names, storage)
            writers = [writer for writer in (geojson, *others, rasters) if writer is not None]
            for some in scored:
                for writer in writers:
                    writer.write(some)
            if geojson is not None:
                geojson.close()
        self._write_legends(names, storage, has_rasters=rasters is not None)
        if geojson is not None and geojson.num_without_place:
            _log.warning(
                "scene %s: %d of %d cells have a corner that is not on Earth: they have no geometry in the GeoJSON",
                raster.scene_id,
                geojson.num_without_place,
                cells.num_cells,
            )

    def _write_legends(self, names: PredictionNames, storage: Storage, *, has_rasters: bool) -> None:
        """Names and colours of the classes, for QGIS and GDAL."""
        classes = self.class_names, self.class_colors
        if self.vector != "none" or has_rasters:
            storage.write_text(names.style, prediction_style(*classes))
        if has_rasters:
            # Viewers write statistics into it.
            storage.write_text(names.categories, categories_text(*classes), may_change=True)

    def _open_layer(
        self,
        stack: ExitStack,
        raster: SceneRaster,
        cells: CellGrid | CellList,
        names: PredictionNames,
        storage: Storage,
    ) -> Iterator[CellLayerWriter | CellWriter]:
        """The writer of another vector file, and that of cells for other commands."""
        if self.vector in ("geojsonseq", *MODULES):
            path = stack.enter_context(storage.output_file(names.vector(ENDINGS[self.vector])))
            layer = LayerOf(raster.grid, raster.scene_id, self.class_names)
            yield stack.enter_context(CellLayerWriter(path, self.vector, layer))
        if self.vector != "geojson" and self.keeps_cells:
            path = stack.enter_context(storage.output_file(names.cells))
            file = stack.enter_context(path.open("wb"))
            yield CellWriter(file, cells.num_cells, len(self.class_names), gives_logits=self.gives_logits)

    def _open_geojson(
        self, stack: ExitStack, raster: SceneRaster, names: PredictionNames, storage: Storage
    ) -> GeoJsonWriter:
        path = stack.enter_context(storage.output_file(names.geojson))
        file = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        return GeoJsonWriter(
            file,
            raster.grid,
            scene_id=raster.scene_id,
            class_names=self.class_names,
            where=raster.scene_id,
            gives_logits=self.gives_logits,
        )

    def _open_rasters(
        self,
        stack: ExitStack,
        raster: SceneRaster,
        cells: CellGrid | CellList,
        names: PredictionNames,
        storage: Storage,
    ) -> GridRasterWriter | None:
        """Their writer, if cells are a grid; those of an earlier prediction that would not be replaced go."""
        if not self.write_geotiff or not isinstance(cells, CellGrid) or not cells.num_cells:
            for stale in (names.classes, names.scores, names.categories):
                if storage.exists(stale):
                    storage.delete(stale)
            return None
        classes_path = stack.enter_context(storage.output_file(names.classes))
        scores_path = stack.enter_context(storage.output_file(names.scores))
        rasters = GridRasterWriter(
            classes_path,
            scores_path,
            cells,
            raster.grid,
            class_names=self.class_names,
            class_colors=self.class_colors,
        )
        return stack.enter_context(rasters)
