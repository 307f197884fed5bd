"""A model that starts from a card: its bands by name, its pixel values in their unit, its tensors and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rv_core.errors import ConfigError, DataError
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.pretrained.bands import match_bands
from rv_pipeline_chip_classification.pretrained.card import parse_card
from rv_pipeline_chip_classification.pretrained.start import initialise, open_initial
from rv_pipeline_chip_classification.pretrained.units import card_columns, normalization_of, unit_misfit

from .weight_files import as_json, as_pickle, as_safetensors, card_of, weights_of

RGB = ("red", "green", "blue")


def write(folder: Path, data: bytes, **changes: Any) -> str:
    name = changes.setdefault("file", "small.safetensors")
    (folder / name).write_bytes(data)
    (folder / "small.json").write_bytes(as_json(card_of(data, **changes)))
    return str(folder / "small.json")


def started(card: str, channels: tuple[str | None, ...], backbone: str = "small_cnn") -> torch.nn.Module:
    torch.manual_seed(0)
    model = build_model(backbone, len(channels), 2)
    initialise(model, open_initial(card, backbone, channels))
    return model.eval()


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
def test_channels_that_are_swapped_by_name_give_the_same_logits(tmp_path: Path, backbone: str) -> None:
    card = write(tmp_path, as_safetensors(weights_of(backbone)), architecture=backbone)
    chips = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        logits = started(card, RGB, backbone)(chips)
        for order in ((2, 1, 0), (1, 2, 0)):
            swapped = started(card, tuple(RGB[i] for i in order), backbone)(chips[:, list(order)])
            torch.testing.assert_close(swapped, logits, rtol=0, atol=1e-5)


def test_a_channel_that_the_card_does_not_know_gets_the_mean_of_the_others(tmp_path: Path) -> None:
    tensors = weights_of()
    card = write(tmp_path, as_safetensors(tensors))
    model = started(card, ("B03", "nir"))
    filters = tensors["conv1.weight"]
    expected = torch.stack([filters[:, 1], filters.mean(1)], 1) * (3 / 2)
    torch.testing.assert_close(model.state_dict()["conv1.weight"], expected)
    match = match_bands(parse_card((tmp_path / "small.json").read_bytes(), where="/c.json"), ("green", "nir"))
    assert match.columns == (1, None) and "nir is no band of card 'small'" in match.notes[0]


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (("nir", "swir"), "none of its channels is a band"),
        (("green", "b03"), "two of its channels are the same band"),
        ((None, None), "2 channels without names, and the card has 3 bands"),
    ],
)
def test_images_without_the_bands_of_the_card_are_refused(channels: tuple[str | None, ...], words: str) -> None:
    card = parse_card(as_json(card_of(b"x")), where="/c.json")
    with pytest.raises(DataError, match="do not have the bands of card 'small'") as raised:
        match_bands(card, channels)
    assert words in raised.value.block.why


def test_channels_without_names_are_taken_by_position_and_it_is_said() -> None:
    match = match_bands(parse_card(as_json(card_of(b"x")), where="/c.json"), (None, None, None))
    assert match.columns == (0, 1, 2) and "by position for red, green, blue" in match.notes[0]


def test_a_file_of_torch_is_read_as_tensors_alone(tmp_path: Path) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in weights_of().items()}
    data = as_pickle({"epoch": 3, "state": {"model": {**tensors, "other.x": torch.zeros(1)}}})
    keys = {"tensors_key": "state/model", "name_prefix": "module.", "file": "w.pth"}
    model = started(write(tmp_path, data, **keys), RGB)
    torch.testing.assert_close(model.state_dict()["conv1.weight"], tensors["module.conv1.weight"])
    for change, words in (
        ({"tensors_key": "state/none"}, "under 'state/none'"),
        ({"name_prefix": "x."}, "begins with 'x.'"),
    ):
        with pytest.raises(DataError) as raised:
            started(write(tmp_path, data, **{**keys, **change}), RGB)
        assert words in raised.value.block.why


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (open, ("/tmp/never-made-by-weights", "w"))


def test_a_pickle_that_runs_code_is_refused_although_its_digest_is_right(tmp_path: Path) -> None:
    import pickle

    for name, data in (("a.pth", as_pickle({"x": Evil()})), ("b.pth", pickle.dumps(Evil())), ("c.pth", b"PK\x03\x04")):
        with pytest.raises(DataError, match="holds no weights that can be read"):
            started(write(tmp_path, data, file=name), RGB)
    assert not Path("/tmp/never-made-by-weights").exists()


def test_weights_of_other_bands_or_of_another_network_than_the_card_says_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="names 3 bands, and conv1 sees 4"):
        started(write(tmp_path, as_safetensors(weights_of(channels=4))), RGB)
    with pytest.raises(DataError, match="the weights do not fit the model"):
        started(write(tmp_path, as_safetensors(weights_of("resnet18"))), RGB)
    with pytest.raises(ConfigError, match="holds weights of small_cnn, and the backbone is resnet18"):
        started(write(tmp_path, as_safetensors(weights_of())), RGB, "resnet18")


def columns(
    unit: str, dtype: str, scale: tuple[float, float] = (1.0, 0.0)
) -> tuple[list[float], list[float], Any, Any]:
    factor = {"0-1": 1, "0-255": 255, "0-10000": 10_000}[unit]
    plain = card_of(b"x", unit=unit, mean=[0.4 * factor] * 3, std=[0.2 * factor] * 3)
    card = parse_card(as_json(plain), where="/c.json")
    found = card_columns(card, match_bands(card, RGB), dtype, [scale] * 3)
    return found[0].tolist(), found[1].tolist(), found, card


@pytest.mark.parametrize("unit", ["0-1", "0-255", "0-10000"])
@pytest.mark.parametrize(
    ("dtype", "scale", "mean", "std"),
    [
        ("uint8", (1.0, 0.0), 102, 51),
        ("uint16", (1.0, 0.0), 4000, 2000),
        ("float32", (1.0, 0.0), 0.4, 0.2),
        ("uint16", (1e-4, -0.1), 5000, 2000),
    ],
)
def test_mean_and_deviation_of_a_card_are_brought_to_the_pixel_values(
    unit: str, dtype: str, scale: tuple[float, float], mean: float, std: float
) -> None:
    means, stds, found, card = columns(unit, dtype, scale)
    assert means == pytest.approx([mean] * 3) and stds == pytest.approx([std] * 3)
    normalization = normalization_of(found, np.zeros(3), np.ones(3))
    chips = np.full((1, 1, 1, 3), mean + std)
    assert normalization.apply(chips) == pytest.approx(1.0)
    assert unit_misfit(found, np.full(3, mean * 1.5), np.full(3, std / 3), card) == ""


@pytest.mark.parametrize(("dtype", "wrong"), [("float32", 4000), ("float32", 100), ("uint16", 40_000)])
def test_pixels_of_another_unit_are_found_out(dtype: str, wrong: float) -> None:
    _, _, found, card = columns("0-1", dtype)
    words = unit_misfit(found, np.full(3, wrong), np.full(3, wrong / 3), card)
    assert "card 'small' expects" in words and "its unit is 0-1" in words


def test_pixels_of_eight_bits_in_wider_numbers_are_found_out() -> None:
    _, _, found, card = columns("0-1", "uint16")
    assert unit_misfit(found, np.full(3, 100.0), np.full(3, 40.0), card)


def test_a_channel_that_the_card_does_not_know_is_normalised_by_its_own_statistics() -> None:
    card = parse_card(as_json(card_of(b"x")), where="/c.json")
    found = card_columns(card, match_bands(card, ("red", "nir")), "uint8", [(1.0, 0.0)] * 2)
    normalization = normalization_of(found, np.array([90.0, 30.0]), np.array([9.0, 5.0]))
    assert normalization.offset == pytest.approx((0.45 * 255, 30.0))
    assert normalization.scale == pytest.approx((1 / 51, 1 / 5))
    assert normalization.kind == "weights"


def test_what_a_bundle_says_of_the_weights(tmp_path: Path) -> None:
    data = as_safetensors(weights_of())
    record = open_initial(write(tmp_path, data), "small_cnn", RGB).record()
    assert record == {"card": "small", "sha256": hashlib.sha256(data).hexdigest(), "licence": "CC0-1.0"}
