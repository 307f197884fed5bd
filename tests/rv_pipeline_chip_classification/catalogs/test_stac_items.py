"""Scenes from a file of STAC items: channels in order, versions in keys, everything that is wrong at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rv_core.config.validation import schemas
from rv_core.config.values import to_plain, to_short
from rv_core.errors import ConfigError
from rv_pipeline_chip_classification import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    RasterSourceConfig,
    RasterStackConfig,
    SceneConfig,
    scenes_from_stac,
)


def item(name: str, *assets: str, **properties: Any) -> dict[str, Any]:
    hrefs = {key: {"href": f"https://example.com/{name}/{key}.tif"} for key in assets}
    return {"type": "Feature", "stac_version": "1.0.0", "id": name, "properties": properties, "assets": hrefs}


def write(tmp_path: Path, *items: Any) -> str:
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return str(tmp_path / "items.json")


def test_assets_are_channels_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    first, second = item("S2A_1", "B04", "B08", updated="2024-05-01T00:00:00Z"), item("x/y:2", "B08", "B04")
    second["assets"]["B04"] = {"href": "./here/b4.tif", "file:checksum": "1220ab"}
    one, other = scenes_from_stac(write(tmp_path, first, second), {"nir": "B08", "red": "B04"}, grid="red")
    assert one == SceneConfig(
        id="S2A_1",
        raster=RasterStackConfig(
            sources=[
                RasterSourceConfig(uris=["https://example.com/S2A_1/B08.tif"], name="nir"),
                RasterSourceConfig(uris=["https://example.com/S2A_1/B04.tif"], name="red"),
            ],
            grid=1,
        ),
        version="2024-05-01T00:00:00Z",
    )
    assert (other.id, other.version) == ("x-y-2", "1220ab")
    assert other.raster.uris[1] == f"{tmp_path}/here/b4.tif"
    (alone,) = scenes_from_stac(write(tmp_path, first), {"red": "B04"})
    assert alone.raster == RasterSourceConfig(uris=["https://example.com/S2A_1/B04.tif"], name="red")


def test_the_version_of_an_item_enters_keys_and_its_absence_does_not(tmp_path: Path) -> None:
    plain = to_short(scenes_from_stac(write(tmp_path, item("a", "B04")), {"red": "B04"})[0])
    assert "version" not in plain
    replaced = to_short(scenes_from_stac(write(tmp_path, item("a", "B04", version="2")), {"red": "B04"})[0])
    assert replaced == {**plain, "version": "2"}


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = [item("a", "B04"), item("A", "B04"), item("c", "B08"), {"type": "Feature"}, 3]
    with pytest.raises(ConfigError) as failure:
        scenes_from_stac(write(tmp_path, *wrong), {"red": "B04"})
    told = [finding.what for finding in failure.value.block.findings]
    assert "as that of another item does" in told[0]
    assert "no asset 'B04' with an address; its assets are B08" in told[1]
    assert told[2:] == ["it is no item with an id"] * 2


@pytest.mark.parametrize("text", ["", "[]", '{"type": "Catalog"}', '{"type": "FeatureCollection", "features": []}'])
def test_a_file_without_items_is_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "items.json").write_text(text)
    with pytest.raises(ConfigError):
        scenes_from_stac(str(tmp_path / "items.json"), {"red": "B04"})


def test_a_signed_address_is_refused_and_never_shown(tmp_path: Path) -> None:
    signed = item("a", "B04")
    signed["assets"]["B04"]["href"] += "?sig=abcdefgh12345678&se=2024"
    dataset = DatasetConfig(train_scenes=[], test_scenes=scenes_from_stac(write(tmp_path, signed), {"red": "B04"}))
    config = ChipClassificationConfig(root_uri="/root", classes=ClassConfig(names=["a", "b"]), dataset=dataset)
    findings = [finding for finding in schemas.check(config) if "raster" in finding.where]
    assert [finding.where for finding in findings] == ["dataset.test_scenes[0].raster.uris[0]"]
    assert "abcdefgh12345678" not in str(findings)
    assert to_plain(config)["dataset"]["test_scenes"][0]["raster"]["name"] == "red"
