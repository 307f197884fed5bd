"""What whole commands cost: `rv run local` of chip, eval and bundle on 16 scenes of 1024 px, every process counted.

Each is beside a process that does nothing but read every block with bare rasterio and write the pixels. With
`--beside COMMIT` the same commands of another commit of this repository take turns with them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
from bench_chip import read_and_write
from measurement import Report, main, sources_of, usage_of

LIMITS_S = {"chip": 1.25, "eval": 0.95, "bundle": 0.95}
SUBSETS = {"train": 8, "validation": 4, "test": 4}
SIDE_PX, CELL_PX = 1024, 64
ROUNDS = 5
MODULE = """
from pathlib import Path
from rv_pipeline_chip_classification import (
    ChipClassificationConfig, ChipConfig, ClassConfig, DatasetConfig, GeoJsonLabelsConfig, ModelConfig,
    RasterSourceConfig, SceneConfig, TrainConfig,
)

def get_config(root_uri: str, data: str):
    def scenes(subset):
        return [
            SceneConfig(
                id=image.stem,
                raster=RasterSourceConfig(uris=[str(image)]),
                labels=GeoJsonLabelsConfig(uri=str(image.with_suffix(".geojson"))),
            )
            for image in sorted(Path(data).glob(f"{subset}-*.tif"))
        ]
    return ChipClassificationConfig(
        root_uri=root_uri,
        classes=ClassConfig(names=["forest", "shrub", "rock", "water"]),
        dataset=DatasetConfig(
            train_scenes=scenes("train"), validation_scenes=scenes("validation"), test_scenes=scenes("test")
        ),
        chip=ChipConfig(chip_size_px=64),
        model=ModelConfig(backbone="small_cnn"),
        train=TrainConfig(num_epochs=1),
    )
"""


def write_scenes(folder: Path) -> None:
    """Sixteen tiled, deflated GeoTIFFs of 3 x uint8, with a labelled polygon per cell, 2 km apart."""
    names = [f"{subset}-{index}" for subset, count in SUBSETS.items() for index in range(count)]
    for number, name in enumerate(names):
        rng, left = np.random.default_rng(number), 500_000 + 2000 * number
        cells = rng.integers(0, 4, (SIDE_PX // CELL_PX, SIDE_PX // CELL_PX))
        pixels = np.kron(cells, np.ones((CELL_PX, CELL_PX), int))
        image = np.clip(40 + 50 * pixels + rng.normal(0, 12, (3, SIDE_PX, SIDE_PX)), 1, 255).astype(np.uint8)
        profile = {
            "driver": "GTiff", "height": SIDE_PX, "width": SIDE_PX, "count": 3, "dtype": "uint8", "crs": "EPSG:32618",
            "transform": rasterio.Affine(1, 0, left, 0, -1, 4_500_000), "tiled": True, "blockxsize": 256,
            "blockysize": 256, "compress": "deflate",
        }  # fmt: skip
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as file:
            file.write(image)
        (folder / f"{name}.geojson").write_text(json.dumps(_labels(cells, left)))


def _labels(cells: np.ndarray, left: int) -> dict[str, object]:
    features = []
    for (row, col), class_id in np.ndenumerate(cells):
        x, y, side = left + int(col) * CELL_PX, 4_500_000 - int(row) * CELL_PX, CELL_PX
        ring = [[x, y], [x, y - side], [x + side, y - side], [x + side, y], [x, y]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"class_id": int(class_id)}, "geometry": geometry})
    crs = {"type": "name", "properties": {"name": "EPSG:32618"}}
    return {"type": "FeatureCollection", "crs": crs, "features": features}


class Commands:
    """The commands of one commit, on a root and a cache folder of its own.

    Args:
        folder: where both are made; the scenes are in `data` in the folder above.
        sources: folders whose code is used instead of what is installed.
    """

    def __init__(self, folder: Path, sources: list[Path]) -> None:
        folder.mkdir()
        (folder / "bench.py").write_text(MODULE)
        self._folder = folder
        self._environ: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "RV_CACHE_DIR": str(folder / "cache"),
            **({"PYTHONPATH": os.pathsep.join(map(str, sources))} if sources else {}),
        }
        self.cpu_s()  # everything once: what the commands require, and files compiled by Python

    def cpu_s(self, *commands: str) -> float:
        """CPU seconds of `rv run` of these commands and of all processes that it starts."""
        argv = [sys.executable, "-m", "rv_core", "-q", "run", "local", str(self._folder / "bench.py"), *commands]
        argv += ["--rerun", "-a", f"root_uri={self._folder / 'root'}", "-a", f"data={self._folder.parent / 'data'}"]
        return usage_of(argv, environ=self._environ).cpu_s


def run(report: Report) -> None:
    """Measure the commands in turns with the bare process and, where one is named, another commit."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "data").mkdir()
        write_scenes(folder / "data")
        here = Commands(folder / "here", [])
        other = None
        if report.beside:
            other = Commands(folder / "other", stack.enter_context(sources_of(report.beside, folder)))
        for command, limit_s in LIMITS_S.items():
            _measure(report, command, limit_s, here, other, folder)


def _measure(
    report: Report, command: str, limit_s: float, here: Commands, other: Commands | None, folder: Path
) -> None:
    bare_argv = [sys.executable, __file__, "--bare", str(folder / "data"), str(folder / "bare")]
    for commands in filter(None, (here, other)):
        commands.cpu_s(command)  # its files have been looked at before
    costs: dict[str, list[float]] = {"here": [], "bare": [], "other": []}
    for _ in range(ROUNDS):
        costs["bare"].append(usage_of(bare_argv).cpu_s)
        costs["here"].append(here.cpu_s(command))
        if other is not None:
            costs["other"].append(other.cpu_s(command))
    medians = {name: statistics.median(values) for name, values in costs.items() if values}
    note = f"bare read and write {medians['bare']:.2f} s"
    if other is not None:
        note += f"; {report.beside[:12]} {medians['other']:.2f} s"
    report(
        f"rv run local {command}, {sum(SUBSETS.values())} scenes of {SIDE_PX} px",
        medians["here"],
        limit_s,
        unit="s",
        note=note,
    )


def read_and_write_all(data: Path, target: Path) -> None:
    """Each block of each image once with bare rasterio, and its pixels to a file."""
    for image in sorted(data.glob("*.tif")):
        read_and_write(image, target)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        read_and_write_all(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(main(run))
