"""Raster files read with GDAL.

A file is read window by window, never downloaded: a remote GeoTIFF by `raster_files/remote_files.py`, any other in place (`/vsis3`,
`/vsicurl`). `scenes/scene_raster.py` makes scenes of files.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from rv_core.errors import DataError, RvError, StorageError
from rv_core.files import by_uri, uris
from rv_core.files.stores import SignatureRefusedError
from rv_pipeline_chip_classification.raster_files.dataset_files import (
    is_virtual,
    side_files,
    sources_of,
    why_not_opened,
)
from rv_pipeline_chip_classification.raster_files.gdal_env import gdal_env
from rv_pipeline_chip_classification.raster_files.gdal_paths import DRIVERS, gdal_options, gdal_path, opened_path
from rv_pipeline_chip_classification.raster_files.remote_files import announce, failure_of, held_files, open_held, want
from rv_pipeline_chip_classification.scenes.grid import Pixels
from rv_pipeline_chip_classification.scenes.headers import (
    RasterNote,
    grid_of,
    header_notes,
    missing_georeference,
    without_bands,
)
from rv_pipeline_chip_classification.scenes.masks import (
    alpha_note,
    as_dtype,
    choose_mask,
    find_alpha,
    valid_pixels,
)
from rv_pipeline_chip_classification.scenes.windows import Window

#: An alpha band is soft at edges alone.
_MASK_LIKE = 0.9
#: What rasterio raises; some of GDAL's own errors come through as they are.
GDAL_ERRORS = (RasterioError, CPLE_BaseError, CRSError)


class SourceFieldError(DataError):
    """A field of a scene's `RasterSourceConfig` does not fit its image.

    Args:
        field: the field, for instance "bbox"; the others are those of `DataError`.
    """

    def __init__(self, what: str, *, field: str, where: str, why: str, fix: str = "") -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.field = field


@contextmanager
def raster_env(file_uris: Sequence[str]) -> Iterator[None]:
    """The one place where GDAL is set up: everything that reads rasters happens inside it."""
    remote = [uri for uri in file_uris if not uris.is_local(uris.expand(uri))]
    with held_files(remote) as held:
        reads_s3 = any("s3" in uris.scheme_of(uris.expand(uri)) for uri in remote if uri not in held)
        with gdal_env(reads_s3=reads_s3, **gdal_options(os.environ, is_remote=bool(remote))):
            yield


def open_dataset(uri: str, scene_id: str, what: str) -> Any:
    """A rasterio dataset, which the caller closes; `what` it is, for messages.

    Raises:
        DataError: if it is not there or GDAL cannot read it.
    """
    if (dataset := open_held(uri)) is not None:
        return dataset
    named = f"the {what} of scene {scene_id!r} cannot be opened"
    _check_plain_file(uri, named)
    if not is_virtual(uri):
        return _open(uri, DRIVERS, named)
    try:
        sources = sources_of(uri)
    except RvError as err:
        raise _as_data_error(named, err) from err
    for source in sources:
        # With all of its drivers GDAL would open these as services or code too, if their content says so.
        _check_plain_file(source, f"{named}: {uri} names {source}")
        if not is_virtual(source):
            _open(source, DRIVERS, f"{named}: {uri} names {source}").close()
    return _open(uri, ("VRT",), named)


def _as_data_error(named: str, error: RvError) -> DataError:
    what, where, why, fix, _ = error.block
    return DataError(named, where=where, why=f"{what}: {why}", fix=fix)


def _check_plain_file(uri: str, named: str) -> None:
    """A pipe would be waited for until somebody writes into it, also one that lies in the place of a side file.

    A web server could send GDAL on to any host.
    """
    path = gdal_path(uri)
    try:
        by_uri.refuse_redirect(uris.container_of(uri))
    except SignatureRefusedError:
        raise
    except StorageError as err:
        raise _as_data_error(named, err) from err
    if not uris.is_local(uris.expand(uri)) or path.startswith("/vsi"):
        return
    if not os.path.isfile(path):
        why = "it is a folder" if os.path.isdir(path) else "it is no plain file" if os.path.exists(path) else ""
        raise DataError(named, where=uri, why=why or "there is no such file")
    odd = [side for side in side_files(uri) if not os.path.isfile(uris.local_path(uris.expand(side)))]
    if odd:
        raise DataError(named, where=uri, why=f"{odd[0]} beside it is no plain file")


def _open(uri: str, drivers: Sequence[str], named: str) -> Any:
    opened = opened_path(uri)
    # Files beside a signed address would be asked for with its signature.
    alone = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if opened.signer else {}
    try:
        with warnings.catch_warnings(), gdal_env(reads_s3="/vsis3/" in opened.path, **alone):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # rasterio.open takes one driver alone.
            return DatasetReader(opened.path, driver=list(drivers))
    except GDAL_ERRORS as err:
        why, fix = why_not_opened(opened.without_signature(reason_of(err)), uri, opened.path)
        raise DataError(named, where=uri, why=why, fix=fix) from (None if opened.signer else err)


def reason_of(error: BaseException) -> str:
    """What GDAL says went wrong: the message of the first cause, for the last one is only "Read failed"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return re.sub(r"/vsiriopener_\w+/", "", str(error))


