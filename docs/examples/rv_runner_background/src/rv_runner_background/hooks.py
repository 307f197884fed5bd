"""What this package declares to rv. It is imported by every `rv` command, so it imports rv_core and nothing else."""

from __future__ import annotations

from rv_core import RunnerSpec, hookimpl

RV_HOOK_API_VERSION = 1


@hookimpl
def rv_runners() -> list[RunnerSpec]:
    """The runner `background`."""
    return [
        RunnerSpec(
            name="background",
            target="rv_runner_background.runner:BackgroundRunner",
            summary="leaves the run to shells in the background of this machine and returns",
        ),
    ]
