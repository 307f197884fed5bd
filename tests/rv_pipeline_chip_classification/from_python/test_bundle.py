"""A bundle in a notebook: what it says of a file or an array is what `rv predict` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.cli.app import main
from rv_core.errors import DataError, UsageError
from rv_pipeline_chip_classification import load_bundle

RGB = ["red", "green", "blue"]


def test_a_file_gives_the_cells_that_the_verb_writes(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image("a.tif", pixels(40, 56), names=RGB)
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out")]) == 0
    written = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
    capsys.readouterr()
    cells = load_bundle(bundle).predict(image)
    assert [cell["scores"] for cell in cells] == [feature["properties"]["scores"] for feature in written]
    assert [cell["geometry"] for cell in cells] == [feature["geometry"] for feature in written]
    assert cells.crs == "EPSG:4326"
    assert capsys.readouterr() == ("", "")


def test_an_array_gives_the_scores_of_its_file(bundle: str, write_image: Any, pixels: Any) -> None:
    array = pixels(40, 56)
    model = load_bundle(bundle)
    cells = model.predict(array)
    assert cells.class_ids.shape == (3, 4)
    assert cells.scores.shape == (3, 4, 3)
    np.testing.assert_allclose(cells.scores.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_array_equal(cells.scores.argmax(axis=2), cells.class_ids)
    from_file = model.predict(write_image("a.tif", array, names=RGB))
    np.testing.assert_array_equal(cells.scores, from_file.scores)
    assert cells.crs is None
    assert cells[1]["geometry"]["coordinates"][0][0] == [16, 0]


def test_in_bfloat16_scores_are_near_those_in_float32(bundle: str, pixels: Any) -> None:
    model, array = load_bundle(bundle), pixels(160, 160)
    exact, rough = (model.predict(array, precision=precision).scores for precision in ("float32", "bfloat16"))
    assert 0 < np.abs(rough - exact).max() < 0.01


def test_masked_pixels_of_an_array_are_no_data(bundle: str, pixels: Any) -> None:
    array = np.ma.array(pixels(32, 32), mask=False)
    array[:16, :16] = np.ma.masked
    cells = load_bundle(bundle).predict(array)
    assert (cells.class_ids < 0).tolist() == [[True, False], [False, False]]
    assert np.isnan(cells.scores[0, 0]).all()


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((8, 8), np.uint16), UsageError, "no image"),
        (np.zeros((8, 8, 3), "U1"), UsageError, "no image"),
        (np.zeros((8, 8, 2), np.uint16), DataError, "2 channels"),
    ],
)
def test_arrays_that_are_no_images_are_told(bundle: str, array: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        load_bundle(bundle).predict(array)


def test_a_bundle_tells_what_it_expects(bundle: str) -> None:
    model = load_bundle(bundle)
    assert model.class_names == ["forest", "shrub", "rock"]
    assert model.contract.channels == ("red", "green", "blue")
    assert model.metrics["train"]["accuracy"] == 0.5
