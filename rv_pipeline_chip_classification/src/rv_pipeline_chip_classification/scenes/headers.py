"""What the header of an image says that its user should know: notes, and whether it is georeferenced."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import rasterio
from rasterio.enums import ColorInterp

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.grid import Affine6, Grid


class RasterNote(NamedTuple):
    """One sentence for the user about an image.

    Args:
        field: the field of `RasterSourceConfig` that it is about.
        text: the sentence.
    """

    field: str
    text: str


def grid_of(dataset: Any, *, where: str, what: str) -> Grid:
    """The pixel grid of a dataset; one without a transform has no CRS either, for its positions would mean nothing.

    Raises:
        DataError: if its transform has no inverse.
    """
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    determinant = a * e - b * d
    if not all(map(math.isfinite, (a, b, c, d, e, f, determinant))) or determinant == 0:
        raise DataError(
            f"the transform of the {what} has no inverse",
            where=where,
            why=f"it is {(a, b, c, d, e, f)}: all its pixels lie on one line or point, or nowhere",
            fix="give the file its true transform, for instance with gdal_translate -a_ullr",
        )
    has_place = dataset.crs and dataset.transform != rasterio.Affine.identity()
    crs = dataset.crs.to_wkt() if has_place else None
    return Grid(dataset.height, dataset.width, (a, b, c, d, e, f), crs)


class Misplaced(NamedTuple):
    """Why an image that seems to know its place is read as one that does not.

    Args:
        why: in words.
        fix: what to do about it.
    """

    why: str
    fix: str


def missing_georeference(dataset: Any) -> Misplaced | None:
    """Why the place of an image is not known although its header seems to say it; None where nothing is odd."""
    if dataset.transform != rasterio.Affine.identity():
        return None
    if points := dataset.gcps[0]:
        why = f"it is georeferenced by {len(points)} ground control points alone, which are not used"
        return Misplaced(why, "warp it first (gdalwarp)")
    if dataset.rpcs is not None:
        why = "it is georeferenced by rational polynomials (RPC) alone, which are not used"
        return Misplaced(why, "warp it first (gdalwarp -rpc)")
    if dataset.crs:
        why = "it has a CRS and no transform, so its pixels have no place"
        return Misplaced(why, "give it a transform (gdal_edit.py -a_ullr)")
    return None


def header_notes(dataset: Any, bands: list[int]) -> list[RasterNote]:
    """Sentences about an image, in order; `bands` are those that are read, 1-based."""
    found = []
    if odd := missing_georeference(dataset):
        found.append(RasterNote("uris", f"{odd.why}: its coordinates are pixels; {odd.fix}"))
    if not dataset.crs and dataset.transform != rasterio.Affine.identity():
        text = "it has a transform and no CRS: labels and GeoJSON are in pixels; give it a CRS (gdal_edit.py -a_srs)"
        found.append(RasterNote("uris", text))
    if len(dataset.subdatasets) > 1:
        text = f"the file holds {len(dataset.subdatasets)} images (pages), and the first one is read"
        found.append(RasterNote("uris", text))
    palettes = [band for band in bands if dataset.colorinterp[band - 1] == ColorInterp.palette]
    if palettes:
        text = f"band {palettes[0]} holds numbers of a colour table, not brightness: write its colours into bands"
        found.append(RasterNote("uris", f"{text} (gdal_translate -expand rgb)"))
    return found


def parts_of(dataset: Any) -> str:
    """The parts of a container in words, for a message; "" if it has none."""
    names = [name.rpartition(":")[2].lstrip("/") for name in dataset.subdatasets]
    shown = ", ".join(names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def without_bands(dataset: Any, uri: str, what: str) -> DataError:
    """The error for a container, such as a netCDF of several variables, that holds no bands of its own.

    Args:
        dataset: the open file.
        uri: where it lies.
        what: what it is to be, for instance "image of scene 'a'".
    """
    parts = parts_of(dataset)
    return DataError(
        f"the {what} holds no bands of its own",
        where=uri,
        why=f"its parts are {parts}" if parts else "",
        fix="make a VRT of the part that you mean (gdal_translate -of VRT), and give that",
    )


def pixel_sides(transform: Affine6) -> tuple[float, float]:
    """Width and height of a pixel in map units."""
    a, b, _, d, e, _ = transform
    return math.hypot(a, d), math.hypot(b, e)
