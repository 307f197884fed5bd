"""The section Start as a new user takes it: an empty environment, its steps as printed, a map in under ten minutes."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from pathlib import Path

import pytest
from tests.docs.guide_blocks import Command, blocks, tried
from tests.docs.page_fences import fences

_DOCS = Path(__file__).parent.parent.parent / "docs"
#: The folder that `make dist` leaves, given by the nox session `start`.
_DIST = os.environ.get("RV_DIST")
#: Where packages come from is a matter of the machine; all else is left behind.
_KEPT = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
_LIMIT_S = 600


def install_steps() -> list[Command]:
    """The first block of the page of installing, without `make dist`, which has been run."""
    fence = next(fences(_DOCS / "install.md"))
    steps = list(blocks(f"```console\n{fence.body}```\n"))
    assert next(step.text for step in steps if isinstance(step, Command)) == "make dist"
    return [step for step in steps[1:] if isinstance(step, Command)]


def test_the_steps_of_installing_are_read_from_the_page() -> None:
    texts = [step.text for step in install_steps()]
    assert texts[0].startswith("python3 -m venv")
    assert "--find-links dist" in texts[1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not _DIST, reason="no folder of built packages (RV_DIST): nox -s start")
def test_a_new_user_has_a_map_in_under_ten_minutes(tmp_path: Path) -> None:
    (tmp_path / "dist").symlink_to(str(_DIST))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys._base_executable)
    environ = {**_KEPT, "HOME": str(tmp_path / "home"), "PATH": f"{tmp_path / 'bin'}:{os.defpath}", "LANG": "C.UTF-8"}
    (tmp_path / "home").mkdir()
    assert shutil.which("rv", path=environ["PATH"]) is None, "rv is on the bare PATH: nothing would be proved"
    steps = [*install_steps(), *blocks((_DOCS / "start.md").read_text(encoding="utf-8"))]
    began, used_before_s = time.monotonic(), cpu_of_children_s()
    done = tried(steps, tmp_path, environ, timeout_s=1700)
    took_s, used_s = time.monotonic() - began, cpu_of_children_s() - used_before_s
    print(f"from nothing to a map in {took_s:.0f} s, {used_s:.0f} s of CPU time")
    assert done.exit_code == 0, done.output[-5000:]
    assert done.wrong() == {}, done.output[-5000:]
    assert (tmp_path / "mine" / "predict" / "synthetic_test_1.tif").is_file()
    # On a machine that others keep busy the clock says little.
    assert min(took_s, used_s) < _LIMIT_S


def cpu_of_children_s() -> float:
    """CPU time of all processes that this one has started and that have ended, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
