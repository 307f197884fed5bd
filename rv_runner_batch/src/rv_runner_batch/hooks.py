"""What this package declares to rv."""

from __future__ import annotations

from rv_core import CommandSpec, RunnerSpec, hookimpl

RV_HOOK_API_VERSION = 1


@hookimpl
def rv_runners() -> list[RunnerSpec]:
    """The `batch` runner."""
    return [
        RunnerSpec(
            name="batch",
            target="rv_runner_batch.runner:BatchRunner",
            summary="submits tasks to AWS Batch and returns; status, logs and cancel work from any machine",
            settings="rv_runner_batch.settings:BatchSettings",
        )
    ]


@hookimpl
def rv_commands() -> list[CommandSpec]:
    """`rv batch`."""
    return [
        CommandSpec(
            name="batch",
            target="rv_runner_batch.setup.cli:app",
            summary="Set AWS Batch up and check the set-up.",
            panel="Extend",
        )
    ]
