"""What this package declares to rv."""

from __future__ import annotations

from rv_core import RunnerSpec, hookimpl

RV_HOOK_API_VERSION = 1


@hookimpl
def rv_runners() -> list[RunnerSpec]:
    """The `slurm` runner."""
    return [
        RunnerSpec(
            name="slurm",
            target="rv_runner_slurm.runner:SlurmRunner",
            summary="submits tasks to a Slurm cluster and returns; status, logs and cancel ask the cluster",
            settings="rv_runner_slurm.settings:SlurmSettings",
        )
    ]
