"""Augmentation of batches."""

from __future__ import annotations

import numpy as np
import pytest

from rv_pipeline_chip_classification.training.augment import (
    Strengths,
    add_noise,
    apply_symmetries,
    draw_color,
    draw_symmetries,
    zoom,
)


def _square() -> np.ndarray:
    return np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)


def test_the_eight_symmetries_are_all_different_and_hold_the_same_pixels() -> None:
    turned = apply_symmetries(np.repeat(_square(), 8, axis=0), np.arange(8))
    assert len({chip.tobytes() for chip in turned}) == 8
    assert all(sorted(chip.ravel()) == list(range(9)) for chip in turned)


def test_neighbours_stay_neighbours() -> None:
    turned = apply_symmetries(np.repeat(_square(), 8, axis=0), np.arange(8))
    assert (turned[:, 1, 1, 0] == 4).all()
    for chip in turned[..., 0]:
        assert {chip[0, 1], chip[1, 0], chip[1, 2], chip[2, 1]} == {1, 3, 5, 7}


def test_symmetry_zero_leaves_a_chip_as_it_is() -> None:
    assert (apply_symmetries(_square(), np.array([0])) == _square()).all()


def test_flips_are_identity_mirrors_and_half_turn() -> None:
    drawn = draw_symmetries(np.random.default_rng(0), 200, "flips")
    assert drawn is not None
    kinds = np.unique(drawn)
    chips = apply_symmetries(np.repeat(_square(), len(kinds), axis=0), kinds)[..., 0]
    plain = _square()[0, ..., 0]
    expected = {plain.tobytes(), plain[::-1].tobytes(), plain[:, ::-1].tobytes(), plain[::-1, ::-1].tobytes()}
    assert {np.ascontiguousarray(chip).tobytes() for chip in chips} == expected


def test_flips_work_on_chips_that_are_not_square() -> None:
    chips = np.zeros((20, 2, 5, 1), np.float32)
    assert apply_symmetries(chips, draw_symmetries(np.random.default_rng(0), 20, "flips")).shape == chips.shape


def test_none_gives_back_the_batch_itself() -> None:
    chips = _square()
    assert apply_symmetries(chips, draw_symmetries(np.random.default_rng(0), 1, "none")) is chips


@pytest.mark.parametrize("augment", ["none", "flips", "d4"])
def test_only_d4_color_changes_colors(augment: str) -> None:
    assert draw_color(np.random.default_rng(0), 5, 3, augment, Strengths()) is None  # type: ignore[arg-type]


def test_colors_are_drawn_per_chip_and_channel_around_no_change() -> None:
    color = draw_color(np.random.default_rng(0), 500, 4, "d4_color", Strengths())
    assert color is not None
    assert color.contrast.shape == color.brightness.shape == (500, 4)
    assert color.contrast.dtype == np.float32
    assert (
        color.contrast.min() >= 0.8
        and color.contrast.max() <= 1.2
        and color.contrast.mean() == pytest.approx(1, abs=0.02)
    )
    assert np.abs(color.brightness).max() <= 0.2 and color.brightness.mean() == pytest.approx(0, abs=0.02)


def test_the_same_generator_draws_the_same() -> None:
    draws = []
    for _ in range(2):
        rng = np.random.default_rng(3)
        color = draw_color(rng, 4, 2, "d4_color", Strengths())
        assert color is not None
        draws.append((color.contrast.tobytes(), draw_symmetries(rng, 4, "d4").tobytes()))  # type: ignore[union-attr]
    assert draws[0] == draws[1]


def test_zoom_keeps_what_is_even_and_enlarges_or_shrinks_around_the_centre() -> None:
    rng = np.random.default_rng(0)
    even = np.full((5, 8, 8, 2), 3.0, np.float32)
    assert zoom(even, rng, 0.5) == pytest.approx(3.0)
    dot = np.zeros((200, 33, 33, 1), np.float32)
    dot[:, 12:21, 12:21] = 1
    sizes = zoom(dot, rng, 0.4).sum((1, 2, 3)) ** 0.5
    assert sizes.min() < 6.5 and sizes.max() > 11.5
    centres = zoom(dot, rng, 0.4)[:, 16, 16, 0]
    assert centres == pytest.approx(1.0)


def test_noise_has_the_spread_that_is_asked_for() -> None:
    noisy = add_noise(np.zeros((10, 16, 16, 3), np.float32), np.random.default_rng(0), 0.3)
    assert noisy.std() == pytest.approx(0.3, rel=0.05) and noisy.mean() == pytest.approx(0, abs=0.02)


def test_without_noise_and_zoom_nothing_is_drawn() -> None:
    rng = np.random.default_rng(0)
    batch = _square()
    assert add_noise(zoom(batch, rng, 0.0), rng, 0.0) is batch
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
