"""Every file that a run leaves under its root, and every field of it, stands on the pages about files."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import TinyRun

pytest.importorskip("rv_pipeline_chip_classification.hooks")

_ROOT = Path(__file__).parent.parent.parent
_OUTPUTS = (_ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
_FORMATS = (_ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
_SOURCES = _ROOT / "rv_pipeline_chip_classification" / "src"
_TINY = Path(__file__).with_name("tiny_experiment.py")
#: Of GeoJSON itself.
_GEOJSON = {"type", "features", "geometry", "coordinates", "properties"}
#: Keys that are names of the user's.
_NAMES = re.compile(r"forest|shrub|rock|(train|validation|test)-\d")


def documented(name: str) -> bool:
    """Whether a file, by its path below the root, stands in the table of files or in those of the core."""
    if name.startswith(".rv/runs/"):
        own = name.split("/", 3)[3]
        kind = f"{own.partition('/')[0]}/" if "/" in own else own
        return bool(re.search(rf"(?<![\w-]){re.escape(kind)}", _FORMATS))
    tour = re.search(r"```\n(pipeline-config.json.*?)```", _FORMATS, re.DOTALL)
    assert tour is not None
    rows = re.findall(r"^\| (`.*?`) \| \w+ \|", _OUTPUTS, re.MULTILINE)
    patterns = [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]
    patterns += re.findall(r"^\S.*?(?:\.json|\.zip)(?= )", tour[1], re.MULTILINE)
    return any(re.fullmatch(re.sub(r"<[^>]+>", "[^/]+", re.escape(pattern)), name) for pattern in patterns)


def files_of(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def undocumented_fields(root: Path) -> set[tuple[str, str]]:
    """(file, field) of what is in the JSON of a root's outputs and on no page."""
    found = set()
    for name in files_of(root):
        if name.startswith(".rv") or name.endswith((".stac.json", "pipeline-config.json")):
            continue  # the test of the core's files looks at these, and a schema of its own describes the item
        for plain in plain_values(root / name):
            found |= {(name, field) for field in fields_of(plain) if not is_told(field)}
    return found


def is_told(field: str) -> bool:
    return f'"{field}"' in _OUTPUTS + _FORMATS or field in _GEOJSON or bool(_NAMES.fullmatch(field))


def plain_values(path: Path) -> Iterator[Any]:
    if path.suffix in (".json", ".geojson"):
        yield json.loads(path.read_text())
    elif path.suffix == ".jsonl":
        yield from map(json.loads, path.read_text().splitlines())
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as bundle:
            yield from (json.loads(bundle.read(name)) for name in bundle.namelist() if name.endswith(".json"))


def fields_of(plain: Any) -> Iterator[str]:
    """The names of all fields, at any depth; below `versions` and `members` they are names of other things."""
    if isinstance(plain, dict):
        for name, value in plain.items():
            yield name
            yield from () if name in ("versions", "members") else fields_of(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from fields_of(value)


def test_every_file_and_field_of_a_run_is_on_the_page_of_its_files(tiny_run: TinyRun) -> None:
    names = files_of(tiny_run.root)
    assert {"train/model.json", "predict/test-4.tif.aux.xml", "eval/test/test-4.png"} <= set(names)
    assert [name for name in names if not documented(name)] == []
    assert undocumented_fields(tiny_run.root) == set()


def test_a_file_or_field_that_is_on_no_page_is_found(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "metrics.json").write_text('{"num_epochs": 1, "baselines": {"guess": {"accuracy": 0}}}')
    assert undocumented_fields(tmp_path) == {("train/metrics.json", "guess")}
    assert not documented("train/guess.json")
    assert not documented(".rv/guess.json")
    assert not documented(".rv/runs/20261129-180425-f82d00/guess.json")


def test_every_name_of_an_output_in_the_sources_is_on_the_page() -> None:
    """Also what no small run writes: masks, the state of a training, the model for other programs."""
    pattern = r'"((?:analyze|chip|train|predict|eval|bundle)/[^"\s]*\.[^"\s]*)"'
    named = {name for path in _SOURCES.rglob("*.py") for name in re.findall(pattern, path.read_text())}
    plain = {re.sub(r"\{[^}]*\}", "x", name.replace(".{ending}", ".gpkg")) for name in named}
    assert {"chip/x.mask.npy", "train/checkpoint.safetensors", "bundle/model.onnx"} <= plain
    assert sorted(name for name in plain if not documented(name)) == []


@pytest.mark.slow
def test_every_file_of_a_run_in_parts_and_of_applied_bundles_is_on_the_pages(
    rv: Any, tiny_run: TinyRun, tmp_path: Path
) -> None:
    parts = ["--set", "predict.max_windows_per_item=8", "--set", "chip.max_windows_per_item=8"]
    more = ["--set", 'bundle_formats=["stac_mlm"]', "--set", 'predict.subsets=["train", "validation", "test"]']
    words = ["-a", f"data={tiny_run.data}", "-a", f"root_uri={tmp_path / 'parts'}", *parts, *more, "--splits", "2"]
    done = rv("run", "local", _TINY, *words, timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr
    bundle = tmp_path / "parts" / "bundle" / "model-bundle.zip"
    applied = [
        "-a",
        f"bundle={bundle}",
        "-a",
        f"images={tiny_run.data}/test-4.tif",
        "-a",
        f"root_uri={tmp_path / 'maps'}",
    ]
    done = rv("run", "inprocess", "rv_pipeline_chip_classification.apply", *applied, timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr
    for root in (tmp_path / "parts", tmp_path / "maps"):
        assert [name for name in files_of(root) if not documented(name)] == []
        assert undocumented_fields(root) == set()
    assert "predict/test-4/1-of-2.scores.npy" in files_of(tmp_path / "parts")
