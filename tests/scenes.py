"""Small scenes for tests: a GeoTIFF and the GeoJSON labels of its cells, the same bytes of pixels every time.

A scene is a chessboard of cells of 16 px. Each cell has one of three classes, and its pixels the colour of that class
with some noise, so that a model learns it within seconds. Metres in UTM zone 18 north, one metre a pixel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASS_NAMES = ("forest", "shrub", "rock")
CELL_PX = 16
UTM = "EPSG:32618"
ORIGIN = (500_000.0, 4_500_000.0)

_COLORS = np.array([[40, 120, 50], [150, 160, 60], [190, 180, 170]], np.int64)


def cell_classes(size_px: int, seed: int) -> NDArray[np.int64]:
    """The class ids of a scene's cells, (rows, columns) int64; every class occurs."""
    cells_a_side = size_px // CELL_PX
    ids = np.arange(cells_a_side**2, dtype=np.int64) % len(CLASS_NAMES)
    return np.random.default_rng(seed).permutation(ids).reshape(cells_a_side, cells_a_side)


def write_scene(folder: Path, scene_id: str, *, size_px: int = 64, seed: int = 0) -> None:
    """Write `<scene_id>.tif` (3 bands of uint8) and `<scene_id>.geojson` (a square per cell) into a folder.

    Args:
        folder: created if it is not there.
        scene_id: names the files.
        size_px: side of the image, a multiple of the cell's.
        seed: of classes and noise; scenes also differ by it in where they lie.
    """
    folder.mkdir(parents=True, exist_ok=True)
    classes = cell_classes(size_px, seed)
    origin = origin_of(seed)
    write_image(folder / f"{scene_id}.tif", pixels_of(classes, seed), origin=origin)
    squares = [
        (square(row * CELL_PX, col * CELL_PX, CELL_PX, origin=origin), {"class_name": CLASS_NAMES[class_id]})
        for (row, col), class_id in np.ndenumerate(classes)
    ]
    write_geojson(folder / f"{scene_id}.geojson", squares)


def origin_of(seed: int) -> tuple[float, float]:
    """Where the first corner of a scene lies: easting and northing, metres in UTM zone 18 north."""
    return (ORIGIN[0] + 10_000.0 * seed, ORIGIN[1])


def write_dataset(folder: Path, **seeds_of: Sequence[int]) -> Path:
    """Scenes by subset: `write_dataset(folder, train=[1, 2], validation=[3])` writes train-1, train-2, validation-3."""
    for subset, seeds in seeds_of.items():
        for seed in seeds:
            write_scene(folder, f"{subset}-{seed}", seed=seed)
    return folder


def pixels_of(classes: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) uint8 of cells, never 0."""
    colors = _COLORS[classes].repeat(CELL_PX, axis=0).repeat(CELL_PX, axis=1)
    noise = np.random.default_rng([seed, 1]).integers(-20, 21, colors.shape)
    return (colors + noise).astype(np.uint8)


def write_image(
    path: Path, pixels: NDArray[Any], *, origin: tuple[float, float] = ORIGIN, crs: str | None = UTM
) -> None:
    """Write (H, W, C) as a tiled GeoTIFF with its first corner at `origin` (easting, northing)."""
    import rasterio

    profile = {
        "driver": "GTiff", "height": pixels.shape[0], "width": pixels.shape[1], "count": pixels.shape[2],
        "dtype": pixels.dtype, "crs": crs, "transform": rasterio.Affine(1, 0, origin[0], 0, -1, origin[1]),
        "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def square(
    row: float, col: float, size_px: float, *, origin: tuple[float, float] = ORIGIN
) -> list[tuple[float, float]]:
    """The closed ring of a square of pixels, as (longitude, latitude)."""
    from rasterio.warp import transform

    corners = [(row, col), (row + size_px, col), (row + size_px, col + size_px), (row, col + size_px), (row, col)]
    lons, lats = transform(UTM, "EPSG:4326", [origin[0] + c for _, c in corners], [origin[1] - r for r, _ in corners])
    return list(zip(lons, lats, strict=True))


def write_geojson(path: Path, features: Iterable[tuple[Sequence[Sequence[float]], dict[str, Any]]]) -> None:
    """Write polygons, each a closed ring and its properties."""
    written = [
        {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        for ring, properties in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": written}))


def cut_in_half(path: Path) -> None:
    """Keep the first half of a file's bytes, as a broken download does."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
