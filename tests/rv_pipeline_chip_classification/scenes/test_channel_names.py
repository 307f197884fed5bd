"""The one rule by which channels are matched: by name, or refused, or told."""

from __future__ import annotations

import pytest

from rv_core.errors import DataError
from rv_pipeline_chip_classification.scenes.channel_names import match_channels, merge_names, order_fix

RGB = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("nir", "BLUE", "green ", "Red"), (3, 2, 1)),
        (RGB, (0, 1, 2)),
        (("red", "green", "blue", "Blue"), None),
        (("red", "green", None), None),
        ((None, None, None), None),
    ],
)
def test_channels_are_found_by_name_whatever_their_place_and_case(names: tuple, order: tuple | None) -> None:
    assert match_channels(names, RGB).order == order


@pytest.mark.parametrize(
    ("names", "file_names", "is_order_given", "is_refused", "is_told"),
    [
        (RGB, (), False, False, False),
        (("blue", "green", "red"), (), True, True, True),  # proven by what is read
        (("red", "green", "nir"), RGB, True, True, True),  # proven by what the file has besides
        (("red", "blue", None), (), True, True, True),
        (("red", "green", "nir"), (), False, True, True),  # not proven, but of one language
        (("red", "green", "nir"), (), True, False, True),
        (("B04", "B03", "B02"), (), False, False, True),  # of another language: nothing to go by
        ((None, None, "BLUE"), (), False, False, False),
    ],
)
def test_what_names_say_is_refused_or_told(
    names: tuple, file_names: tuple, is_order_given: bool, is_refused: bool, is_told: bool
) -> None:
    match = match_channels(names, RGB, file_names=file_names)
    assert match.is_refused(is_order_given=is_order_given) == is_refused
    assert bool(match.wrong or match.differ) == is_told


def test_what_mends_it_is_said() -> None:
    assert "channel_order=[3, 2, 1]" in order_fix(("nir", "blue", "green", "red"), RGB)
    assert "no band of the file is called 'green'" in order_fix(("red", "blue"), RGB)
    assert "in one order" in order_fix(("red", "green", "blue", "blue"), RGB)


def test_names_of_channels_are_gathered_over_scenes() -> None:
    scenes = {"a": [None, "green"], "b": ["Red", None], "c": ["red ", "green"]}
    assert merge_names(scenes) == ("Red", "green")


def test_a_channel_that_scenes_call_differently_has_no_name() -> None:
    assert merge_names({"a": ["B4", "green"], "b": ["red", "green"]}) == (None, "green")


def test_scenes_with_the_same_channels_in_another_order_are_refused() -> None:
    with pytest.raises(DataError, match="in one order") as caught:
        merge_names({"a": ["red", "blue"], "b": ["blue", "red"]})
    assert "scene 'b'" in str(caught.value)
