"""Which channels of an image a model sees: by their names, else as they were read from the training images."""

from __future__ import annotations

from collections.abc import Sequence

from rv_core.errors import DataError
from rv_pipeline_chip_classification.model.contract import ModelContract, match_channels


def choose_channels(
    contract: ModelContract,
    names: Sequence[str | None],
    file_channels: Sequence[int],
    *,
    where: str,
    num_bands: int | None = None,
) -> tuple[tuple[int, ...] | None, str]:
    """The channels of a file in the model's order: by their names where both have names, else as in training.

    Args:
        contract: of the model.
        names: descriptions of the channels, None where there is none.
        file_channels: where each of them is in the file, 0-based.
        where: the image, for messages.
        num_bands: of the file; None for as many as are read.

    Returns:
        (channels or None for all, what the user should know).

    Raises:
        DataError: if a name that the model needs is missing, or the order of nameless channels is not known.
    """
    # Too few channels are better told by their number than by the names that are missing.
    has_names = all(contract.channels) and any(names) and len(names) >= contract.num_channels
    by_name = match_channels(contract, names, where=where) if has_names else None
    if by_name is None:
        whose = "the image" if all(contract.channels) else "the bundle"
        return _in_training_order(contract, file_channels, num_bands or len(file_channels), whose, where)
    channels = tuple(file_channels[index] for index in by_name)
    if channels == tuple(file_channels):
        return None, ""
    return channels, f"channels are matched by name: {','.join(map(str, channels))}"


def _in_training_order(
    contract: ModelContract, own: Sequence[int], num_bands: int, whose: str, where: str
) -> tuple[tuple[int, ...] | None, str]:
    """As `choose_channels` for channels without names; `own` are those of the file, 0-based, without alpha."""
    order, count = contract.file_channels, contract.num_channels
    because = f"because {whose} does not name them"
    is_natural = order is None or (order == tuple(range(count)) and len(own) <= count)
    if is_natural:
        return None, f"channels are taken by position, {because}"
    why = "the training scenes were read in different orders"
    if order:
        shown = ",".join(map(str, order))
        if num_bands == contract.num_bands or (contract.num_bands is None and max(order) < num_bands):
            return order, f"channels are taken as in training ({shown}), {because}"
        why = f"the model was trained on the channels {shown} of {contract.num_bands} bands, the image has {num_bands}"
    raise DataError(
        "it cannot be told which channels of this image the model wants",
        where=where,
        why=f"{whose} does not name them, and {why}",
        fix="say which 0-based channels to use, in the model's order, for instance --channel-order "
        + ",".join(map(str, range(count))),
    )
