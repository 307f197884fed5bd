"""Whether a failed attempt is tried again; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Action = Literal["RETRY", "EXIT"]


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Args:
        exit_code: of the container; None where it never ran or its host was gone before it told.
        reason: what the container agent says (`container.reason`), "" for nothing.
        status_reason: what the service says.
    """

    exit_code: int | None
    reason: str = ""
    status_reason: str = ""


def action_for(outcome: Outcome, rules: Sequence[Mapping[str, str]]) -> Action:
    """The action of the first rule whose conditions all hold; RETRY where none does."""
    for rule in rules:
        if _holds(rule, outcome):
            return "EXIT" if rule["action"].upper() == "EXIT" else "RETRY"
    return "RETRY"


def is_retried(outcome: Outcome, strategy: Mapping[str, Any], num_attempts: int) -> bool:
    """Whether a job that failed is tried again after that many attempts."""
    if num_attempts >= strategy.get("attempts", 1):
        return False
    return action_for(outcome, strategy.get("evaluateOnExit", ())) == "RETRY"


def _holds(rule: Mapping[str, str], outcome: Outcome) -> bool:
    code = None if outcome.exit_code is None else str(outcome.exit_code)
    values = {"onExitCode": code, "onReason": outcome.reason, "onStatusReason": outcome.status_reason}
    return all(_matches(rule[name], value) for name, value in values.items() if name in rule)


def _matches(pattern: str, value: str | None) -> bool:
    """`AB*` is what starts with AB; an exit code that is not known matches nothing, a text that is missing only `*`."""
    if value is None:
        return False
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
