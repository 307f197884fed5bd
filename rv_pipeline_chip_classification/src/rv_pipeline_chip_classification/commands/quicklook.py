"""A picture of a scene: image, true cells and predicted cells side by side, with the classes below.

Pillow draws it: it brings a font, and rasters of a few hundred pixels need no more. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rv_pipeline_chip_classification.config import ClassConfig
from rv_pipeline_chip_classification.labels.cells import LabelledCells
from rv_pipeline_chip_classification.maps.png_file import write_png
from rv_pipeline_chip_classification.neighbours.joined_cells import coarse_windows
from rv_pipeline_chip_classification.prediction.geojson_file import PredictedCell
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.scenes.windows import Window, WindowArray

#: Longer side of a panel in pixels; an image is brought near it by whole steps and then resampled.
PANEL_PX = 460
_MARGIN_PX, _GAP_PX, _TITLE_PX, _CAPTION_PX, _LEGEND_PX = 24, 16, 40, 24, 26
_PAPER, _INK, _SOFT_INK, _NO_CELL, _NO_DATA = "#ffffff", "#1f2328", "#59636e", "#eceef0", "#c9ced4"
_FRAME = "#000000"
_STRETCH_PERCENT, _GAMMA = (2.0, 98.0), 1.4
#: Whole numbers of so many bytes are counted and looked up, in a tenth of the time.
_COUNTED_BYTES = 2
_RGB_NAMES = (("red", "green", "blue"), ("r", "g", "b"))

Rgb = NDArray[np.uint8]


class Panel(NamedTuple):
    """One picture with what is written above it.

    Args:
        caption: a word or two.
        pixels: (H, W, 3) uint8.
    """

    caption: str
    pixels: Rgb


def write_quicklook(
    raster: SceneRaster,
    classes: ClassConfig,
    truth: LabelledCells | None,
    *,
    predictions: Iterable[PredictedCell],
    target: Path,
    title: str,
    note: str = "",
) -> None:
    """Write a PNG of a predicted scene, wrong cells framed; without labels there is no panel for the truth.

    Args:
        raster: of the scene.
        classes: names and colours.
        truth: its labelled cells, or None for a scene without labels.
        predictions: the cells that `predict` wrote.
        target: where the PNG goes.
        title: written at the top left.
        note: written at the top right, for instance "synthetic".

    Raises:
        DataError: if image or predictions cannot be read.
    """
    extent, image = raster.extent, render_image(raster, PANEL_PX)
    cells = list(predictions)
    windows = np.array([cell.window for cell in cells], np.int64).reshape(-1, 4)
    class_ids = np.array([-1 if cell.class_id is None else cell.class_id for cell in cells], np.int64)
    panels, caption, extra = [Panel("image", image)], "prediction", dict[str, str]()
    is_wrong = np.zeros(len(windows), np.bool_)
    if truth is not None:
        panels.append(Panel("truth", render_cells(truth.windows, truth.class_ids, classes, extent)))
        true_ids = _true_ids(truth, windows)
        if (true_ids < 0).any():
            extra["not labelled"] = _NO_CELL
        is_compared = (true_ids >= 0) & (class_ids >= 0)
        is_wrong = is_compared & (true_ids != class_ids)
        caption += _hits_in_words(int(is_compared.sum()), int(is_wrong.sum()))
    panels.append(Panel(caption, render_cells(windows, class_ids, classes, extent, is_framed=is_wrong)))
    if (class_ids < 0).any():
        extra["no data"] = _NO_DATA
    colors = {name: classes.color_of(class_id) for class_id, name in enumerate(classes.names)}
    write_png(target, np.asarray(compose(panels, {**colors, **extra}, title=title, note=note)))


def _true_ids(truth: LabelledCells, windows: WindowArray) -> NDArray[np.int64]:
    """The class id of each of the windows, or of the labelled cell around it, negative where there is none: (N,) int64."""
    known = dict(zip(map(tuple, truth.windows.tolist()), truth.class_ids.tolist(), strict=True))
    within = coarse_windows(windows, truth.windows)
    return np.array([known.get(window, -1) for window in map(tuple, within.tolist())], np.int64)


def _hits_in_words(num_compared: int, num_wrong: int) -> str:
    if not num_compared:
        return ""
    framed = ", wrong ones framed" if num_wrong else ""
    return f": {num_compared - num_wrong} of {num_compared} labelled cells right{framed}"


def render_image(raster: SceneRaster, least_px: int = 2 * PANEL_PX) -> Rgb:
    """The extent in colours, every so-many-th pixel of it: (H, W, 3) uint8; what is not valid is grey.

    Channels described as red, green and blue are shown as such, else the first three, or the only one in grey; each is
    stretched from its 2nd to its 98th percentile, and dark tones are lightened. Of a large image the longer side has
    `least_px` or more, less than twice as many.
    """
    return render_image_and_stretch(raster, least_px)[0]


def render_image_and_stretch(raster: SceneRaster, least_px: int = 2 * PANEL_PX) -> tuple[Rgb, Stretch]:
    """As `render_image`, and how its colours were made, for parts of it in full resolution."""
    extent = raster.extent
    step = max(1, max(extent.height, extent.width) // least_px)
    values, valid = _sampled(raster, step)
    stretch = Stretch.of(values, valid, raster.channel_names)
    return stretch.rendered(values, valid), stretch


class Stretch(NamedTuple):
    """How values of an image become colours.

    Args:
        channels: those to show as red, green and blue, or the one to show in grey.
        ends: of each of them, the values that become black and white; None where there is no valid pixel.
    """

    channels: tuple[int, ...]
    ends: tuple[tuple[float, float] | None, ...]

    @classmethod
    def of(cls, values: NDArray[Any], valid: NDArray[np.bool_], names: Sequence[str | None]) -> Stretch:
        """The stretch from the 2nd to the 98th percentile of what is valid.

        Args:
            values: (H, W, C).
            valid: (H, W) bool.
            names: of the channels.
        """
        # To the eye the percentiles of a few hundred thousand pixels are those of all.
        step = max(1, max(valid.shape) // PANEL_PX)
        values, valid = values[::step, ::step], valid[::step, ::step]
        channels, is_whole = tuple(rgb_channels(names)), bool(valid.all())
        shown = (values[..., channel] for channel in channels)
        return cls(channels, tuple(_ends(channel if is_whole else channel[valid]) for channel in shown))

    def rendered(self, values: NDArray[Any], valid: NDArray[np.bool_]) -> Rgb:
        """The colours of pixels (H, W, C): (H, W, 3) uint8; what is not valid is grey."""
        shown = [_stretched(values[..., channel], ends) for channel, ends in zip(self.channels, self.ends, strict=True)]
        pixels = np.stack(shown * 3 if len(shown) == 1 else shown, axis=2)
        pixels[~valid] = rgb_of(_NO_DATA)
        return pixels


def _sampled(raster: SceneRaster, step: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Every step-th row and column of the extent, strip by strip, so that no large scene is held."""
    extent = raster.extent
    shape = (-(-extent.height // step), -(-extent.width // step))
    values = np.zeros((*shape, raster.num_channels), raster.dtype)
    valid = np.zeros(shape, np.bool_)
    for box, pixels in raster.iter_strips(extent):
        rows, cols = (
            _samples(box.row_off - extent.row_off, box.height, step),
            _samples(box.col_off - extent.col_off, box.width, step),
        )
        place = (slice(rows.target, rows.target_end), slice(cols.target, cols.target_end))
        values[place] = pixels.values[rows.first :: step, cols.first :: step]
        valid[place] = True if pixels.valid is None else pixels.valid[rows.first :: step, cols.first :: step]
    return values, valid


class _Samples(NamedTuple):
    first: int
    target: int
    target_end: int


def _samples(offset: int, length: int, step: int) -> _Samples:
    """Which elements of a piece are multiples of the step, and where they go."""
    target, target_end = -(-offset // step), -(-(offset + length) // step)
    return _Samples(target * step - offset, target, target_end)


def rgb_channels(names: Sequence[str | None]) -> list[int]:
    """The channels to show as red, green and blue, or the one to show in grey."""
    folded = [(name or "").strip().casefold() for name in names]
    for wanted in _RGB_NAMES:
        if all(folded.count(name) == 1 for name in wanted):
            return [folded.index(name) for name in wanted]
    return [0, 1, 2] if len(folded) >= 3 else [0]


def _ends(inside: NDArray[Any]) -> tuple[float, float] | None:
    if not inside.size:
        return None
    if inside.dtype.kind == "u" and inside.dtype.itemsize <= _COUNTED_BYTES:
        low, high = _percentiles_of_counts(np.bincount(inside.ravel()))
    else:
        low, high = np.percentile(inside.astype(np.float64), _STRETCH_PERCENT)
    return float(low), float(high)


def _percentiles_of_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """As `np.percentile`, of whole numbers that are counted: how often there is 0, how often 1 and so on."""
    up_to = np.cumsum(counts)
    places = np.array(_STRETCH_PERCENT) / 100 * (up_to[-1] - 1)
    below, above = (np.searchsorted(up_to, around(places), side="right") for around in (np.floor, np.ceil))
    return np.asarray(below + (above - below) * (places - np.floor(places)))


def _stretched(channel: NDArray[Any], ends: tuple[float, float] | None) -> Rgb:
    if ends is None:
        return np.zeros(channel.shape, np.uint8)
    if channel.dtype.kind == "u" and channel.dtype.itemsize <= _COUNTED_BYTES:
        shades = _shades(np.arange(np.iinfo(channel.dtype).max + 1), ends)
        if len(shades) > 256:
            return np.asarray(np.take(shades, channel))
        # In half the time, as no number is made of each byte.
        return np.frombuffer(channel.tobytes().translate(shades.tobytes()), np.uint8).reshape(channel.shape)
    return _shades(channel, ends)


def _shades(values: NDArray[Any], ends: tuple[float, float]) -> Rgb:
    low, high = ends
    with np.errstate(invalid="ignore"):
        scaled = (values.astype(np.float64) - low) / max(high - low, 1e-12)
        return np.asarray(np.round(255 * np.clip(scaled, 0, 1) ** (1 / _GAMMA)), np.uint8)


def render_cells(
    windows: WindowArray,
    class_ids: NDArray[np.int64],
    classes: ClassConfig,
    extent: Window,
    *,
    is_framed: NDArray[np.bool_] | None = None,
) -> Rgb:
    """Cells in the colours of their classes on light grey: (H, W, 3) uint8, at most as large as a panel.

    Args:
        windows: (N, 4) int64; later ones lie on top.
        class_ids: (N,) int64, negative for a cell without data.
        classes: names and colours.
        extent: what is shown.
        is_framed: (N,) bool, the cells to frame, black around white, which is seen on every colour.
    """
    scale = min(1.0, PANEL_PX / max(extent.height, extent.width))
    shape = (max(1, round(extent.height * scale)), max(1, round(extent.width * scale)))
    names = [_NO_CELL, _NO_DATA, *(classes.color_of(index) for index in range(len(classes.names)))]
    # Rows of one number are filled many times as fast as rows of three.
    shown = np.zeros(shape, np.intp)
    begins = windows[:, :2] - (extent.row_off, extent.col_off)
    corners = np.round(np.concatenate([begins, begins + windows[:, 2:]], axis=1) * scale).astype(np.int64)
    places = (np.maximum(class_ids, -1) + 2).tolist()
    for (top, left, bottom, right), place in zip(np.maximum(corners, 0).tolist(), places, strict=True):
        shown[top:bottom, left:right] = place
    pixels = np.take(np.array([rgb_of(name) for name in names], np.uint8), shown, axis=0)
    for top, left, bottom, right in corners[is_framed].tolist() if is_framed is not None else ():
        frame(pixels[max(top, 0) : bottom, max(left, 0) : right], widest_px=1 if scale < 1 else 2)
    return pixels


def frame(cell: Rgb, *, widest_px: int = 2) -> None:
    """Frame a cell inside its edge: a black line, and a white one where there is room for both."""
    side = min(cell.shape[:2])
    width = max(1, min(widest_px, side // 8))
    for color, line in ((_FRAME, 0), (_PAPER, width))[: 2 if side >= 6 * width else 1]:
        inside = cell[line : cell.shape[0] - line, line : cell.shape[1] - line]
        inside[:width] = inside[-width:] = inside[:, :width] = inside[:, -width:] = rgb_of(color)


def rgb_of(color: str) -> tuple[int, int, int]:
    """The parts of a `#rrggbb`."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def compose(panels: Sequence[Panel], legend: Mapping[str, str], *, title: str, note: str = "") -> Image.Image:
    """Panels side by side under a title, over a legend.

    Args:
        panels: at least one.
        legend: name -> `#rrggbb`.
        title: at the top left.
        note: at the top right.
    """
    pictures = [_fitted(panel.pixels) for panel in panels]
    height, panel_width = max(p.height for p in pictures), max(p.width for p in pictures)
    width = max(900, 2 * _MARGIN_PX + len(panels) * panel_width + (len(panels) - 1) * _GAP_PX)
    places = _legend_places(list(legend), width - 2 * _MARGIN_PX)
    top = _MARGIN_PX + _TITLE_PX + _CAPTION_PX
    num_lines = places[-1][1] + 1 if places else 0
    canvas = Image.new("RGB", (width, top + height + _GAP_PX + num_lines * _LEGEND_PX + _MARGIN_PX // 2), _PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((_MARGIN_PX, _MARGIN_PX), title, _INK, font=_font(20))
    draw.text((width - _MARGIN_PX, _MARGIN_PX + 4), note, _SOFT_INK, font=_font(14), anchor="ra")
    for index, (panel, picture) in enumerate(zip(panels, pictures, strict=True)):
        left = _MARGIN_PX + index * (panel_width + _GAP_PX)
        draw.text((left, top - _CAPTION_PX + 2), panel.caption, _SOFT_INK, font=_font(14))
        canvas.paste(picture, (left, top))
    _draw_legend(draw, legend, places, top + height + _GAP_PX)
    return canvas


def _fitted(pixels: Rgb) -> Image.Image:
    """A picture whose longer side is a panel's; enlarged without blurring, made smaller with averaging."""
    height, width = pixels.shape[:2]
    factor = PANEL_PX / max(height, width)
    if factor == 1:
        return Image.fromarray(pixels)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    # Of those that average, Lanczos takes four times as long, and what it sharpens is not seen at this size.
    smooth = Image.Resampling.LANCZOS if factor > 1 else Image.Resampling.HAMMING
    resampling = Image.Resampling.NEAREST if factor >= 2 else smooth
    return Image.fromarray(pixels).resize(size, resampling)


@cache
def _font(size_px: int) -> Any:
    return ImageFont.load_default(size_px)


def _legend_places(names: Sequence[str], width: int) -> list[tuple[int, int]]:
    """Where each entry begins: (offset in pixels, line)."""
    places, offset, line = [], 0, 0
    for name in names:
        needed = 24 + round(_font(14).getlength(name)) + 20
        if offset and offset + needed > width:
            offset, line = 0, line + 1
        places.append((offset, line))
        offset += needed
    return places


def _draw_legend(draw: Any, legend: Mapping[str, str], places: Sequence[tuple[int, int]], top: int) -> None:
    for (name, color), (offset, line) in zip(legend.items(), places, strict=True):
        left, upper = _MARGIN_PX + offset, top + line * _LEGEND_PX
        draw.rectangle((left, upper, left + 15, upper + 15), color, outline=_SOFT_INK)
        draw.text((left + 23, upper + 8), name, _INK, font=_font(14), anchor="lm")
