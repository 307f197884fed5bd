"""Which images `apply` is given, and what is wrong with a config of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.errors import UsageError
from rv_core.user_code.arguments import arguments_for, signature_of
from rv_pipeline_chip_classification.apply import get_config
from rv_pipeline_chip_classification.applying.image_list import find_images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b.tif", "a.tif", "sub/c.tif", "[x].tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_images_come_from_patterns_lists_and_tables(folder: Path) -> None:
    (folder / "list.txt").write_text("# some\nsub/*.tif\ns3://bucket/x*.tif\n")
    (folder / "sub" / "scenes.csv").write_text("scene_id,image,labels\nown name,c.tif,\n,../b.tif,\n")
    assert find_images(["[ab].tif", "@list.txt", "[x].tif"]) == [
        ("a.tif", "a"),
        ("b.tif", "b"),
        ("sub/c.tif", "c"),
        ("s3://bucket/x*.tif", "x*"),
        ("[x].tif", "[x]"),
    ]
    assert find_images(["sub/scenes.csv"]) == [(f"{folder}/sub/c.tif", "own name"), (f"{folder}/b.tif", "b")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [("x,y\n1,2\n", "no column image"), ("image\n", "no row"), ("image,n\n,1\n", "has no image")],
)
def test_a_table_without_images_is_a_usage_error(folder: Path, text: str, problem: str) -> None:
    (folder / "scenes.csv").write_text(text)
    with pytest.raises(UsageError, match="table") as caught:
        find_images(["scenes.csv"])
    assert problem in str(caught.value)


def test_a_pattern_that_matches_nothing_is_a_usage_error(folder: Path) -> None:
    with pytest.raises(UsageError, match="no file matches"):
        find_images(["*.png"])


def test_arguments_become_fields(folder: Path) -> None:
    given = [("root_uri", "out"), ("bundle", "b.zip"), ("images", "a.tif,sub/*.tif"), ("nodata", "none")]
    config = get_config(
        **arguments_for(signature_of(get_config), "local", [*given, ("channel_order", "2,1,0"), ("stride_px", "8")])
    )
    assert [image.id for image in config.images] == ["a", "c"]
    assert (config.nodata, config.channel_order, config.stride_px) == ("none", [2, 1, 0], 8)


def test_what_is_wrong_with_names_is_told_of_every_image(folder: Path) -> None:
    config = get_config(root_uri=str(folder), bundle="b.zip", images=["a.tif", "sub/A.png", "sub/c.tif"])
    config.images[2].id, config.images[2].uri = "predicted/c", f"{folder}/predict/a.tif"
    (folder / "predict").mkdir()
    told = {(finding.where, finding.what) for finding in config.validate()}
    assert told == {
        ("images[2].id", "'predicted/c' holds a slash"),
        ("images[0].id", "its output a.tif would replace an image"),
        *(
            ("images[1].id", f"its output A.{ending} is also that of a.tif")
            for ending in ("geojson", "tif", "tif.aux.xml", "scores.tif", "qml")
        ),
    }
