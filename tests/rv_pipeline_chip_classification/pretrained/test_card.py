"""Cards of weights: what they say, and that a hostile one is refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rv_core.errors import DataError
from rv_pipeline_chip_classification.config_checks import BACKBONES, is_card_name
from rv_pipeline_chip_classification.pretrained.card import parse_card, shipped_card, shipped_names

from .weight_files import as_json, card_of

WEB = "https://example.org/cards/small.json"


def test_a_card_says_again_what_it_was_made_of() -> None:
    plain = card_of(b"x", summary="s", tensors_key="state_dict", name_prefix="module.")
    card = parse_card(as_json(plain), where=WEB)
    assert card.file == "https://example.org/cards/small.safetensors"
    assert card.band_names == ("red", "green", "blue")
    again = parse_card(as_json(card.to_json()), where=WEB)
    assert again == card and again.digest == card.digest


def test_the_digest_is_that_of_what_decides_a_training() -> None:
    first = parse_card(as_json(card_of(b"x")), where=WEB).digest
    about = {
        "name": "other",
        "summary": "s",
        "licence": "MIT",
        "source": "elsewhere",
        "file": "b.safetensors",
        "size": 2,
    }
    assert parse_card(as_json(card_of(b"x", **about)), where="/elsewhere/card.json").digest == first
    for change in ({"mean": [0, 0, 0]}, {"unit": "0-255"}, {"bands": ["a", "b", "c"]}, {"sha256": "0" * 64}):
        assert parse_card(as_json(card_of(b"x", **change)), where=WEB).digest != first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "card"}, 'no object with "kind"'),
        ({"format": 2}, "its format is 2"),
        ({"format": True}, "its format is True"),
        ({"pickle": "yes"}, "a field 'pickle'"),
        ({"name": "../../etc/cron"}, "name is '../../etc/cron'"),
        ({"name": "a\u001b[2J"}, "name is"),
        ({"name": 3}, "name is 3"),
        ({"architecture": "os:system"}, "'os' is part of Python"),
        ({"architecture": "resnet99"}, "no backbone named 'resnet99'"),
        ({"file": "/etc/passwd"}, "names no file of this machine"),
        ({"file": "../../secret.safetensors"}, "names no file of this machine"),
        ({"file": "file:///etc/passwd"}, "names no file of this machine"),
        ({"file": "local:///etc/passwd"}, "names no file of this machine"),
        ({"file": "dir:///etc/passwd"}, "names no file of this machine"),
        ({"file": "https://evil.example/${AWS_SECRET_ACCESS_KEY}"}, "must not ask for variables"),
        ({"file": "zip+https://example.org/a.zip!/w.safetensors"}, "lies in an archive"),
        ({"file": "https://user:secret@example.org/w"}, "holds a user name or a password"),
        ({"file": "a\nb"}, "line break"),
        ({"sha256": "0" * 63}, "must be 64 digits"),
        ({"sha256": "z" * 64}, "must be 64 digits"),
        ({"sha256": None}, "it needs sha256"),
        ({"sha256": None, "sha256_prefix": "0" * 7}, "must be 8 to 63 digits"),
        ({"sha256_prefix": "0" * 8}, "it needs sha256, or sha256_prefix"),
        ({"size": -1}, "size is -1"),
        ({"size": 10**30}, "size is 1000"),
        ({"size": 1.5}, "size is 1.5"),
        ({"bands": []}, "bands must be a list of names"),
        ({"bands": ["red", "Red ", "blue"]}, "there twice"),
        ({"bands": ["red", [], "blue"]}, "none of them empty"),
        ({"bands": ["x"] * 2000}, "a list of 2000"),
        ({"bands": [{"a": 1}, "b", "c"]}, "a band is dict"),
        ({"mean": [0.4, 0.4]}, "mean has 2 numbers for 3 bands"),
        ({"mean": [0.4, 0.4, float("nan")]}, "must be a finite number"),
        ({"std": [0.2, 0.2, 0]}, "below 1e-09"),
        ({"std": [0.2, 0.2, 1e-320]}, "below 1e-09"),
        ({"std": [0.2, 0.2, "1"]}, "std[2] is '1'"),
        ({"unit": "W/m2"}, "unit is 'W/m2'"),
        ({"licence": None}, "it has no 'licence'"),
        ({"licence": "x" * 5000}, "at most 1000 characters"),
        ({"tensors_key": ["a"]}, "tensors_key is list"),
    ],
)
def test_a_card_with_a_wrong_field_is_refused_and_the_field_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as raised:
        parse_card(as_json(card_of(b"x", **changes)), where=WEB)
    assert raised.value.block.where == WEB
    assert words in raised.value.block.why and len(raised.value.block.why) <= 500
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, b" " * (1 << 20) + b"{}"])
def test_what_is_no_card_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="this is no card of weights"):
        parse_card(data, where=WEB)


def test_a_card_of_this_machine_may_name_a_file_beside_it() -> None:
    assert parse_card(as_json(card_of(b"x")), where="/cards/small.json").file == "/cards/small.safetensors"
    assert parse_card(as_json(card_of(b"x", file="../w/a.pth")), where="/cards/small.json").file == "/w/a.pth"
    assert parse_card(as_json(card_of(b"x", file="s3://b/w.pth")), where="/cards/small.json").file == "s3://b/w.pth"


def test_cards_that_are_shipped_are_of_networks_that_are_shipped() -> None:
    assert len(shipped_names()) == 4
    for name in shipped_names():
        card = shipped_card(name)
        assert card is not None and card.name == name and is_card_name(name)
        assert card.backbone in BACKBONES
        # torchvision names its files after the first eight digits of their SHA-256.
        assert card.file.rpartition("-")[2] == f"{card.sha256}.pth" and len(card.sha256) == 8
        assert json.loads(json.dumps(card.to_json()))["sha256_prefix"] == card.sha256
    assert shipped_card("resnet18") is None
