"""Packages made visible to fresh processes without installing them: their sources and a `.dist-info` on the path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def install_sources(site: Path, distribution: str, sources: Path, entry_points: Mapping[str, str]) -> None:
    """Make a folder with sources look installed.

    Args:
        site: a folder that goes on the path.
        distribution: the distribution's name.
        sources: the folder that holds its packages.
        entry_points: name -> module, in the group `rv`.
    """
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[rv]", *lines, ""]))
    for package in sources.iterdir():
        if package.name != "__pycache__" and not (site / package.name).exists():
            (site / package.name).symlink_to(package)


def python_path(*folders: Path) -> str:
    """PYTHONPATH with some folders in front."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH", "")])])
