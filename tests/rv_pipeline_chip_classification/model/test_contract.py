"""What a model expects of an image."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.contract import ModelContract, check_image
from rv_pipeline_chip_classification.model.value_histogram import ValueHistogram

Make = Callable[..., ModelContract]


def test_a_contract_comes_back_from_its_text(make_contract: Make) -> None:
    values = ValueHistogram((0.25, 0.75), ((0.0, 1.5, 1e38), (-3.0, -3.0, 2.0)))
    known = {"scales": ((0.0001, -0.1),) * 2, "declared_nodata": (None, -9999.0), "values": values}
    contract = make_contract(channels=("red", None), temperature=1.25, **known)
    assert ModelContract.from_text(json.dumps(contract.to_json()), where="x") == contract


def test_only_a_model_that_sees_more_than_the_cell_has_the_format_that_says_so(make_contract: Make) -> None:
    plain = make_contract().to_json()
    assert plain["format"] == 1
    assert "context_px" not in plain
    assert ModelContract.from_json(plain, where="x").context_px == 0
    wide = make_contract(context_px=24)
    assert wide.to_json()["format"] == 2
    assert ModelContract.from_text(json.dumps(wide.to_json()), where="x") == wide
    assert wide.chip_width_px == 64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 3}, "format is 3"),
        ({"format": 2}, "it has no 'context_px'"),
        ({"format": 2, "context_px": 0}, "context_px is 0"),
        ({"format": 2, "context_px": "8"}, "context_px is '8'"),
        ({"format": 2, "context_px": 5000}, "wider than 8192 px"),
        ({"classes": []}, "no classes"),
        ({"channels": ["red"]}, "channels and normalisation"),
        ({"dtype": "colourful"}, "colourful"),
        ({"temperature": 0}, "temperature is 0"),
        ({"temperature": True}, "temperature is True"),
        ({"temperature": 1e-300}, "temperature is 1e-300"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": 10**400}, "temperature is 1000"),
        ({"chip_size_px": 0}, "chip_size_px is 0"),
        ({"chip_size_px": True}, "chip_size_px is True"),
        ({"cell_size_px": 10**9}, "cell_size_px is 1000000000 and must be a whole number from 1 to 8192"),
        ({"cell_size_px": float("inf")}, "cell_size_px is inf"),
        ({"cell_size_px": "32"}, "cell_size_px is '32'"),
        ({"format": True}, "format is True"),
        ({"format": 1.0}, "format is 1.0"),
        ({"backbone": ["small_cnn"]}, "backbone is list"),
        ({"backbone": "x" * 100_000}, "backbone is"),
        ({"channels": "abc"}, "channels is 'abc' and must be a list"),
        ({"channels": [None] * 5000}, "channels is a list of 5000"),
        ({"channels": [1, 2, 3]}, "a name of channels is 1"),
        ({"classes": {}}, "classes is dict"),
        ({"classes": [{"name": "a", "color": "#000000"}] * 3}, "two of one name"),
        ({"classes": [{"name": "a", "color": "red; x"}]}, "classes[0].color is 'red; x'"),
        ({"classes": [{"name": "\ud800", "color": "#000000"}]}, "lone surrogate"),
        ({"classes": ["forest"]}, "classes[0] is no object"),
        ({"dtype": "O"}, "dtype is 'O'"),
        ({"dtype": "(1000000,1000000)f8"}, "dtype is '(1000000"),
        ({"dtype": "void3200000"}, "dtype is 'void"),
        ({"dtype": 5}, "dtype is 5"),
        ({"normalization": None}, "normalization is None"),
        ({"normalization": {"kind": "none", "offset": [0.0] * 3, "scale": [0.0] * 3}}, "is 0"),
        ({"normalization": {"kind": "none", "offset": [0.0] * 3, "scale": [1e308] * 3}}, "too large"),
        ({"normalization": {"kind": "none", "offset": [[1], 2, 3], "scale": [1.0] * 3}}, "offset[0] is list"),
        ({"declared_nodata": 5}, "declared_nodata is 5"),
        ({"declared_nodata": [None, "0"]}, "declared_nodata is '0'"),
        ({"scales": [[1.0, 0.0]]}, "one scale and offset per channel"),
        ({"scales": [[1.0]] * 3}, "pairs of a scale"),
        ({"scales": [[float("nan"), 0.0]] * 3}, "scales[0] is nan"),
        ({"values": [1]}, "values is list"),
        ({"values": {"shares": [1.0]}}, "no 'edges'"),
        ({"values": {"shares": [0.5, 0.6], "edges": [[0, 1, 2]] * 3}}, "no shares of one whole"),
        ({"values": {"shares": [1.0], "edges": [[0, 1]] * 2}}, "one histogram of values per channel"),
        ({"values": {"shares": [1.0], "edges": [[0, 1, 2]] * 3}}, "do not ascend, or do not go with"),
        ({"values": {"shares": [1.0], "edges": [[1, 0]] * 3}}, "do not ascend"),
        ({"values": {"shares": [0.001] * 1000, "edges": [[0, 1]] * 3}}, "shares is a list of 1000"),
        ({"values": {"shares": [1.0], "edges": [[0, 10**400]] * 3}}, "edges[1] is 1000"),
        ({"normalization": {"kind": "x", "offset": [0.0] * 3, "scale": [1.0] * 3}}, "normalisation is 'x'"),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(make_contract: Make, change: dict[str, Any], words: str) -> None:
    plain = {**make_contract().to_json(), **change}
    with pytest.raises(DataError, match="no model description") as caught:
        ModelContract.from_json(plain, where="train/model.json")
    assert words in caught.value.block.why


@pytest.mark.parametrize("text", ["{", "[]", "{}", "[" * 100_000, '{"format": 1' + "0" * 5000 + "}"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="no model description"):
        ModelContract.from_text(text, where="train/model.json")


def test_a_wrong_number_of_channels_names_what_the_model_was_trained_on(make_contract: Make) -> None:
    with pytest.raises(DataError, match="4 channels, the model expects 3") as caught:
        check_image(make_contract(channels=("red", None, "blue")), 4, np.dtype("uint16"), where="x.tif")
    assert "red, channel 1, blue" in caught.value.block.why


def test_another_dtype_is_refused(make_contract: Make) -> None:
    with pytest.raises(DataError, match="uint8, the model was trained on uint16"):
        check_image(make_contract(), 3, np.dtype("uint8"), where="x.tif")


def test_floats_of_any_width_are_the_same(make_contract: Make) -> None:
    check_image(make_contract(dtype="float32"), 3, np.dtype("float64"), where="x.tif")
    check_image(make_contract(), 3, np.dtype("uint16"), where="x.tif")


def test_what_is_known_of_the_training_files_travels_and_may_be_missing(make_contract: Any) -> None:
    contract = make_contract(file_channels=(2, 1, 0), num_bands=4, nodata=0.0, pixel_size_m=(10.0, 20.0))
    plain = json.loads(json.dumps(contract.to_json()))
    assert ModelContract.from_json(plain, where="x") == contract
    for name in ("file_channels", "num_bands", "nodata", "pixel_size_m"):
        del plain[name]
    assert ModelContract.from_json(plain, where="x") == make_contract()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file_channels", [0, -1, 1]),
        ("file_channels", [0]),
        ("file_channels", [True, False, True]),
        ("file_channels", "012"),
        ("num_bands", 0),
        ("num_bands", 10**400),
        ("nodata", "0"),
        ("nodata", float("nan")),
        ("pixel_size_m", [0, 1]),
        ("pixel_size_m", [1]),
        ("pixel_size_m", {"0": 1}),
    ],
)
def test_damaged_facts_of_the_training_files_are_refused(make_contract: Any, field: str, value: Any) -> None:
    with pytest.raises(DataError, match="no model description"):
        ModelContract.from_json({**make_contract().to_json(), field: value}, where="x")
