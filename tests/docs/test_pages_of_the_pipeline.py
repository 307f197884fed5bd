"""Every step of every page but the guides is taken, in order, and prints what the page says."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.docs.guide_blocks import Command, blocks, tried
from tests.docs.page_fences import PAGES, fences, steps_text
from tests.docs.reader_files import BEFORE
from tests.docs.test_guides import GUIDES

_ROOT = Path(__file__).parent.parent.parent
_PAGES = [
    str(page.relative_to(_ROOT))
    for page in PAGES
    if page.name not in GUIDES and any(fence.is_step for fence in fences(page))
]


def test_the_pages_with_steps_are_found() -> None:
    assert {"README.md", "docs/start.md", "docs/labels-and-splits.md", "docs/reports.md", "rv_core/README.md"} <= set(
        _PAGES
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("rasterio") is None, reason="the pipeline is not installed")
@pytest.mark.parametrize("page", _PAGES)
def test_every_step_prints_what_the_page_says(tmp_path: Path, page: str) -> None:
    steps = list(blocks(steps_text(_ROOT / page)))
    assert any(isinstance(step, Command) for step in steps)
    if page in BEFORE:
        BEFORE[page](tmp_path)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = tried(steps, tmp_path, {**os.environ, "PATH": path})
    assert done.exit_code == 0, done.output[-5000:]
    assert done.wrong() == {}, done.output[-5000:]
