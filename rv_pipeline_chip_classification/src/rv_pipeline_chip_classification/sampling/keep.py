"""Which windows are kept where only a share of a class is wanted: by a hash of each, so that it hangs on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from rv_pipeline_chip_classification.scenes.windows import WindowArray


def is_kept(
    windows: WindowArray, class_ids: NDArray[np.int64], shares: NDArray[np.float64], *, scene_id: str, seed: int
) -> NDArray[np.bool_]:
    """Which windows are kept: with a higher share all that are with a lower one, and some more.

    Args:
        windows: (N, 4) int64.
        class_ids: (N,) int64.
        shares: (K,) of each class, from 0 to 1.
        scene_id: of their scene.
        seed: of the config; another one keeps others.

    Returns:
        (N,) bool.
    """
    begin = int.from_bytes(hashlib.sha256(f"{seed} {scene_id}".encode()).digest()[:8], "little")
    state = np.full(len(windows), begin, np.uint64)
    for column in windows.T:
        state = _mixed(state + column.astype(np.uint64))
    # The upper 53 bits are a number from 0 to below 1.
    return np.asarray((state >> np.uint64(11)) * 2.0**-53 < shares[class_ids])


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The next state of SplitMix64 (Steele, Lea and Flood 2014, https://doi.org/10.1145/2660193.2660195)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
