"""Which channels of an image a model sees: by their names, else as they were read from the training images."""

from __future__ import annotations

from collections.abc import Sequence

from rv_core.errors import DataError, Finding, nearest
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.scenes.channel_names import describe_channels, match_channels, plain_name


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
    if not all(contract.channels) or not any(names) or len(names) < contract.num_channels:
        whose = "the image" if all(contract.channels) else "the bundle"
        return _in_training_order(contract, file_channels, num_bands or len(file_channels), whose, where)
    order = match_channels(names, contract.channels).order
    if order is None:
        raise _without_channels(contract, names, where)
    channels = tuple(file_channels[index] for index in order)
    if channels == tuple(file_channels):
        return None, ""
    return channels, f"channels are matched by name: {','.join(map(str, channels))}"


def _without_channels(contract: ModelContract, names: Sequence[str | None], where: str) -> DataError:
    """An image that has names, and not once each of those that the model needs."""
    known = [plain_name(name) for name in names]
    sought = [name for name in contract.channels if name]
    return DataError(
        "this image does not have the channels of the model",
        where=where,
        findings=[_missing(name, known, names) for name in sought if known.count(plain_name(name)) != 1],
        fix=f"say which 0-based channels to use, for instance {_example(contract)}",
    )


def _missing(name: str, known: Sequence[str], names: Sequence[str | None]) -> Finding:
    if known.count(plain_name(name)) > 1:
        return Finding(name, "several bands have this description")
    near = nearest(name, [description for description in names if description])
    return Finding(name, "no band has this description", f"did you mean {near!r}?" if near else "")


def _example(contract: ModelContract) -> str:
    return "--channel-order " + ",".join(map(str, range(contract.num_channels)))


def check_given_order(
    contract: ModelContract, names: Sequence[str | None], band_names: Sequence[str | None], *, where: str
) -> str:
    """What to know of channels that were taken by position, on the user's word or for want of names.

    Args:
        contract: of the model.
        names: of the channels of the image, in the model's order.
        band_names: of all bands of the image.
        where: the image, for messages.

    Returns:
        A sentence where image and model use other names; "" for none.

    Raises:
        DataError: if the names prove that these are not the channels of the model.
    """
    match = match_channels(names, contract.channels, file_names=band_names)
    own, trained = describe_channels(names), describe_channels(contract.channels)
    if match.is_refused(is_order_given=True):
        order = match_channels(band_names, contract.channels).order
        by_name = f"give --channel-order {','.join(map(str, order))}, " if order else ""
        raise DataError(
            "the names of the channels contradict their order",
            where=where,
            why=f"{own} would be taken for {trained}",
            fix=f"leave --channel-order out, {by_name}or correct the band descriptions",
        )
    return f"channels are taken by position: here they are {own}, in training {trained}" if match.differ else ""


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
        fix=f"say which 0-based channels to use, in the model's order, for instance {_example(contract)}",
    )
