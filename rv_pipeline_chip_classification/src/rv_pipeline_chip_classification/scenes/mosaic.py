"""Several files as one raster: where each lies on the common grid, and which one a pixel is taken from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.channel_names import describe_channels, match_channels
from rv_pipeline_chip_classification.scenes.crs import is_same_crs
from rv_pipeline_chip_classification.scenes.grid import Grid, Pixels
from rv_pipeline_chip_classification.scenes.headers import RasterNote
from rv_pipeline_chip_classification.scenes.raster_reader import RasterFile
from rv_pipeline_chip_classification.scenes.row_reader import RowReader, slices_of
from rv_pipeline_chip_classification.scenes.windows import Window

#: Files of a mosaic may be off the common grid by this share of a pixel.
_GRID_TOLERANCE_PX = 0.01


class PlacedFile(NamedTuple):
    """A file and the box of the mosaic's grid that it fills."""

    file: RasterFile
    box: Window


class Mosaic:
    """Files of one CRS, pixel size, grid, dtype and number of channels as one raster; gaps are not valid.

    Where files overlap, the first one in order that has a valid pixel there wins.
    Attributes: as of `RasterFile`; `block_shape` is the largest one.
    """

    def __init__(self, files: Sequence[RasterFile], scene_id: str) -> None:
        notes: list[RasterNote] = []
        for file in files[1:]:
            notes += _take_same_channels(files[0], file)
            _check_alike(files[0], file, scene_id)
        self.files = place_files(files)
        first = files[0]
        self.dtype, self.num_channels, self.channel_names = first.dtype, first.num_channels, first.channel_names
        self.file_channels, self.num_bands, self.scales = first.file_channels, first.num_bands, first.scales
        self.band_names, self.declared_nodata = first.band_names, first.declared_nodata
        self.misplaced = first.misplaced
        self.notes = [*_notes_of_files(files), *notes, *_notes_of_places(self.files)]
        self.block_shape = (max(file.block_shape[0] for file in files), max(file.block_shape[1] for file in files))
        self.file_pixel_bytes = first.file_pixel_bytes
        self.grid = _union_grid(first.grid, [placed.box for placed in self.files])

    def read(self, window: Window) -> Pixels:
        """The pixels of a window of the grid: values (H, W, C), gaps 0 and not valid."""
        parts = []
        for placed in self.files:
            part = placed.box.intersection(window)
            if not part.is_empty:
                parts.append((part, placed.file.read(local_part(part, placed.box))))
        return compose(window, parts, self.dtype, self.num_channels)

    def rows(self, box: Window, *, held_bytes: int | None = None) -> MosaicRows:
        """The rows of a box, from top to bottom, each block of each file read once; see `RowReader`."""
        return MosaicRows(self, box, held_bytes=held_bytes)


class MosaicRows:
    """Rows of a box of a mosaic; see `RowReader`."""

    def __init__(self, mosaic: Mosaic, box: Window, *, held_bytes: int | None = None) -> None:
        self._mosaic, self._box = mosaic, box
        parts = [(placed, placed.box.intersection(box)) for placed in mosaic.files]
        parts = [(placed, part) for placed, part in parts if not part.is_empty]
        # Files beside each other share what one file may hold.
        share = None if held_bytes is None else held_bytes // max(1, _most_beside([part for _, part in parts]))
        self._readers = [
            (placed, part, RowReader(placed.file, local_part(part, placed.box), held_bytes=share))
            for placed, part in parts
        ]

    def read(self, row_off: int, height: int, cols: range | None = None) -> Pixels:
        """Rows `row_off .. row_off + height - 1` of some columns of the box; `row_off` never goes back."""
        cols = range(self._box.col_off, self._box.col_end) if cols is None else cols
        wanted = Window(row_off, cols.start, height, len(cols))
        self._forget_above(row_off)
        parts = []
        for placed, box, reader in self._readers:
            part = box.intersection(wanted)
            if not part.is_empty:
                local = local_part(part, placed.box)
                local_cols = range(local.col_off, local.col_end)
                parts.append((part, reader.read(local.row_off, local.height, local_cols)))
        return compose(wanted, parts, self._mosaic.dtype, self._mosaic.num_channels)

    def _forget_above(self, row_off: int) -> None:
        """Let go of what files hold that end above: of many files one below the other all would keep some rows."""
        for _, _, reader in (over := [its for its in self._readers if its[1].row_end <= row_off]):
            reader.close()
        if over:
            self._readers = [its for its in self._readers if its[1].row_end > row_off]


