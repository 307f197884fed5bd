"""Which channel of the images is which band of a card: by name, and by position only where there are no names. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rv_core.errors import DataError
from rv_pipeline_chip_classification.pretrained.card import WeightCard
from rv_pipeline_chip_classification.scenes.channel_names import describe_channels, plain_name


@dataclass(frozen=True)
class BandMatch:
    """How the channels of the images go with the bands of a card.

    Args:
        columns: for each channel the band of the card, or None for a channel that the card does not know.
        notes: what is worth knowing, in words.
    """

    columns: tuple[int | None, ...]
    notes: tuple[str, ...] = ()


def match_bands(card: WeightCard, channels: Sequence[str | None]) -> BandMatch:
    """Find the band of each channel.

    Args:
        card: the card.
        channels: names of the images' channels in the model's order; None for one without a name.

    Raises:
        DataError: if channels have names and none of them is a band of the card, two are the same band, or channels
            without names are not as many as the card's bands.
    """
    if not any(channels):
        return _by_position(card, len(channels))
    places = {plain_name(name): index for index, names in enumerate(card.bands) for name in names}
    columns = tuple(places.get(plain_name(name)) for name in channels)
    known = [column for column in columns if column is not None]
    if not known:
        raise _misfit(card, channels, "none of its channels is a band of the card")
    if len(set(known)) < len(known):
        raise _misfit(card, channels, "two of its channels are the same band of the card")
    lost = [name or f"channel {index}" for index, name in enumerate(channels) if columns[index] is None]
    if not lost:
        return BandMatch(columns)
    verb = "is no band" if len(lost) == 1 else "are no bands"
    note = f"{', '.join(lost)} {verb} of card {card.name!r}: the mean of the others' filters is taken"
    return BandMatch(columns, (note,))


def _by_position(card: WeightCard, num_channels: int) -> BandMatch:
    if num_channels != len(card.bands):
        why = f"there are {num_channels} channels without names, and the card has {len(card.bands)} bands"
        raise _misfit(card, [None] * num_channels, why)
    note = f"channels have no names: taken by position for {', '.join(card.band_names)}"
    return BandMatch(tuple(range(num_channels)), (note,))


def _misfit(card: WeightCard, channels: Sequence[str | None], why: str) -> DataError:
    return DataError(
        f"the images do not have the bands of card {card.name!r}",
        where="model.weights",
        why=f"{why}: they give {describe_channels(channels)}; it knows {', '.join(card.band_names)}",
        fix="describe the bands of the images, choose channels with channel_order, or take weights of these bands",
    )
