"""Pages on the whole pipeline: every block is run in order, and prints what the page says."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.docs.guide_blocks import Command, blocks, tried

_DOCS = Path(__file__).parent.parent.parent / "docs"
_PAGES = ["labels-and-splits.md", "start.md"]


@pytest.mark.parametrize("page", _PAGES)
def test_every_block_is_run_or_written(page: str) -> None:
    steps = list(blocks((_DOCS / page).read_text(encoding="utf-8")))
    assert sum(isinstance(step, Command) for step in steps) >= 9


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("rasterio") is None, reason="the pipeline is not installed")
@pytest.mark.parametrize("page", _PAGES)
def test_every_block_prints_what_the_page_says(tmp_path: Path, page: str) -> None:
    steps = list(blocks((_DOCS / page).read_text(encoding="utf-8")))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = tried(steps, tmp_path, {**os.environ, "PATH": path})
    assert done.exit_code == 0, done.output[-5000:]
    assert done.wrong() == {}, done.output[-5000:]
