"""Planning with a look at the world: reads manifests and fingerprints, then calls the pure `decisions.plan_run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rv_core.errors import UsageError, unknown_name
from rv_core.files.fingerprints import ContentHashes, fingerprint_many
from rv_core.pipeline.pipeline import Pipeline
from rv_core.plan.decisions import RunPlan, plan_run
from rv_core.plan.items import PipelineState, input_uris
from rv_core.plan.manifests import read_done
from rv_core.plan.selection import Selection, ordered_commands


def look_at(pipeline: Pipeline, name: str, *, needed: Iterable[str] | None = None) -> PipelineState:
    """What is done under a pipeline's root, and the fingerprints of all its inputs as they are now.

    Args:
        pipeline: the pipeline.
        name: its name in the plan.
        needed: the commands to look at, or None for all.
    """
    commands = type(pipeline).commands()
    root_uri = pipeline.config.root_uri
    infos = [commands[command] for command in needed] if needed is not None else list(commands.values())
    hashes = ContentHashes.of_root(root_uri)
    found = fingerprint_many(input_uris(pipeline, infos), hashes)
    tokens = {uri: fingerprint.token for uri, fingerprint in found.items()}
    states = {uri: fingerprint.state for uri, fingerprint in found.items() if fingerprint.state is not None}
    return PipelineState(pipeline, name, read_done(root_uri, commands), tokens, states)


def plan_pipelines(
    pipelines: Mapping[str, Pipeline],
    *,
    splits: int = 1,
    selection: Selection = Selection(),  # noqa: B008
) -> RunPlan:
    """Plan a run over pipelines, by name."""
    return plan_run([look_at(p, name) for name, p in pipelines.items()], splits=splits, selection=selection)


def plan_one_command(pipeline: Pipeline, command: str) -> dict[str, dict[str, Any]]:
    """The records (`items/<job>.json`) of a command and of all that come before it, by command.

    Every item counts as to do, so that shares do not depend on what happens to be done already.

    Raises:
        UsageError: if the pipeline has no such command.
    """
    order = [info.name for info in ordered_commands(type(pipeline).commands())]
    if command not in order:
        what, fix = unknown_name("command", command, order)
        raise UsageError(what, fix=fix)
    state = look_at(pipeline, pipeline.config.name or "pipeline")
    planned = plan_run([PipelineState(state.pipeline, state.name, type(state.done)(), state.fingerprints)])
    return {entry.command: entry.record() for entry in planned.commands}
