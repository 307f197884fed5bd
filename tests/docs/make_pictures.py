"""The pictures of the documentation that show pages: `python -m tests.docs.make_pictures` writes them anew.

The steps of docs/sweeps.md are taken as a reader takes them, `rv report` of one of its roots is added, and the pages that
they wrote are opened in headless Chromium: light on a screen, and beside it dark on a telephone. Of a page only the part
is shown that stands below a heading, so that no folder of the machine gets into a picture.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.docs.guide_blocks import blocks, tried
from tests.docs.page_fences import ROOT, steps_text
from tests.e2e.test_reports import browser

IMAGES = ROOT / "docs" / "images"
WIDTHS_PX, BETWEEN_PX = (960, 400), 15


class Picture(NamedTuple):
    """A part of a page.

    Args:
        name: of the file in docs/images.
        page: the file that the steps have written.
        heading: text of the heading at which the picture begins.
        height_px: of the picture.
    """

    name: str
    page: str
    heading: str
    height_px: int


PICTURES = (
    Picture("comparison.png", "sweep.html", "Metrics", 750),
    Picture("report.png", "report.html", "lr-0-001: Maps", 860),
)


def take_steps(folder: Path) -> None:
    """Do what docs/sweeps.md says, in an empty folder, and make a report of one of its roots.

    Raises:
        RuntimeError: with what was printed, where a step failed or printed something else.
    """
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = tried(list(blocks(steps_text(ROOT / "docs" / "sweeps.md"))), folder, environ)
    if done.exit_code or done.wrong():
        raise RuntimeError(f"{done.output}\n{done.wrong()}")
    subprocess.run(["rv", "report", "sweep/lr-0.001", "-o", "report.html"], cwd=folder, env=environ, check=True)


def write_pictures(pages: Path, images: Path, pictures: Sequence[Picture] = PICTURES) -> None:
    """Write pictures of the pages of a folder into another."""
    with browser() as opened:
        for picture in pictures:
            shots = [_shot(opened, pages / picture.page, picture, width) for width in WIDTHS_PX]
            _side_by_side(shots).save(images / picture.name, optimize=True)


def _shot(opened: Any, page: Path, picture: Picture, width_px: int) -> Any:
    from PIL import Image

    scheme = "light" if width_px == max(WIDTHS_PX) else "dark"
    shown = opened.new_page(viewport={"width": width_px, "height": picture.height_px}, color_scheme=scheme)
    shown.goto(page.as_uri())
    top = shown.get_by_role("heading", name=picture.heading, exact=True).bounding_box()["y"] - BETWEEN_PX
    clip = {"x": 0, "y": top, "width": width_px, "height": picture.height_px}
    shot = Image.open(io.BytesIO(shown.screenshot(full_page=True, clip=clip)))
    shown.close()
    return shot.convert("RGB")


def _side_by_side(shots: list[Any]) -> Any:
    from PIL import Image

    width_px = sum(shot.width for shot in shots) + BETWEEN_PX * (len(shots) - 1)
    whole = Image.new("RGB", (width_px, max(shot.height for shot in shots)), "#ced4dc")
    left_px = 0
    for shot in shots:
        whole.paste(shot, (left_px, 0))
        left_px += shot.width + BETWEEN_PX
    return whole


def main() -> None:
    """Write the pictures anew."""
    with tempfile.TemporaryDirectory() as folder:
        take_steps(Path(folder))
        write_pictures(Path(folder), IMAGES)


if __name__ == "__main__":
    main()
