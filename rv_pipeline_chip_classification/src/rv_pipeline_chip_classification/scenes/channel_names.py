"""Names of channels: which of them are one, and in which order a file gives those that are wanted. Pure."""

from __future__ import annotations

from collections.abc import Sequence

Names = Sequence[str | None]


def plain_name(name: str | None) -> str:
    """A description as it is compared: case and blanks around it do not count; "" where there is none."""
    return (name or "").strip().casefold()


def same_name(one: str, other: str) -> bool:
    """Whether two descriptions name the same channel."""
    return plain_name(one) == plain_name(other)


def order_by_names(names: Names, wanted: Names) -> list[int] | None:
    """The positions in `names` of the wanted ones, or None unless each is there exactly once."""
    known = [plain_name(name) for name in names]
    sought = [plain_name(name) for name in wanted]
    if not all(sought) or any(known.count(name) != 1 for name in sought):
        return None
    return [known.index(name) for name in sought]


def is_permuted(names: Names, others: Names) -> bool:
    """Whether two scenes give the same named channels, each in an order of its own."""
    one, other = ([plain_name(name) for name in each] for each in (names, others))
    return all(one) and one != other and sorted(one) == sorted(other)


def permutation_fix(names: Names, file_channels: Sequence[int], wanted: Names) -> str:
    """What mends permuted channels.

    Args:
        names: of the channels as they are read.
        file_channels: where each of them is in the file, 0-based.
        wanted: the names in the order that they should have.
    """
    order = order_by_names(names, wanted)
    if order is None:
        return "give all scenes the channels in one order (channel_order), or correct the band descriptions"
    return f"set channel_order={[file_channels[index] for index in order]}, or correct the band descriptions"


def describe_channels(names: Names) -> str:
    """Channels in words: their names, or how many without a name."""
    if not any(names):
        return f"{len(names)} channels without names"
    return ", ".join(name or f"channel {index} (no name)" for index, name in enumerate(names))