class RasterFile:
    """One open raster file, of which some channels are read.

    Attributes:
        uri: where it is.
        grid: its pixel grid.
        dtype: of its pixels as they are read.
        stored_dtype: of its pixels in the file.
        num_channels: how many channels are read.
        channel_names: their descriptions in the file, None where there is none.
        file_channels: which channels of the file they are, 0-based.
        block_shape: (rows, cols) of the blocks it is stored in.
        file_pixel_bytes: bytes of one pixel of all bands, which is what reading a block costs.
        declared_nodata: the nodata value that the file declares for its first band, or None.
        num_bands: how many bands the file has.
        band_names: the descriptions of all of them.
        scales: (scale, offset) that the file declares, by channel; they are compared and never applied.
        misplaced: why its place is not known although the file seems to say it; None if nothing is odd.
        notes: what the user should know about the header; empty for labels.
    """

    def __init__(
        self, uri: str, scene_id: str, channels: Sequence[int] | None, nodata: float | None, *, what: str = "image"
    ) -> None:
        self.uri, self._scene_id, self._what, self._nodata = uri, scene_id, what, nodata
        self._dataset = open_dataset(uri, scene_id, what)
        try:
            self._set_up(channels, nodata)
        except BaseException:
            self._dataset.close()
            raise

    def _set_up(self, channels: Sequence[int] | None, nodata: float | None) -> None:
        dataset = self._dataset
        if not dataset.count:
            raise without_bands(dataset, self.uri, f"{self._what} of scene {self._scene_id!r}")
        self.grid = grid_of(dataset, where=self.uri, what=f"{self._what} of scene {self._scene_id!r}")
        alpha = find_alpha(dataset)
        self._bands = self._chosen_bands(channels, alpha)
        self.dtype = self.stored_dtype = self._common_dtype()
        self.misplaced = missing_georeference(dataset)
        self.notes = self._notes(channels, nodata, alpha) if self._what == "image" else []
        self.num_channels = len(self._bands)
        self.channel_names = tuple(dataset.descriptions[band - 1] for band in self._bands)
        self.file_channels = tuple(band - 1 for band in self._bands)
        self.block_shape: tuple[int, int] = dataset.block_shapes[self._bands[0] - 1]
        self.file_pixel_bytes = dataset.count * self.dtype.itemsize
        self.declared_nodata: float | None = dataset.nodata
        self.num_bands: int = dataset.count
        self.band_names: tuple[str | None, ...] = tuple(dataset.descriptions)
        self.scales = tuple((dataset.scales[band - 1], dataset.offsets[band - 1]) for band in self._bands)
        self._mask = choose_mask(dataset, self._bands, self.dtype, nodata, alpha)

    def read_channels(self, channels: Sequence[int]) -> None:
        """Read other channels of the file from now on, 0-based; the notes stay."""
        notes = self.notes
        self._set_up(channels, self._nodata)
        self.notes = notes

    def _notes(self, channels: Sequence[int] | None, nodata: float | None, alpha: int | None) -> list[RasterNote]:
        notes = header_notes(self._dataset, self._bands)
        if channels is None and (text := alpha_note(self._dataset, alpha)):
            notes.append(RasterNote("channel_order", text))
        if nodata is not None and as_dtype(nodata, self.dtype) is None:
            notes.append(
                RasterNote("nodata", f"nodata {nodata:g} is no value of {self.dtype} pixels: it has no effect")
            )
        return notes

    def _chosen_bands(self, channels: Sequence[int] | None, alpha: int | None) -> list[int]:
        count = self._dataset.count
        if channels is None:
            return [band for band in range(1, count + 1) if band != alpha] or list(range(1, count + 1))
        wrong = [channel for channel in channels if not 0 <= channel < count]
        if wrong:
            raise SourceFieldError(
                f"the image of scene {self._scene_id!r} has no channel {wrong[0]}",
                field="channel_order",
                where=self.uri,
                why=f"it has {count} bands, which are the channels 0 to {count - 1}",
            )
        return [channel + 1 for channel in channels]

    def _common_dtype(self) -> np.dtype[Any]:
        dtypes = {self._dataset.dtypes[band - 1] for band in self._bands}
        dtype = np.dtype(min(dtypes))
        if len(dtypes) > 1 or dtype.kind not in "iuf":
            raise DataError(
                f"the channels of scene {self._scene_id!r} cannot be one array",
                where=self.uri,
                why=f"their dtypes are {', '.join(sorted(dtypes))}; all must be the same kind of real number",
            )
        return dtype

    def read(self, window: Window) -> Pixels:
        """The pixels of a window inside the file.

        Raises:
            DataError: if GDAL cannot read it, for instance because the file is cut short.
        """
        alpha, mask_bands = self._mask.alpha, self._mask.mask_bands
        bands = self._bands if alpha is None else [*self._bands, alpha]
        values = np.empty((window.height, window.width, len(bands)), self.stored_dtype)
        box = rasterio_window(window)
        want(self._dataset, bands, window)
        try:
            # GDAL writes straight into the channels-last array through this view.
            self._dataset.read(bands, window=box, out=values.transpose(2, 0, 1))
            mask = self._dataset.read_masks(list(mask_bands), window=box).min(axis=0) if mask_bands else None
        except GDAL_ERRORS as err:
            raise read_error(self._scene_id, self.uri, window, failure_of(self._dataset, err)) from err
        if alpha is not None:
            values, mask = np.ascontiguousarray(values[..., :-1]), values[..., -1]
        return Pixels(values, valid_pixels(values, self._mask.nodata, mask))

    def announce(self, windows: Iterable[Window]) -> None:
        """Say which windows will be read next, in order: those of a remote file are fetched ahead."""
        announce(self._dataset, self._bands, windows)

    def alpha_doubt(self) -> RasterNote | None:
        """Whether the alpha band that is the mask holds more than "nothing" and "all": three blocks are read.

        Raises:
            DataError: if they cannot be read.
        """
        alpha = self._mask.alpha
        if alpha is None:
            return None
        rows, cols = self.block_shape
        for row, col in ((0, 0), (self.grid.height // 2, self.grid.width // 2), (self.grid.height - 1, 0)):
            block = Window(row // rows * rows, col // cols * cols, rows, cols)
            box = block.intersection(Window(0, 0, self.grid.height, self.grid.width))
            try:
                values = self._dataset.read(alpha, window=rasterio_window(box))
            except GDAL_ERRORS as err:
                raise read_error(self._scene_id, self.uri, box, err) from err
            full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
            share = float(np.isin(values, (0, full, 255)).mean())
            if share < _MASK_LIKE:
                text = (
                    f"band {alpha} is taken as the mask, and {1 - share:.0%} of its pixels are neither empty nor full"
                )
                return RasterNote("channel_order", f"{text}: is it data (near infrared)?")
        return None

    @property
    def dataset(self) -> Any:
        """The open dataset of rasterio."""
        return self._dataset

    @property
    def bands(self) -> list[int]:
        """The bands that are read, 1-based."""
        return self._bands

    @property
    def alpha(self) -> int | None:
        """The alpha band that tells what is valid, 1-based."""
        return self._mask.alpha

    @property
    def warp_nodata(self) -> float | None:
        """The value that means "no data" in every band that is read; None where there is none, or several."""
        values = set(self._mask.nodata)
        if not values and self._nodata is None and self._mask.mask_bands and self.dtype.kind == "f":
            values = {self.declared_nodata}
        (value,) = values if len(values) == 1 else (None,)
        return None if value is None else float(value)

    def scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """What numbers of the file mean: they themselves, unless scales are applied."""
        return values

    def covers_something(self) -> bool:
        """Always: a file lies on its own grid."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()


def read_error(scene_id: str, uri: str, window: Window, err: Exception) -> RvError:
    """What to raise where GDAL failed to read a window."""
    if isinstance(err, RvError):  # what its server said
        return err
    place = f"rows {window.row_off} to {window.row_end - 1}, columns {window.col_off} to {window.col_end - 1}"
    return DataError(
        f"pixels of scene {scene_id!r} cannot be read",
        where=f"{uri}, {place}",
        why=f"{uris.conceal(reason_of(err), uri)}; the file may be cut short or damaged",
        fix="copy or download the file again",
    )


def rasterio_window(window: Window) -> Any:
    """The same window as rasterio takes it."""
    return rasterio.windows.Window(window.col_off, window.row_off, window.width, window.height)