def _most_beside(boxes: Sequence[Window]) -> int:
    """How many boxes one row crosses at most."""
    begins, ends = np.sort([box.row_off for box in boxes]), np.sort([box.row_end for box in boxes])
    # The most are there where one begins: those that began until then, without those that ended.
    there = np.searchsorted(begins, begins, side="right") - np.searchsorted(ends, begins, side="right")
    return int(there.max(initial=0))


def compose(window: Window, parts: Iterable[tuple[Window, Pixels]], dtype: np.dtype[Any], num_channels: int) -> Pixels:
    """The pixels of a window from parts of it, the first valid one of each pixel; 0 and not valid where there is none.

    Args:
        window: the box to fill.
        parts: (box inside the window, its pixels), the most important one first.
        dtype: of the values.
        num_channels: of the values.
    """
    values = np.zeros((window.height, window.width, num_channels), dtype)
    valid = np.zeros((window.height, window.width), np.bool_)
    for box, pixels in parts:
        place = slices_of(box, window)
        missing = ~valid[place]
        wanted = missing if pixels.valid is None else missing & pixels.valid
        if wanted.all():
            values[place], valid[place] = pixels.values, True
        else:
            _fill(values[place], valid[place], pixels.values, wanted)
    return Pixels(values, None if valid.all() else valid)


def _fill(values: NDArray[Any], valid: NDArray[np.bool_], source: NDArray[Any], wanted: NDArray[np.bool_]) -> None:
    values[wanted] = source[wanted]
    valid |= wanted


def _take_same_channels(first: RasterFile, other: RasterFile) -> list[RasterNote]:
    """Have a file give its channels in the order of the first one, by their names; what the user should know of it.

    Scales and offsets are compared here too: values that mean something else are no channels of one image.
    """
    notes = []
    order = match_channels(other.band_names, first.channel_names).order
    if order is not None and order != other.file_channels:
        other.read_channels(order)
        text = f"{other.uri} has its bands in another order than {first.uri}: its channels are taken by their names"
        notes.append(RasterNote("uris", text))
    if order is None and match_channels(other.channel_names, first.channel_names).differ:
        text = (
            f"the channels of {other.uri} are called {describe_channels(other.channel_names)}, those of {first.uri} "
            f"{describe_channels(first.channel_names)}: taken by position"
        )
        notes.append(RasterNote("uris", text))
    if other.scales != first.scales:
        text = f"{other.uri} declares other scales or offsets than {first.uri}: its values mean something else"
        notes.append(RasterNote("uris", text))
    return notes


def _notes_of_files(files: Sequence[RasterFile]) -> list[RasterNote]:
    """What the headers say, each sentence once."""
    uris_by_note: dict[RasterNote, list[str]] = {}
    for file in files:
        for note in file.notes:
            uris_by_note.setdefault(note, []).append(file.uri)
    return [
        note._replace(text=f"{its[0]}{f' and {len(its) - 1} more' if len(its) > 1 else ''}: {note.text}")
        for note, its in uris_by_note.items()
    ]


