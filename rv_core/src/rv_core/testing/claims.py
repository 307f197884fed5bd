"""Which rules hold for which runners: capabilities are data, and what is not claimed is skipped by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rv_core.testing.workbench import Workbench

MARK = "rv_needs"


def needs(*capabilities: str) -> pytest.MarkDecorator:
    """Mark a rule as one that holds for runners with these capabilities alone; `not NAME` stands for the opposite."""
    mark: pytest.MarkDecorator = getattr(pytest.mark, MARK)(*capabilities)
    return mark


def skip_unclaimed(item: pytest.Item, bench: Workbench) -> None:
    """Skip a rule that needs a capability which the runner does not claim; the reason names it."""
    for mark in item.iter_markers(MARK):
        for capability in mark.args:
            if not bench.claims(capability):
                pytest.skip(bench.facts.why_unclaimed(capability))
