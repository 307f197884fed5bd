"""Subsets of scenes in spatial blocks, with equal shares of every class and a buffer between them. Pure.

All scenes of a block get one subset. Which, is searched for: of few blocks every way is tried, of many the best of a
seeded search (simulated annealing, Kirkpatrick et al. 1983) is taken. Scenes that lie nearer than the buffer to one of
another subset give way, those of the subset with the larger share first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A scene that is left out.
LEFT_OUT = -1
_MAX_TRIED = 7_000
_MAX_STEPS = 4_000
_TEMPERATURES = (0.2, 0.0005)
#: What a scene that is left out costs, beside a share that is off by as much.
_COST_OF_LOSS = 0.5
#: What an empty subset costs: more than any share that is off.
_COST_OF_EMPTY = 10.0


@dataclass(frozen=True)
class Split:
    """Scenes in subsets.

    Args:
        subsets: (N,) int64, number of the subset of each scene, or `LEFT_OUT`.
        shares: (S, K) float64, what of each class each subset has of all that is kept; NaN for a class without any.
    """

    subsets: NDArray[np.int64]
    shares: NDArray[np.float64]

    def num_left_out(self) -> int:
        """How many scenes are in no subset."""
        return int((self.subsets == LEFT_OUT).sum())


def block_numbers(points: NDArray[np.float64], block_m: float) -> NDArray[np.int64]:
    """The number of the square block that each point lies in: (N,) int64 from 0, in the order of the blocks.

    Args:
        points: (N, 2) float64, metres on a plane.
        block_m: side of a block.
    """
    squares = np.floor(points / block_m).astype(np.int64)
    return np.unique(squares, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def split_blocks(
    blocks: NDArray[np.int64],
    amounts: NDArray[np.float64],
    near: NDArray[np.int64],
    shares: Sequence[float],
    *,
    seed: int = 0,
) -> Split:
    """Give each block a subset, so that every subset has its share of every class and few scenes are left out.

    Args:
        blocks: (N,) int64, number of the block of each scene, from 0.
        amounts: (N, K) float64, how much of each class each scene has.
        near: (P, 2) int64, pairs of scenes that are too near for different subsets.
        shares: S wanted shares, which add up to 1; a subset with share 0 gets nothing.
        seed: of the search, and of the choice among ways that are equally good.
    """
    search = _Search(blocks, amounts, near, np.asarray(shares, np.float64))
    wanted = [number for number, share in enumerate(shares) if share > 0]
    rng = np.random.default_rng(seed)
    num_blocks = int(blocks.max()) + 1
    if len(wanted) ** num_blocks <= _MAX_TRIED:
        best = _best_of_all(search, num_blocks, wanted, rng)
    else:
        best = _annealed(search, num_blocks, np.array(wanted), rng)
    subsets = search.kept(best)
    return Split(subsets, search.shares_of(subsets))


class _Search:
    """What a way to give blocks to subsets is worth."""

    def __init__(
        self,
        blocks: NDArray[np.int64],
        amounts: NDArray[np.float64],
        near: NDArray[np.int64],
        wanted: NDArray[np.float64],
    ) -> None:
        self._blocks, self._wanted = blocks, wanted
        # Scenes of one block are never in different subsets.
        self._one, self._other = near[blocks[near[:, 0]] != blocks[near[:, 1]]].T
        totals = amounts.sum(axis=0)
        # A scene without any class still counts as one.
        self._amounts = np.column_stack([amounts[:, totals > 0] / totals[totals > 0], np.full(len(blocks), 1)])
        self._amounts[:, -1] /= max(1, len(blocks))
        self._has_any = totals > 0
        # A class of a thousandth of the ground must not decide as much as one of half of it, and still count.
        self._weights = np.append(np.sqrt(totals[totals > 0] / max(float(totals.sum()), 1e-300)), 0.02)
        self._weights /= self._weights.sum()
        #: Subsets give way in this order: the largest share first, of equal ones the earlier subset.
        self._ranks = np.empty(len(wanted), np.int64)
        self._ranks[np.argsort(-wanted, kind="stable")] = np.arange(len(wanted))

    def kept(self, subset_of_block: NDArray[np.int64]) -> NDArray[np.int64]:
        """The subset of each scene, those that give way left out."""
        subsets: NDArray[np.int64] = subset_of_block[self._blocks]
        ranks = self._ranks[subsets]
        # The last but one gives way to the last, the one before it to what is left of both, and so on.
        for rank in range(len(self._ranks) - 2, -1, -1):
            one, other = ranks[self._one], ranks[self._other]
            ranks[self._one[(one == rank) & (other > rank)]] = LEFT_OUT
            ranks[self._other[(other == rank) & (one > rank)]] = LEFT_OUT
        return np.where(ranks == LEFT_OUT, LEFT_OUT, subsets)

    def _sums(self, subsets: NDArray[np.int64]) -> NDArray[np.float64]:
        membership = subsets[None, :] == np.arange(len(self._wanted))[:, None]
        sums: NDArray[np.float64] = membership.astype(np.float64) @ self._amounts
        return sums

    def cost(self, subset_of_block: NDArray[np.int64]) -> float:
        """How far shares are from what is wanted, and how much is left out: the less the better."""
        sums = self._sums(self.kept(subset_of_block))
        kept = sums.sum(axis=0)
        shares = sums / np.maximum(kept, 1e-12)
        off = float(np.abs(shares - self._wanted[:, None]).sum(axis=0) @ self._weights)
        is_empty = (sums[:, -1] == 0) & (self._wanted > 0)
        return off + _COST_OF_LOSS * float(1 - kept @ self._weights) + _COST_OF_EMPTY * float(is_empty.sum())

    def shares_of(self, subsets: NDArray[np.int64]) -> NDArray[np.float64]:
        """As in `Split`."""
        sums = self._sums(subsets)[:, :-1]
        shares = np.full((len(self._wanted), len(self._has_any)), np.nan)
        kept = sums.sum(axis=0)
        shares[:, self._has_any] = np.where(kept > 0, sums / np.where(kept > 0, kept, 1.0), np.nan)
        return shares


def _best_of_all(search: _Search, num_blocks: int, wanted: list[int], rng: np.random.Generator) -> NDArray[np.int64]:
    ways = list(_ways(num_blocks, wanted))
    order = rng.permutation(len(ways))  # of equally good ones the first is taken
    costs = [round(search.cost(ways[number]), 9) for number in order]
    return ways[order[int(np.argmin(costs))]]


def _ways(num_blocks: int, wanted: list[int]) -> Iterator[NDArray[np.int64]]:
    for way in itertools.product(wanted, repeat=num_blocks):
        yield np.array(way, np.int64)


def _annealed(
    search: _Search, num_blocks: int, wanted: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    state = rng.choice(wanted, num_blocks)
    cost = search.cost(state)
    best, best_cost = state.copy(), cost
    hot, cold = _TEMPERATURES
    for step in range(_MAX_STEPS):
        temperature = hot * (cold / hot) ** (step / _MAX_STEPS)
        changed = state.copy()
        one, other = rng.integers(0, num_blocks, 2)
        if step % 2 and changed[one] != changed[other]:
            changed[[one, other]] = changed[[other, one]]
        else:
            changed[one] = rng.choice(wanted)
        new_cost = search.cost(changed)
        if new_cost <= cost or rng.random() < np.exp((cost - new_cost) / temperature):
            state, cost = changed, new_cost
            if cost < best_cost:
                best, best_cost = state.copy(), cost
    return best