def _notes_of_places(placed: Sequence[PlacedFile]) -> list[RasterNote]:
    """Files that lie wholly on one before them: one file per band is no mosaic, and all but the first would be lost."""
    boxes = np.array([(box.row_off, box.col_off, box.row_end, box.col_end) for box in (its.box for its in placed)])
    covered = []
    for index in range(1, len(boxes)):
        is_around = (boxes[:index, :2] <= boxes[index, :2]) & (boxes[:index, 2:] >= boxes[index, 2:])
        if (first := np.flatnonzero(is_around.all(axis=1))).size:
            covered.append((placed[index].file, placed[int(first[0])].file))
    if not covered:
        return []
    file, under = covered[0]
    more = f", and so do {len(covered) - 1} more" if len(covered) > 1 else ""
    text = (
        f"{file.uri} lies wholly on {under.uri}{more}: a mosaic takes of it only what is no data there; files that "
        "hold one band each of an image are stacked with gdalbuildvrt -separate"
    )
    return [RasterNote("uris", text)]


def local_part(part: Window, box: Window) -> Window:
    """A part of a box, counted from the box's first pixel."""
    return part._replace(row_off=part.row_off - box.row_off, col_off=part.col_off - box.col_off)


def place_files(files: Sequence[RasterFile]) -> list[PlacedFile]:
    """Where each file lies on the grid whose pixel (0, 0) is the first row and column that any of them has."""
    offsets = [_offset(files[0].grid, file.grid) for file in files]
    rows, cols = [round(row) for row, _ in offsets], [round(col) for _, col in offsets]
    return [
        PlacedFile(file, Window(row - min(rows), col - min(cols), file.grid.height, file.grid.width))
        for file, row, col in zip(files, rows, cols, strict=True)
    ]


def _offset(base: Grid, other: Grid) -> tuple[float, float]:
    """Row and column, on the base grid, of the other grid's first pixel."""
    a, b, c, d, e, f = base.transform
    x, y = other.transform[2] - c, other.transform[5] - f
    determinant = a * e - b * d
    return (a * y - d * x) / determinant, (e * x - b * y) / determinant


def _union_grid(first: Grid, boxes: Sequence[Window]) -> Grid:
    a, b, c, d, e, f = first.transform
    row, col = -boxes[0].row_off, -boxes[0].col_off
    origin = (a, b, c + a * col + b * row, d, e, f + d * col + e * row)
    return Grid(max(box.row_end for box in boxes), max(box.col_end for box in boxes), origin, first.crs)


def _check_alike(first: RasterFile, other: RasterFile, scene_id: str) -> None:
    problems = []
    if first.grid.crs is None or not is_same_crs(first.grid.crs, other.grid.crs):
        problems.append("all need the same CRS")
    elif not _has_same_pixels(first.grid, other.grid):
        problems.append("all need the same pixel size and rotation")
    elif max(abs(offset - round(offset)) for offset in _offset(first.grid, other.grid)) > _GRID_TOLERANCE_PX:
        problems.append("their pixels do not lie on one grid")
    if other.dtype != first.dtype:
        problems.append(f"dtypes are {first.dtype} and {other.dtype}")
    if other.num_channels != first.num_channels:
        problems.append(f"they have {first.num_channels} and {other.num_channels} channels")
    if match_channels(other.channel_names, first.channel_names).wrong:
        named = [describe_channels(file.channel_names) for file in (first, other)]
        problems.append(f"their channels are {named[0]} and {named[1]}")
    if problems:
        raise DataError(
            f"the files of scene {scene_id!r} are no mosaic",
            where=f"{first.uri} and {other.uri}",
            why="; ".join(problems),
            fix="make them alike (for instance with gdalwarp), or make scenes of them",
        )


def _has_same_pixels(one: Grid, other: Grid) -> bool:
    """Whether pixels have the same sides, so exactly that the far corner of the larger grid is still in place."""
    sides = np.array(one.transform)[[0, 1, 3, 4]] - np.array(other.transform)[[0, 1, 3, 4]]
    longest = max(one.height, one.width, other.height, other.width)
    pixel = float(np.abs(np.array(one.transform)[[0, 1, 3, 4]]).max())
    return bool(np.abs(sides).max() * longest <= _GRID_TOLERANCE_PX * pixel)
