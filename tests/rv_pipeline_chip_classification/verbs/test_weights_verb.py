"""`rv weights`: lists, shows and takes in cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..pretrained.weight_files import as_json, as_safetensors, card_of, weights_of

if TYPE_CHECKING:
    from tests.conftest import RvCli


def test_a_card_is_taken_in_listed_and_shown(rv: RvCli, tmp_path: Path) -> None:
    data = as_safetensors(weights_of())
    (tmp_path / "small.safetensors").write_bytes(data)
    (tmp_path / "small.json").write_bytes(as_json(card_of(data, licence="CC0\u001b[2J")))
    env = {"RV_CACHE_DIR": str(tmp_path / "cache")}
    added = rv("weights", "add", "small.json", env=env)
    assert added.returncode == 0 and "small: weights of small_cnn for red, green, blue" in added.stdout
    assert "\x1b" not in added.stdout
    listed = json.loads(rv("weights", "list", "--json", env=env).stdout)
    assert listed["problems"] == []
    assert {card["name"]: (card["origin"], card["is_here"]) for card in listed["cards"]} == {
        **{f"resnet{n}-imagenet1k-v1": ("rv", False) for n in (18, 34, 50)},
        "resnet50-imagenet1k-v2": ("rv", False),
        "small": ("added", True),
    }
    shown = rv("weights", "show", "small", env=env).stdout
    assert "green/B03" in shown and "--set model.backbone=small_cnn --set model.weights=small" in shown
    refused = rv("weights", "show", "smal", env=env)
    assert refused.returncode == 2 and "did you mean 'small'?" in refused.stderr and "Traceback" not in refused.stderr
