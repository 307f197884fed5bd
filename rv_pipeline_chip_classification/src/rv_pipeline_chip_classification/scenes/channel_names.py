"""Names of channels: which of them are one, and in which order a file gives those that are wanted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rv_core.errors import DataError, Finding

Names = Sequence[str | None]


def plain_name(name: str | None) -> str:
    """A description as it is compared: case and blanks around it do not count; "" where there is none."""
    return (name or "").strip().casefold()


def same_name(one: str, other: str) -> bool:
    """Whether two descriptions name the same channel."""
    return plain_name(one) == plain_name(other)


class ChannelMatch(NamedTuple):
    """How the channels of one image go with those that are wanted.

    Args:
        order: positions of the wanted channels by their names; None where the names do not say all of them.
        wrong: positions at which the names prove that it is another channel: the wanted one is elsewhere in the file,
            or the one that is there is wanted elsewhere.
        differ: positions at which both sides have a name, not the same one, and nothing is proven ("nir", "nir08").
        shares_names: whether the sides have any name in common; "red" and "B04" are of two languages.
    """

    order: tuple[int, ...] | None
    wrong: tuple[int, ...]
    differ: tuple[int, ...]
    shares_names: bool

    def is_refused(self, *, is_order_given: bool) -> bool:
        """Whether the channels must not be taken by position.

        Args:
            is_order_given: whether the user said which channels these are: their word counts where nothing is proven.
        """
        return bool(self.wrong) or (bool(self.differ) and self.shares_names and not is_order_given)


def match_channels(names: Names, wanted: Names, *, file_names: Names = ()) -> ChannelMatch:
    """Match the channels of an image with wanted ones by name: the one rule for scenes, models, mosaics and bundles.

    Args:
        names: of the channels as they are read, after a channel order.
        wanted: of the channels in the order that they should have.
        file_names: of all bands of the file, also of those that are not read.
    """
    own, sought = [plain_name(name) for name in names], [plain_name(name) for name in wanted]
    in_file = {*own, *map(plain_name, file_names)} - {""}
    pairs = enumerate(zip(own, sought, strict=False))
    different = {index: pair for index, pair in pairs if all(pair) and pair[0] != pair[1]}
    wrong = tuple(index for index, (one, other) in different.items() if one in sought or other in in_file)
    differ = tuple(index for index in different if index not in wrong)
    return ChannelMatch(_order_of(own, sought), wrong, differ, bool(in_file & set(sought)))


def _order_of(own: Sequence[str], sought: Sequence[str]) -> tuple[int, ...] | None:
    if not all(sought) or any(own.count(name) != 1 for name in sought):
        return None
    return tuple(own.index(name) for name in sought)


def order_fix(file_names: Names, wanted: Names) -> str:
    """What mends channels that are not those at their positions.

    Args:
        file_names: of all bands of the file.
        wanted: the names in the order that they should have.
    """
    order = match_channels(file_names, wanted).order
    if order is not None:
        return f"set channel_order={list(order)}, or correct the band descriptions"
    known = {plain_name(name) for name in file_names}
    missing = [name for name in wanted if name and plain_name(name) not in known]
    if missing:
        return (
            f"no band of the file is called {missing[0]!r}: take another file, correct the band descriptions, or set "
            "channel_order to take its bands by position"
        )
    return "give all scenes the channels in one order (channel_order), or correct the band descriptions"


def merge_names(scenes: Mapping[str, Names]) -> tuple[str | None, ...]:
    """The name of each channel over all scenes; None where no scene has one, or scenes use other names.

    Args:
        scenes: scene id -> names in the model's channel order, all of one length.

    Raises:
        DataError: if the names of two scenes contradict each other: one of them would be read wrongly.
    """
    merged: list[str | None] = []
    findings = []
    for scene_id, names in scenes.items():
        first = merged or list(names)
        if match_channels(names, first).wrong:
            what = f"{describe_channels(names)}; the scenes before it {describe_channels(first)}"
            findings.append(Finding(f"scene {scene_id!r}", what))
        merged = [_common_name(one, other) for one, other in zip(first, names, strict=True)]
    if findings:
        fix = "set channel_order so that all scenes give the channels in one order, or correct the band descriptions"
        raise DataError("scenes do not give the same channels in one order", findings=findings[:20], fix=fix)
    return tuple(merged)


def _common_name(one: str | None, other: str | None) -> str | None:
    if one and other:
        return one if same_name(one, other) else None
    return one or other


def describe_channels(names: Names) -> str:
    """Channels in words: their names, or how many without a name."""
    if not any(names):
        return f"{len(names)} channels without names"
    return ", ".join(name or f"channel {index} (no name)" for index, name in enumerate(names))
