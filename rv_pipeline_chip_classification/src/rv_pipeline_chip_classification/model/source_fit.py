"""Whether an image is like those that a model was trained on, beyond what its contract demands."""

from __future__ import annotations

from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.scenes.crs import is_same_pixel_size, pixel_size_m
from rv_pipeline_chip_classification.scenes.grid import Grid


def pixel_size_note(contract: ModelContract, grid: Grid) -> str:
    """What to know about the size of an image's pixels beside that of the training images; "" if it is the same."""
    size_m = pixel_size_m(grid) if contract.pixel_size_m is not None else None
    if size_m is None or contract.pixel_size_m is None:
        return ""
    low_m, high_m = contract.pixel_size_m
    if low_m <= size_m <= high_m or is_same_pixel_size(size_m, low_m) or is_same_pixel_size(size_m, high_m):
        return ""
    trained = f"{low_m:.3g} m" if is_same_pixel_size(low_m, high_m) else f"{low_m:.3g} to {high_m:.3g} m"
    return f"its pixels are {size_m:.3g} m on the ground, those of the training images {trained}"
