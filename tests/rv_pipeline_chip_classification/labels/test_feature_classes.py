"""The class of a feature, from its properties and the mapping of the config."""

from __future__ import annotations

from typing import Any

import pytest

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig
from rv_pipeline_chip_classification.labels.feature_classes import classify_features

NAMES = ["forest", "shrub", "rock"]


def classes_of(*properties: dict[str, Any], **options: Any) -> tuple[list[int], dict[str, int]]:
    found = classify_features(properties, GeoJsonLabelsConfig(uri="/labels.geojson", **options), NAMES)
    return found.class_ids.tolist(), dict(found.dropped)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"class_id": 2, "class_name": "forest", "label": "shrub"}, 2),
        ({"class_id": 0}, 0),
        ({"class_id": 1.0}, 1),
        ({"class_id": None, "class_name": "rock"}, 2),
        ({"class_name": "shrub", "label": "rock"}, 1),
        ({"label": "rock"}, 2),
    ],
)
def test_the_class_is_taken_from_class_id_then_class_name_then_label(properties: dict[str, Any], expected: int) -> None:
    assert classes_of(properties)[0] == [expected]


def test_features_without_a_class_are_dropped_and_counted() -> None:
    ids, dropped = classes_of({}, {"class_id": None}, {"label": "rock"})
    assert ids == [-1, -1, 2]
    assert dropped == {"no property class_id or class_name or label": 2}


def test_names_are_mapped_and_mapped_to_nothing() -> None:
    mapping = {"wood": "forest", "road": "", "rock": "shrub"}
    ids, dropped = classes_of({"label": "wood"}, {"label": "road"}, {"class_name": "rock"}, class_mapping=mapping)
    assert ids == [0, -1, 1]
    assert dropped == {"'road' is mapped to nothing": 1}


def test_a_property_of_ones_own_holds_ids_or_names() -> None:
    ids, dropped = classes_of({"code": 2}, {"code": "shrub"}, {"class_id": 0}, class_property="code")
    assert ids == [2, 1, -1]
    assert dropped == {"no property code": 1}


def test_every_wrong_class_is_listed_once_with_its_first_feature() -> None:
    with pytest.raises(DataError) as raised:
        classes_of({"label": "forrest"}, {"label": "forrest"}, {"class_id": 7}, {"class_id": "x"}, {"class_name": True})
    found = {finding.where: str(finding) for finding in raised.value.findings}
    assert "did you mean 'forest'?" in found["features[0].properties.label"]
    assert "7 is out of range: there are the classes 0 to 2" in found["features[2].properties.class_id"]
    assert list(found) == [
        "features[0].properties.label",
        "features[2].properties.class_id",
        "features[3].properties.class_id",
        "features[4].properties.class_name",
    ]
    assert "/labels.geojson" in str(raised.value)
    assert "class_mapping" in str(raised.value)


@pytest.mark.parametrize("class_id", [-1, 3, 1.5, True, [1]])
def test_class_ids_out_of_range_are_errors(class_id: Any) -> None:
    with pytest.raises(DataError):
        classes_of({"class_id": class_id})


@pytest.mark.parametrize("code", [10, 10.0, "10"])
def test_a_number_that_is_mapped_is_no_class_id(code: Any) -> None:
    options = {"class_property": "code", "class_mapping": {"10": "rock", "2": "forest", "255": ""}}
    ids, dropped = classes_of({"code": code}, {"code": 2}, {"code": 255}, {"code": 1}, **options)
    assert ids == [2, 0, -1, 1]
    assert dropped == {"255 is mapped to nothing": 1}


def test_true_and_false_are_mapped_and_an_object_is_not() -> None:
    options = {"class_property": "is_wood", "class_mapping": {"true": "forest", "false": "rock"}}
    assert classes_of({"is_wood": True}, {"is_wood": False}, **options)[0] == [0, 2]
    with pytest.raises(DataError, match="class_property names a property that holds text or a number"):
        classes_of({"is_wood": {"name": "forest"}}, **options)


def test_mapped_ids_are_not_doubted() -> None:
    labels = GeoJsonLabelsConfig(uri="/labels.geojson", class_mapping={"1": "forest"})
    found = classify_features([{"class_id": 1, "class_name": "forest"}], labels, NAMES)
    assert found.class_ids.tolist() == [0]
    assert not found.doubts


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e300])
def test_huge_numbers_are_no_class(value: Any) -> None:
    for properties, options in (({"class_id": value}, {}), ({"code": value}, {"class_property": "code"})):
        with pytest.raises(DataError, match="is no class"):
            classes_of(properties, **options)


def test_text_as_an_id_is_told_what_helps() -> None:
    with pytest.raises(DataError) as raised:
        classes_of({"class_id": "x"})
    assert 'class_mapping={"10": "forest"}' in str(raised.value)


def test_nan_is_no_value() -> None:
    assert classes_of({"class_id": float("nan"), "label": "rock"})[0] == [2]


def test_an_accent_in_one_or_two_characters_is_the_same_name() -> None:
    labels = GeoJsonLabelsConfig(uri="/labels.geojson")
    assert classify_features([{"label": "cafe\u0301"}], labels, ["bar", "caf\u00e9"]).class_ids.tolist() == [1]


def test_a_property_that_no_feature_has_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'Class'") as raised:
        classes_of({"Class": "rock", "area": 3}, class_property="class", background_class="rock")
    assert "the 1 features have 'Class', 'area'" in str(raised.value)
    with pytest.raises(DataError, match="no feature has the property class_id or class_name or label"):
        classes_of({"kind": "rock"}, background_class="rock")


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(DataError) as raised:
        classes_of({"label": "x" * 1_000_000})
    assert len(str(raised.value)) < 2_000
