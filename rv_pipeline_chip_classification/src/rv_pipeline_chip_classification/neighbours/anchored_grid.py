"""The cells that overlapping cells are averaged onto, as wide as the step, and the raw scores that are needed for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rv_pipeline_chip_classification.prediction.cell_windows import BatchSizeOf, CellChips, CellGrid
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster


@dataclass(frozen=True)
class AnchoredGrid(CellGrid):
    """Overlapping cells, each at its first pixel, and places beyond the last ones: as many as there are steps.

    So each cell as wide as the step is the first one of a place, where its valid pixels are counted. At places beyond the
    last overlapping cells nothing is scored. Arguments: as of `CellGrid`.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of places."""
        return self.steps.shape

    @property
    def steps(self) -> CellGrid:
        """The cells as wide as the step."""
        return CellGrid(self.extent, self.stride_px, self.stride_px)

    @property
    def overlapping(self) -> CellGrid:
        """The cells that are scored."""
        return CellGrid(self.extent, self.size_px, self.stride_px)

    def iter_chips(
        self, raster: SceneRaster, batch_size_of: BatchSizeOf, context_px: int = 0, *, cells: range | None = None
    ) -> Iterator[CellChips]:
        """As of `CellGrid`; valid pixels are those of the first step of each cell alone."""
        num_rows, num_cols = self.overlapping.shape
        first_step = slice(context_px, context_px + self.stride_px)
        for batch in super().iter_chips(raster, batch_size_of, context_px, cells=cells):
            rows, cols = np.divmod(np.arange(batch.first, batch.first + len(batch.windows)), self.shape[1])
            fractions = np.ones(len(batch.windows))
            if batch.valid is not None:
                fractions = batch.valid[:, first_step, first_step].mean(axis=(1, 2))
            yield batch._replace(is_scored=(rows < num_rows) & (cols < num_cols), valid_fractions=fractions)
