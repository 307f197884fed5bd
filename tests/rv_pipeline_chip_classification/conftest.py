"""Fixtures for the tests of the pipeline: small rasters and label files, written where a test wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.model.openmp import wait_passively

wait_passively()  # as the commands do, before a test loads torch

UTM = "EPSG:32618"
ORIGIN = (500_000.0, 4_500_000.0)


@pytest.fixture
def write_image(tmp_path: Path) -> Callable[..., str]:
    """`write_image("a.tif", array)` writes a tiled GeoTIFF from (H, W, C) (or (H, W)) and returns its path.

    Options: pixel (map units), origin (x, y of the first corner), crs, names (band descriptions), mask ((H, W) bool,
    an internal mask band), and anything that rasterio takes.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    def write(name: str, array: np.ndarray, **options: Any) -> str:
        bands = array[..., None] if array.ndim == 2 else array
        pixel, origin = options.pop("pixel", 1.0), options.pop("origin", ORIGIN)
        names, mask, crs = options.pop("names", ()), options.pop("mask", None), options.pop("crs", UTM)
        colors = options.pop("colorinterp", None)
        profile: dict[str, Any] = {
            "driver": "GTiff", "height": bands.shape[0], "width": bands.shape[1], "count": bands.shape[2],
            "dtype": bands.dtype, "tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate",
        }  # fmt: skip
        if crs is not None:
            profile |= {"crs": crs, "transform": rasterio.Affine(pixel, 0, origin[0], 0, -pixel, origin[1])}
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            opened = _quietly(NotGeoreferencedWarning, rasterio.open, path, "w", **{**profile, **options})
            with opened as file:
                file.write(np.ascontiguousarray(bands.transpose(2, 0, 1)))
                for band, description in enumerate(names, 1):
                    file.set_band_description(band, description)
                if colors is not None:
                    file.colorinterp = colors
                if mask is not None:
                    file.write_mask(mask)
        return str(path)

    return write


def _quietly(category: type[Warning], function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        return function(*arguments, **options)


@pytest.fixture
def write_labels(tmp_path: Path) -> Callable[..., str]:
    """`write_labels("a.geojson", [(polygon, properties), …])` writes polygons given in pixels of a `write_image` image.

    A polygon is a list of (col, row) corners, not closed, or ready geometry. `crs=None` keeps pixels as they are;
    otherwise they are brought to EPSG:4326.
    """

    def write(
        name: str,
        features: Iterable[tuple[Any, Mapping[str, Any]]],
        *,
        crs: str | None = UTM,
        pixel: float = 1.0,
        origin: tuple[float, float] = ORIGIN,
    ) -> str:
        def position(corner: tuple[float, float]) -> list[float]:
            if crs is None:
                return list(corner)
            return to_lonlat(crs, origin[0] + corner[0] * pixel, origin[1] - corner[1] * pixel)

        written = []
        for shape, properties in features:
            geometry = shape
            if isinstance(shape, list):
                ring = [position(corner) for corner in [*shape, shape[0]]]
                geometry = {"type": "Polygon", "coordinates": [ring]}
            written.append({"type": "Feature", "properties": dict(properties), "geometry": geometry})
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"type": "FeatureCollection", "features": written}))
        return str(path)

    return write


def to_lonlat(crs: str, x: float, y: float) -> list[float]:
    """One point in longitude and latitude."""
    from rasterio.warp import transform

    xs, ys = transform(crs, "EPSG:4326", [x], [y])
    return [xs[0], ys[0]]


@pytest.fixture
def square() -> Callable[..., list[tuple[float, float]]]:
    """`square(row, col, height, width)` as corners (col, row)."""

    def corners(row: float, col: float, height: float, width: float | None = None) -> list[tuple[float, float]]:
        width = height if width is None else width
        return [(col, row), (col, row + height), (col + width, row + height), (col + width, row)]

    return corners


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """A storage under a fresh local root."""
    return Storage(str(tmp_path / "root"))


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    """`pixels(height, width, channels)` gives random uint16 pixels, never 0, the same every time."""

    def make(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(1, 60_000, (height, width, channels), dtype=np.uint16)

    return make


CHANNELS = ("red", "green", "blue")
CLASSES = ("forest", "shrub", "rock")


@pytest.fixture
def make_contract() -> Callable[..., Any]:
    """`make_contract(chip_size_px=8)`: the contract of a small CNN on three uint16 channels and three classes."""
    from rv_pipeline_chip_classification.model.contract import ModelContract
    from rv_pipeline_chip_classification.model.normalize import Normalization

    def make(**changes: Any) -> ModelContract:
        channels = changes.pop("channels", CHANNELS)
        count = len(channels)
        fields: dict[str, Any] = {
            "backbone": "small_cnn", "channels": channels, "dtype": "uint16",
            "normalization": Normalization("none", (0.0,) * count, (1 / 65535,) * count),
            "class_names": CLASSES, "class_colors": ("#1c6330", "#ccba7c", "#b2ada3"),
            "chip_size_px": 16, "cell_size_px": 16,
        }  # fmt: skip
        return ModelContract(**{**fields, **changes})

    return make


@pytest.fixture
def write_trained(make_contract: Callable[..., Any]) -> Callable[..., Any]:
    """`write_trained(storage, seed=1)` leaves a model with random weights as `train` does; returns its contract."""
    import torch

    from rv_pipeline_chip_classification.model.backbones import build_model
    from rv_pipeline_chip_classification.model.weights import save_weights

    def write(storage: Storage, *, seed: int = 1, **changes: Any) -> Any:
        contract = make_contract(**changes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(contract.backbone, contract.num_channels, contract.num_classes)
        with storage.output_file("train/model.safetensors") as path:
            save_weights(model.state_dict(), path)
        storage.write_text("train/model.json", json.dumps(contract.to_json()))
        storage.write_text("train/metrics.json", json.dumps({"train": {"accuracy": 0.5}, "validation": None}))
        return contract

    return write


@pytest.fixture
def bundle(storage: Storage, write_trained: Callable[..., Any]) -> str:
    """The path of a bundle of a model with random weights."""
    from rv_pipeline_chip_classification.commands.bundle import run_bundle
    from rv_pipeline_chip_classification.config import ChipClassificationConfig, ClassConfig, DatasetConfig

    write_trained(storage)
    config = ChipClassificationConfig(
        root_uri=storage.root_uri, classes=ClassConfig(names=["a"]), dataset=DatasetConfig(train_scenes=[])
    )
    run_bundle(config, storage)
    return str(storage.input_file("bundle/model-bundle.zip"))


@pytest.fixture
def brightest_channel() -> Callable[..., Any]:
    """`brightest_channel()`: a model whose answer is the channel with the largest mean; as many classes as channels."""
    from torch import Tensor, nn

    class BrightestChannel(nn.Module):
        def forward(self, chips: Tensor) -> Tensor:
            return 10 * chips.mean((2, 3))

    return BrightestChannel
