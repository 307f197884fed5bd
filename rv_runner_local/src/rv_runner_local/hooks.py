"""What this package declares to rv."""

from __future__ import annotations

from rv_core import RunnerSpec, hookimpl

RV_HOOK_API_VERSION = 1


@hookimpl
def rv_runners() -> list[RunnerSpec]:
    """The `local` runner."""
    return [
        RunnerSpec(
            name="local",
            target="rv_runner_local.runner:LocalRunner",
            summary="runs tasks side by side on this machine, with GNU make",
            settings="rv_runner_local.settings:LocalSettings",
        )
    ]
