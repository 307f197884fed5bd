"""What `rv check` says of a card of weights and of a backbone of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.errors import Finding
from rv_pipeline_chip_classification.checks.cheap import cheap_check
from rv_pipeline_chip_classification.checks.deep import deep_check
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    ModelConfig,
    RasterSourceConfig,
    SceneConfig,
)

from ..pretrained.weight_files import as_json, as_safetensors, card_of, weights_of

DATA = as_safetensors(weights_of())
Findings = Callable[..., list[Finding]]


@pytest.fixture
def findings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_image: Callable[..., str],
    write_labels: Callable[..., str],
    square: Callable[..., dict[str, object]],
) -> Findings:
    """Gives the findings of a config with one scene; `card` are changes of its card."""
    monkeypatch.setenv("RV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "code")
    labels = write_labels("a.geojson", [(square(0, 0, 30), {"class_id": 1})])

    def look(
        *,
        card: dict[str, Any] | None = None,
        names: Sequence[str] = ("blue", "green", "red"),
        highest: int = 250,
        dtype: str = "uint8",
        normalize: str = "stats",
        backbone: str = "small_cnn",
        data: bytes = DATA,
    ) -> list[Finding]:
        pixels = np.random.default_rng(0).uniform(highest / 250, highest, (64, 64, 3)).astype(dtype)
        scene = SceneConfig(
            id="a",
            raster=RasterSourceConfig(uris=[write_image("a.tif", pixels, names=names)]),
            labels=GeoJsonLabelsConfig(uri=labels, background_class="other", use_intersection_over_cell=True),
        )
        (tmp_path / "small.safetensors").write_bytes(data)
        (tmp_path / "small.json").write_bytes(as_json(card_of(DATA, **(card or {}))))
        weights = None if card is None else str(tmp_path / "small.json")
        config = ChipClassificationConfig(
            root_uri="/root",
            classes=ClassConfig(names=["other", "forest"]),
            dataset=DatasetConfig(train_scenes=[scene]),
            chip=ChipConfig(chip_size_px=16),
            model=ModelConfig(backbone=backbone, weights=weights),
            eval=EvalConfig(subsets=[]),
            normalize=normalize,
        )
        todo = {"chip": ["a"], "train": ["all"]}
        invalid = [*config.validate(), *config.model.validate()]
        return invalid or [*cheap_check(config, todo), *deep_check(config, todo)]

    return look


def summary(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.where, finding.severity) for finding in found]


@pytest.mark.parametrize("normalize", ["stats", "weights"])
def test_a_card_that_fits_is_no_finding(findings: Findings, normalize: str) -> None:
    assert findings(card={}, normalize=normalize) == []


@pytest.mark.parametrize(
    ("options", "where", "words"),
    [
        ({"card": {"licence": None}}, "model.weights", "it has no 'licence'"),
        ({"card": {}, "backbone": "resnet18"}, "model.backbone", "card 'small' holds weights of small_cnn"),
        ({"card": {}, "names": ("nir", "swir", "pan")}, "model.weights", "none of its channels is a band of the card"),
        ({"card": {}, "data": DATA[:-1] + b"!"}, "model.weights", "not those of their card"),
        ({"card": {"name_prefix": "net."}}, "model.weights", "no name in it begins with 'net.'"),
        (
            {"card": {}, "dtype": "float32", "highest": 9000, "normalize": "weights"},
            "normalize",
            "and card 'small' expects",
        ),
        ({"normalize": "weights"}, "normalize", "takes mean and standard deviation of a card, and there is none"),
    ],
    ids=["field", "backbone", "bands", "digest", "prefix", "unit", "no card"],
)
def test_what_is_wrong_with_a_card_is_one_finding(
    findings: Findings, options: dict[str, Any], where: str, words: str
) -> None:
    (found,) = findings(**options)
    assert (found.where, found.severity) == (where, "error")
    assert words in found.what, found.what


def test_what_is_to_be_known_of_a_card_is_a_warning(findings: Findings) -> None:
    unknown = findings(card={}, names=("red", "green", "nir"))
    assert summary(unknown) == [("model.weights", "warning")] and "nir is no band of card" in unknown[0].what
    unit = findings(card={}, dtype="float32", highest=9000)
    assert summary(unit) == [("model.weights", "warning")] and "expects 0.4" in unit[0].what
    assert summary(findings(card={}, normalize="none")) == [("normalize", "warning")]


CODE = "from torch import nn\n\ndef make(channels, classes):\n    return {body}\n\nnet = 3\n"
GOOD = "nn.Sequential(nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))"


@pytest.mark.parametrize(
    ("backbone", "body", "words"),
    [
        ("own_net:make", GOOD, ""),
        ("no_such_module:make", GOOD, "there is no module 'no_such_module' here"),
        ("own_net:made", GOOD, "own_net: no callable named 'made'"),
        ("own_net:net", GOOD, "own_net: no callable named 'net'"),
        ("own_net:make", "None", "gave NoneType and no torch.nn.Module"),
        ("own_net:make", "1 / 0", "cannot be built (ZeroDivisionError"),
        ("own_net:make", "nn.Flatten()", "answers two chips with an array of shape (2, 768)"),
        ("os:system", GOOD, "'os' is part of Python"),
    ],
    ids=["good", "module", "name", "no callable", "no module", "raises", "logits", "python"],
)
def test_a_backbone_of_ones_own_is_built_and_asked_by_the_check(
    findings: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str, body: str, words: str
) -> None:
    import sys

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "own_net.py").write_text(CODE.format(body=body))
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    found = findings(backbone=backbone)
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    assert [finding.severity for finding in found] == (["error"] if words else []), found
    assert all(words in finding.what for finding in found), found
