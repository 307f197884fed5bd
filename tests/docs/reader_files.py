"""What a page takes for granted: the files and roots that its reader has when it begins."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def buildings(folder: Path) -> None:
    """Three scenes with polygons of buildings in my-data, and an image in new."""
    import numpy as np
    from tests.scenes import origin_of, pixels_of, square, write_geojson, write_image

    for seed, name in enumerate(("my-data/a", "my-data/b", "my-data/c", "new/d"), start=1):
        path, origin = folder / f"{name}.tif", origin_of(seed)
        path.parent.mkdir(exist_ok=True)
        is_built = np.random.default_rng(seed).random((10, 10)) < 0.3
        write_image(path, pixels_of(np.where(is_built, 2, 0), seed), origin=origin)
        if path.parent.name == "my-data":
            corners = np.argwhere(is_built) * 16
            squares = [(square(row, col, 16, origin=origin), {"class_name": "building"}) for row, col in corners]
            write_geojson(path.with_suffix(".geojson"), squares)


def hello_roots(folder: Path) -> None:
    """Roots of the hello pipeline: out, two that differ, and a folder of two."""
    for root, count in (("out", 3), ("out-a", 3), ("out-b", 4), ("sweep/a", 3), ("sweep/b", 4)):
        words = ["run", "inprocess", "rv_core.hello", "-a", "root_uri", root, "-a", "num_items", str(count), "-q"]
        subprocess.run([sys.executable, "-m", "rv_core", *words], cwd=folder, check=True, timeout=120)


#: Page -> what is made before its steps are taken; the others begin in an empty folder.
BEFORE: Mapping[str, Callable[[Path], None]] = {"README.md": buildings, "docs/reports.md": hello_roots}
