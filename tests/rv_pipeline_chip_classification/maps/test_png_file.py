"""Pictures as PNG: what was written is what others read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rv_pipeline_chip_classification.maps.png_file import write_png


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (5, 1, 3), (31, 47, 3)])
def test_another_reader_finds_the_pixels(shape: tuple[int, int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        assert (np.asarray(picture) == pixels).all()


def test_flat_cells_take_next_to_nothing(tmp_path: Path) -> None:
    cells = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    write_png(tmp_path / "a.png", np.kron(cells, np.ones((50, 50, 1), np.uint8)))
    assert (tmp_path / "a.png").stat().st_size < 480_000 / 40
