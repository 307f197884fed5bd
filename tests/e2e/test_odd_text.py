"""Text that is no UTF-8 – file names of old disks – in configs, items and folders; saved configs and code that are damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import RvCli

PIPELINE = """
import os
from dataclasses import dataclass, field
from pathlib import Path
from rv_core import Items, Pipeline, PipelineConfig, Uri, command

@dataclass
class OddConfig(PipelineConfig):
    names: list[str]
    folder: str = ""
    image: Uri | None = None
    words: dict[str, str] = field(default_factory=dict)
    def build(self): return Odd(self)

def listed(config):
    return sorted(os.listdir(config.folder)) if config.folder else config.names

class Odd(Pipeline):
    @command(items=listed, reads=("words",))
    def work(self, names: Items[str]) -> None:
        for name in names:
            print("a name of an old disk:", "caf" + chr(0xdce9) + ".tif")
            self.storage.write_text(f"work/{name}.txt", "x")

def get_config(runner: str, root_uri: str, folder: str = "", odd: str = "", text: str = ""):
    name = "caf" + chr(0xdce9) + ".tif"
    fields = {"names": ["a"], "words": {"k": "v"}, "folder": folder}
    odd_ones = {"names": [name], "words": {name: "v"}, "folder": name, "image": name}
    return OddConfig(root_uri=root_uri, **{**fields, **({odd: odd_ones[odd]} if odd else {})})
"""
ODD = os.fsdecode(b"caf\xe9.tif")


@pytest.fixture(autouse=True)
def module(tmp_path: Path) -> Path:
    path = tmp_path / "odd.py"
    path.write_text(PIPELINE)
    return path


@pytest.mark.parametrize(
    ("field", "place"), [("names", "names[0]"), ("image", "image"), ("words", "words"), ("folder", "folder")]
)
def test_a_field_with_bytes_that_are_no_text_is_named(rv: RvCli, field: str, place: str) -> None:
    for words in (["run", "inprocess", "odd.py"], ["check", "odd.py"]):
        done = rv(*words, "-a", "root_uri=out", "-a", f"odd={field}")
        assert done.returncode == 2, done.stderr
        assert f"- {place}" in done.stderr and "caf\\udce9.tif" in done.stderr and "no UTF-8" in done.stderr


def test_an_argument_with_bytes_that_are_no_text_is_named(rv: RvCli) -> None:
    done = rv("run", "inprocess", "odd.py", "-a", "root_uri=out", "-a", f"text={ODD}")
    assert done.returncode == 2
    assert "-a text: 'caf\\udce9.tif' is no text that can be saved" in done.stderr


def test_an_item_that_is_no_text_is_named(rv: RvCli, tmp_path: Path) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    (folder / ODD).touch()
    done = rv("run", "inprocess", "odd.py", "-a", "root_uri=out", "-a", f"folder={folder}")
    assert done.returncode == 2
    assert "plan error: the id 'caf\\udce9.tif' of an item holds bytes that are no UTF-8" in done.stderr


def test_a_working_folder_that_is_no_text_is_told_and_does_not_matter_to_absolute_roots(
    rv: RvCli, tmp_path: Path, module: Path
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    done = rv("run", "inprocess", module, "-a", "root_uri=out", cwd=folder)
    assert done.returncode == 2
    assert "root_uri" in done.stderr and "no UTF-8" in done.stderr and "run from a folder" in done.stderr
    done = rv("run", "inprocess", module, "-a", f"root_uri={tmp_path / 'out'}", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert rv("status", tmp_path / "out").returncode == 0


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_printing_a_name_that_is_no_text_fails_no_task(rv: RvCli, runner: str) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    done = rv("run", runner, "odd.py", "-a", "root_uri=out", env={"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert "a name of an old disk: caf\\udce9.tif" in rv("logs", "out", "work").stdout


def saved(rv: RvCli, tmp_path: Path) -> dict[str, Any]:
    assert rv("run", "inprocess", "odd.py", "-a", "root_uri=out").returncode == 0
    plain: dict[str, Any] = json.loads((tmp_path / "out/pipeline-config.json").read_text())
    return plain


@pytest.mark.parametrize(
    "code",
    [
        {"names": 5},
        pytest.param({"names": [5]}, marks=pytest.mark.slow),
        {"names": ["a\0b"]},
        {"folder": [1]},
        pytest.param({"folder": 5}, marks=pytest.mark.slow),
        pytest.param({"folder": "a\0b"}, marks=pytest.mark.slow),
        pytest.param({"module": 5}, marks=pytest.mark.slow),
        {"sha256": None},
        pytest.param({"archive": ["x"]}, marks=pytest.mark.slow),
    ],
)
def test_code_of_a_saved_config_that_is_none_is_refused(rv: RvCli, tmp_path: Path, code: dict[str, Any]) -> None:
    plain = saved(rv, tmp_path)
    plain["rv"]["code"].update(code)
    (tmp_path / "c.json").write_text(json.dumps(plain))
    for words in (["check"], ["run", "inprocess"], ["config", "show"]):
        done = rv(*words, "c.json")
        assert done.returncode == 2, done.stderr
        assert "is not what rv writes" in done.stderr


def test_half_a_character_in_a_saved_config_is_named(rv: RvCli, tmp_path: Path) -> None:
    plain = saved(rv, tmp_path)
    plain["config"]["names"] = ["a\ud800"]
    (tmp_path / "c.json").write_text(json.dumps(plain))
    for words in (["check", "c.json"], ["run", "inprocess", "c.json"]):
        done = rv(*words)
        assert done.returncode == 2
        assert "names[0]" in done.stderr and "'a\\ud800'" in done.stderr and "no UTF-8" in done.stderr


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", None])
def test_damaged_code_of_the_root_is_mended_by_the_next_run_of_the_module(
    rv: RvCli, tmp_path: Path, damage: bytes | None
) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    assert rv("run", "local", "odd.py", "-a", "root_uri=out").returncode == 0
    (archive,) = (tmp_path / "out/.rv/code").iterdir()
    good = archive.read_bytes()
    archive.write_bytes(bytes([*good[:-30], good[-30] ^ 1, *good[-29:]]) if damage is None else damage)
    (tmp_path / "out" / "work" / "a.txt").unlink()
    done = rv("run", "local", "odd.py", "-a", "root_uri=out")
    assert done.returncode == 0, done.stderr
    assert archive.read_bytes() == good
    assert (tmp_path / "out" / "work" / "a.txt").read_text() == "x"
