"""What this package declares to rv."""

from __future__ import annotations

from rv_core import CommandSpec, hookimpl

RV_HOOK_API_VERSION = 1


@hookimpl
def rv_commands() -> list[CommandSpec]:
    """`rv report` and `rv compare`."""
    return [
        CommandSpec("report", "rv_report.report:report", "Write a page about a run that opens offline.", "Look"),
        CommandSpec(
            "compare", "rv_report.comparing.cli:compare", "Show what differs between runs, and by how much.", "Look"
        ),
    ]
