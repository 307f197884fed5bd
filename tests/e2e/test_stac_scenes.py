"""Scenes of a STAC API: a run that needs it once, and an item that is replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.scenes import write_dataset
from tests.stac_api import StacApi

if TYPE_CHECKING:
    from tests.conftest import RvCli

pytest.importorskip("rv_pipeline_chip_classification.hooks")

EXPERIMENT = """
from dataclasses import replace
from rv_pipeline_chip_classification import *

def get_config(runner: str, root_uri: str, api: str, collection: str = "c0") -> ChipClassificationConfig:
    items = search_stac(api, {"collections": [collection]}, saved="items.json")
    scenes = [
        replace(scene, labels=GeoJsonLabelsConfig(uri=scene.raster.uris[0].replace(".tif", ".geojson")))
        for scene in scenes_from_stac(items, assets={"all": "B04"})
    ]
    return ChipClassificationConfig(
        root_uri=root_uri, classes=ClassConfig(names=["forest", "shrub", "rock"]),
        dataset=DatasetConfig(train_scenes=scenes), chip=ChipConfig(chip_size_px=16),
    )
"""


def test_the_plan_is_the_same_without_the_server_and_a_replaced_item_is_one_scene(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    data = write_dataset(tmp_path / "data", train=(0, 2, 4, 6))
    for number, path in enumerate(sorted(data.glob("*.tif"))):
        for end in (".tif", ".geojson"):
            path.with_suffix(end).rename(data / f"{2 * number}{end}")
    api = StacApi(data)

    def run(*more: str) -> tuple[int, str]:
        done = rv("run", "inprocess", "experiment.py", "chip", "-a", "root_uri", "out", "-a", "api", api.url, *more)
        return done.returncode, done.stdout + done.stderr

    def items_of_plan() -> Any:
        code, text = run("--dry-run", "--json")
        assert code == 0, text
        (job,) = json.loads(text)["plan"]["jobs"] if "plan" in json.loads(text) else json.loads(text)["jobs"]
        return job

    code, text = run("-a", "collection", "c7")
    assert code == 2 and text.count("the search found no item") == 1 and "Traceback" not in text
    before = items_of_plan()
    requests = api.requests
    api.close()
    assert items_of_plan() == before and api.requests == requests
    code, text = run()
    assert code == 0, text
    saved = json.loads((tmp_path / "items.json").read_text())
    saved["features"][1]["properties"]["updated"] = "2025-01-01T00:00:00Z"
    (tmp_path / "items.json").write_text(json.dumps(saved))
    code, text = run("--dry-run")
    assert code == 0 and "S2_2" in text and "S2_0" not in text, text
