"""What the guides tell a reader to do is done, block after block, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.docs.guide_blocks import Command, File, blocks, missing_lines, tried
from tests.docs.package_index import package_index

_ROOT = Path(__file__).parent.parent.parent
_DOCS = _ROOT / "docs"
#: From an empty folder to a package index.
_WHOLE_GUIDES = ("write-a-runner.md", "write-a-pipeline.md")
GUIDES = (*_WHOLE_GUIDES, "write-a-store.md")
_WHEELS = _ROOT / "build" / "dist"


def steps_of(guide: str) -> list[Command | File]:
    return list(blocks((_DOCS / guide).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of the core as it is now: what nox built (RV_WHEELS), else one built here."""
    if os.environ.get("RV_WHEELS"):
        return Path(os.environ["RV_WHEELS"])
    if find_spec("hatchling") is None:
        pytest.skip("no wheels (RV_WHEELS) and no hatchling to build them with")
    folder = tmp_path_factory.mktemp("wheels")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, "."]
    subprocess.run(argv, cwd=_ROOT / "rv_core", check=True, capture_output=True)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "index"
    folder.mkdir()
    with package_index(folder) as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("guide", GUIDES)
def test_every_block_runs_and_prints_what_the_guide_says(guide: str, wheels: Path, index: str, tmp_path: Path) -> None:
    steps = steps_of(guide)
    folder = tmp_path / "reader"
    folder.mkdir()
    environ = {
        **os.environ,
        "PIP_FIND_LINKS": " ".join(filter(None, [os.environ.get("PIP_FIND_LINKS"), str(wheels)])),
        "PIP_EXTRA_INDEX_URL": " ".join(filter(None, [os.environ.get("PIP_EXTRA_INDEX_URL"), f"{index}/simple/"])),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TWINE_REPOSITORY_URL": f"{index}/upload/",
        "TWINE_USERNAME": "reader",
        "TWINE_PASSWORD": "token",
        "TWINE_NON_INTERACTIVE": "1",
    }
    environ.pop("PYTHONPATH", None)
    done = tried(steps, folder, environ)
    assert done.exit_code == 0, f"$ {done.commands[len(done.printed) - 1].text}\n{done.printed[-1][-5000:]}"
    assert done.wrong() == {}, done.output[-5000:]


@pytest.mark.parametrize("guide", _WHOLE_GUIDES)
def test_a_guide_holds_nothing_that_is_not_tried(guide: str) -> None:
    steps = steps_of(guide)
    assert sum(isinstance(step, Command) for step in steps) > 10
    assert any("twine upload" in step.text for step in steps if isinstance(step, Command))


def test_the_runner_of_the_guide_is_the_example() -> None:
    example = _DOCS / "examples" / "rv_runner_background"
    files = {step.path: step.text for step in steps_of("write-a-runner.md") if isinstance(step, File)}
    own = {path: text for path, text in files.items() if path.startswith("src/")}
    assert set(own) == {f"src/rv_runner_background/{name}.py" for name in ("hooks", "runner")}
    assert {path: (example / path).read_text() for path in own} == own


def test_a_block_that_is_neither_run_nor_written_is_refused() -> None:
    with pytest.raises(ValueError, match="neither run nor written"):
        list(blocks("```python\nprint()\n```\n"))


def test_dots_stand_for_anything_that_is_printed() -> None:
    command = Command("ls", ("run … is done",))
    assert missing_lines(command, "run 17 is done\n") == []
    assert missing_lines(command, "run 17 is on\n") == ["run … is done"]
