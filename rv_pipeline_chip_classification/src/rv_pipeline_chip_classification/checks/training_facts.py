"""What a training depends on besides fields and files: the card of its weights, the text of a backbone of one's own."""

from __future__ import annotations

from collections.abc import Iterator

from rv_core.errors import Finding, RvError
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.config_checks import own_backbone


def training_facts(config: ChipClassificationConfig) -> dict[str, str]:
    """Digests by name, as they enter the key of `train`; empty for most configs, for which nothing is imported.

    What cannot be read has the digest "unknown": the check says why, and a training does not begin.
    """
    found = {}
    model = config.model
    if own_backbone(model.backbone) is not None:
        found[f"code of {model.backbone}"] = code_digest_of(model.backbone)
    if model.weights is not None:
        found["weights"] = _card_digest(model.weights)
    return found


def code_digest_of(backbone: str) -> str:
    """The digest of the text of a backbone that is the user's own; "" for another one, "unknown" where it is not here."""
    from rv_pipeline_chip_classification.model.own_code import digest_of_backbone

    try:
        return digest_of_backbone(backbone) or ""
    except RvError:
        return "unknown"


def _card_digest(named: str) -> str:
    from rv_pipeline_chip_classification.pretrained.store import find_card

    try:
        return find_card(named).digest
    except RvError:
        return "unknown"


def check_own_parts(config: ChipClassificationConfig) -> Iterator[Finding]:
    """Whether the code of the backbone is here, and the card of the weights is one, and of this backbone."""
    model = config.model
    try:
        if own_backbone(model.backbone) is not None:
            from rv_pipeline_chip_classification.model.own_code import digest_of_backbone

            digest_of_backbone(model.backbone)
    except RvError as err:
        yield finding_of("model.backbone", err)
    try:
        if model.weights is not None:
            from rv_pipeline_chip_classification.pretrained.card import check_architecture
            from rv_pipeline_chip_classification.pretrained.store import find_card

            check_architecture(find_card(model.weights), model.backbone)
    except RvError as err:
        yield finding_of("model.weights", err)


def finding_of(where: str, err: RvError) -> Finding:
    """An error as one finding: with the first of its own, whatever number there is."""
    block = err.block
    file = "" if not block.where or block.where.startswith("model.") else f"{block.where}: "
    why, fix = block.why, block.fix
    if block.findings:
        first, more = block.findings[0], len(block.findings) - 1
        why = f"{first.where}: {first.what}" + (f", and {more} more" if more else "")
        fix = first.fix or fix
    place = block.where if block.where.startswith("model.") else where
    return Finding(place, f"{file}{block.what}" + (f" ({why})" if why else ""), fix)
