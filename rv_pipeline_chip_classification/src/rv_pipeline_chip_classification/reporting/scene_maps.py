"""Pictures of evaluated scenes: image, truth, prediction, wrong cells and scores on top of each other; the worst errors.

Images are opened where the config says they lie. Where that is not possible any more, the picture that `eval` left is
shown.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rv_core import ReportMap, ReportPicture, ReportPictures, ReportText, Storage
from rv_core.errors import DataError, StorageError
from rv_pipeline_chip_classification.commands.quicklook import (
    PANEL_PX,
    Rgb,
    Stretch,
    frame,
    render_image,
    render_image_and_stretch,
    rgb_of,
)
from rv_pipeline_chip_classification.commands.results import picture_name
from rv_pipeline_chip_classification.config import ChipClassificationConfig, ClassConfig, SceneConfig
from rv_pipeline_chip_classification.prediction.cell_file import cells_name, read_cells
from rv_pipeline_chip_classification.prediction.cell_scores import prediction_names
from rv_pipeline_chip_classification.reporting.evaluated import Evaluated, SceneCells
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray

#: Of more scenes the maps of those with the lowest accuracy are shown; of more wrong cells the most confident ones.
MAX_MAPS, MAX_CHIPS = 4, 12
_MAX_PX, _JPEG_QUALITY = 2 * PANEL_PX, 80
_WRONG, _MISSING, _RIGHT = "#d1242f", "#8250df", "#ffffff"
#: From a low score to a high one.
_LOW, _HIGH = "#fde725", "#440154"

_Rgba = NDArray[np.uint8]


def map_parts(config: ChipClassificationConfig, storage: Storage, found: Evaluated) -> Iterator[Any]:
    """A map of each scene of an evaluated subset."""
    scenes = {scene.id: scene for scene in config.dataset.scenes_of(found.subset)}
    accuracy = {scene_id: figures["accuracy"] for scene_id, figures in found.report["per_scene"].items()}
    shown = sorted(
        found.scenes, key=lambda cells: 2.0 if accuracy[cells.scene_id] is None else accuracy[cells.scene_id]
    )
    if len(shown) > MAX_MAPS:
        text = f"The {MAX_MAPS} of {len(shown)} {found.subset} scenes with the lowest accuracy."
        yield ReportText(text, "note")
    for cells in shown[:MAX_MAPS]:
        scene = scenes[cells.scene_id]
        try:
            yield _map_of(scene, config.classes, storage, cells)
        except DataError as error:
            yield from _picture_instead(storage, found.subset, scene.id, error)


def _picture_instead(storage: Storage, subset: str, scene_id: str, error: DataError) -> Iterator[Any]:
    yield ReportText(f"There is no map of {scene_id}: {error.block.what}.", "note")
    name = picture_name(subset, scene_id)
    if storage.exists(name):
        alt = f"{scene_id}: image, truth and prediction side by side"
        yield ReportPictures([ReportPicture(storage.read_bytes(name), alt, f"{scene_id}, as eval drew it")])


def _map_of(scene: SceneConfig, classes: ClassConfig, storage: Storage, cells: SceneCells) -> ReportMap:
    with SceneRaster(scene.raster, scene.id) as raster:
        extent, image = raster.extent, render_image(raster)
    name = cells_name(storage, prediction_names(scene.id))
    predicted = list(read_cells(storage.input_file(name), where=storage.uri(name)))
    windows = np.array([cell.window for cell in predicted], np.int64).reshape(-1, 4)
    class_ids = np.array([-1 if cell.class_id is None else cell.class_id for cell in predicted], np.int64)
    best = np.array([max(cell.scores) if cell.scores else np.nan for cell in predicted], np.float64)
    colors = np.array([rgb_of(classes.color_of(index)) for index in range(len(classes.names))], np.uint8)
    is_known = class_ids >= 0
    layers = {
        "prediction": painted(windows[is_known], _opaque(colors[class_ids[is_known]]), extent),
        "truth": painted(cells.windows, _opaque(colors[cells.truth]), extent),
        "wrong cells": painted(cells.windows, _outcome_colors(cells), extent),
        "score": painted(windows[is_known], _score_colors(best[is_known], len(classes.names)), extent),
    }
    legend = {name: classes.color_of(index) for index, name in enumerate(classes.names)}
    legend |= {"wrong": _WRONG, "not predicted": _MISSING, "low score": _LOW, "high score": _HIGH}
    wrong, compared = int(cells.is_wrong.sum()), int(cells.is_predicted.sum())
    return ReportMap(
        scene.id,
        ReportPicture(jpeg(image), f"Image of {scene.id}", "the image"),
        [ReportPicture(png(pixels), f"{what} of {scene.id}", what) for what, pixels in layers.items()],
        legend,
        f"{compared - wrong:,} of {compared:,} labelled cells are right. Drag, or use the slider, to uncover the image.",
    )


def painted(windows: WindowArray, colors: _Rgba, extent: Window) -> _Rgba:
    """Cells in their colours on nothing: (H, W, 4) uint8, of the shape of the extent, at most `_MAX_PX` long.

    Args:
        windows: (N, 4) int64; later ones lie on top.
        colors: (N, 4) uint8.
        extent: what is shown.
    """
    scale = min(1.0, _MAX_PX / max(extent.height, extent.width))
    pixels = np.zeros((max(1, round(extent.height * scale)), max(1, round(extent.width * scale)), 4), np.uint8)
    begins = windows[:, :2] - (extent.row_off, extent.col_off)
    corners = np.round(np.concatenate([begins, begins + windows[:, 2:]], axis=1) * scale).astype(np.int64)
    for (top, left, bottom, right), color in zip(np.maximum(corners, 0).tolist(), colors, strict=True):
        pixels[top:bottom, left:right] = color
    return pixels


def _opaque(colors: Rgb, alpha: int = 255) -> _Rgba:
    return np.concatenate([colors, np.full((len(colors), 1), alpha, np.uint8)], axis=1)


def _outcome_colors(cells: SceneCells) -> _Rgba:
    """Wrong and missing cells stand out, right ones are a veil."""
    colors = np.array([(*rgb_of(_RIGHT), 70), (*rgb_of(_WRONG), 255), (*rgb_of(_MISSING), 255)], np.uint8)
    return colors[np.where(cells.is_predicted, cells.is_wrong.astype(np.int64), 2)]


def _score_colors(scores: NDArray[np.float64], num_classes: int) -> _Rgba:
    """From the lowest score that a predicted class can have to 1."""
    lowest = 1 / max(2, num_classes)
    share = np.clip((scores - lowest) / (1 - lowest), 0, 1)[:, None]
    low, high = (np.array(rgb_of(color), np.float64) for color in (_LOW, _HIGH))
    return _opaque(np.round(low + share * (high - low)).astype(np.uint8))


@dataclass(frozen=True)
class _Error:
    cells: SceneCells
    place: int

    @property
    def score(self) -> float:
        return float(self.cells.scores[self.place])


def worst_parts(config: ChipClassificationConfig, found: Evaluated) -> Iterator[Any]:
    """The wrong cells of a subset that the model is surest of, as chips with their place."""
    if not found.scenes:
        return
    errors = [_Error(cells, int(place)) for cells in found.scenes for place in np.flatnonzero(cells.is_wrong)]
    if not errors:
        yield ReportText(f"No labelled cell of the {found.subset} scenes is predicted wrong.")
        return
    errors.sort(key=lambda error: -error.score)
    worst = errors[:MAX_CHIPS]
    which = "All" if len(worst) == len(errors) else f"The {len(worst)} surest of {len(errors):,}"
    yield ReportText(
        f"{which} wrong cells of the {found.subset} scenes, the one that the model is surest of first, framed, with what lies "
        "around them: a wrong label looks like this too.",
        "note",
    )
    scenes = {scene.id: scene for scene in config.dataset.scenes_of(found.subset)}
    pictures: dict[int, ReportPicture] = {}
    for scene_id in dict.fromkeys(error.cells.scene_id for error in worst):
        own = [(index, error) for index, error in enumerate(worst) if error.cells.scene_id == scene_id]
        try:
            with SceneRaster(scenes[scene_id].raster, scene_id) as raster:
                _, stretch = render_image_and_stretch(raster)
                pictures |= {index: _chip(raster, stretch, error, config.classes.names) for index, error in own}
        except (DataError, StorageError) as error:
            yield ReportText(f"Cells of {scene_id} are not shown: {error.block.what}.", "note")
    if pictures:
        yield ReportPictures([pictures[index] for index in sorted(pictures)])


def _chip(raster: SceneRaster, stretch: Stretch, error: _Error, names: list[str]) -> ReportPicture:
    cells, place = error.cells, error.place
    window = Window(*cells.windows[place].tolist())
    margin = max(window.height, window.width) // 2
    around = Window(
        window.row_off - margin, window.col_off - margin, window.height + 2 * margin, window.width + 2 * margin
    )
    step = max(1, max(around.height, around.width) // 256)
    pixels = raster.read(around)
    valid = np.ones(pixels.values.shape[:2], np.bool_) if pixels.valid is None else pixels.valid
    shown = stretch.rendered(pixels.values[::step, ::step], valid[::step, ::step])
    inner = (
        slice(margin // step, (margin + window.height) // step),
        slice(margin // step, (margin + window.width) // step),
    )
    frame(shown[inner])
    truth, answer = names[cells.truth[place]], names[cells.predicted[place]]
    where = _where(cells.middles[place].tolist(), is_placed=raster.grid.crs is not None)
    caption = f"{truth} predicted as {answer}, {error.score:.2f}; {cells.scene_id}, {where}"
    return ReportPicture(png(shown), f"{truth} predicted as {answer}", caption)


def _where(middle: tuple[float, float], *, is_placed: bool) -> str:
    x, y = middle
    if np.isnan(x):
        return "without a place on Earth"
    return f"latitude {y:.5f}, longitude {x:.5f}" if is_placed else f"row {y:.0f}, column {x:.0f}"


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of (H, W, 3) or (H, W, 4) uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()


def jpeg(pixels: Rgb) -> bytes:
    """A JPEG of (H, W, 3) uint8, at most `_MAX_PX` long."""
    image = Image.fromarray(pixels)
    longer = max(image.size)
    if longer > _MAX_PX:
        size = tuple(max(1, round(side * _MAX_PX / longer)) for side in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
    return file.getvalue()
