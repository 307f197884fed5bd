"""The results of a root as records: what the files say, and an error for what is not there or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import DataError, UsageError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import results

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


@pytest.fixture
def root(storage: Storage) -> str:
    """A root with what train, predict and eval write."""
    epochs = [{"epoch": 1, "validation_macro_f1": 0.5}, {"epoch": 2, "validation_macro_f1": 0.6}]
    storage.write_text("train/history.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in epochs))
    storage.write_text("train/metrics.json", json.dumps({"train": {"accuracy": 0.9}}))
    storage.write_text("eval/test/eval.json", json.dumps({"subset": "test", "overall": {"accuracy": 0.5}}))
    for folder in ("predict", "eval/test"):
        storage.write_text(f"{folder}/s.geojson", collection(folder))
    return storage.root_uri


def collection(folder: str) -> str:
    cells: list[dict[str, Any]] = [{"outcome": "right", "margin": 0.9}, {"outcome": "wrong", "margin": 0.2}]
    cells += [{"outcome": "wrong", "margin": 0.7}, {"outcome": "not predicted", "margin": None}]
    cells = [{**cell, "scene": "s"} for cell in cells] if folder != "predict" else [{"class_id": 1, "scene": "s"}]
    features = [{"type": "Feature", "properties": cell, "geometry": SQUARE} for cell in cells]
    return json.dumps({"type": "FeatureCollection", "features": features})


def test_results_are_what_the_files_say(root: str) -> None:
    found = results(root)
    assert found.metrics == {"test": {"subset": "test", "overall": {"accuracy": 0.5}}}
    assert found.training == {"train": {"accuracy": 0.9}}
    assert [epoch["validation_macro_f1"] for epoch in found.history] == [0.5, 0.6]
    assert found.scene_ids == ["s"]
    assert list(found.predictions("s")) == [{"class_id": 1, "scene": "s", "geometry": SQUARE}]
    assert len(found.outcomes("test")) == 4
    assert [cell["margin"] for cell in found.errors("test")] == [0.7, 0.2], "the surest first"


def test_what_is_not_there_is_named(root: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no scene named 'z'"):
        results(root).predictions("z")
    with pytest.raises(UsageError, match="no evaluation of the subset 'validation'"):
        results(root).outcomes("validation")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no results of a chip classification"):
        results(str(tmp_path / "empty"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"features": [1]}', "[" * 10_000])
def test_damaged_files_are_errors_that_name_the_file(storage: Storage, root: str, text: str) -> None:
    for name in ("predict/s.geojson", "eval/test/eval.json"):
        storage.write_text(name, text, may_change=True)
    with pytest.raises(DataError, match=r"predict/s\.geojson"):
        results(root).predictions("s")
    if text != '{"features": [1]}':
        with pytest.raises(DataError, match=r"eval/test/eval\.json"):
            _ = results(root).metrics


@pytest.mark.slow
def test_frames_are_made_where_their_libraries_are(root: str) -> None:
    pandas = pytest.importorskip("pandas")
    assert isinstance(results(root).history.frame(), pandas.DataFrame)
    geopandas = pytest.importorskip("geopandas")
    frame = results(root).outcomes("test").frame()
    assert isinstance(frame, geopandas.GeoDataFrame)
    assert frame.crs == "EPSG:4326"
    assert frame.total_bounds.tolist() == [0, 0, 1, 1]


def test_without_the_library_it_is_named(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        results(root).history.frame()
