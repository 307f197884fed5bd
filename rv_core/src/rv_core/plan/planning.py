"""Planning with a look at the world: reads manifests and fingerprints, then calls the pure `decisions.plan_run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rv_core.config.type_hints import TYPE_HINT, hint_of
from rv_core.errors import UsageError, unknown_name
from rv_core.files import uris
from rv_core.files.fingerprints import ContentHashes, fingerprint_many
from rv_core.pipeline.pipeline import Pipeline
from rv_core.plan.decisions import RunPlan, plan_run
from rv_core.plan.items import PipelineState, input_uris
from rv_core.plan.manifests import read_done
from rv_core.plan.selection import Selection, ordered_commands, present_commands
from rv_core.plan.sharing import OtherRoot, Refused


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
    kind = hint_of(type(pipeline.config))
    return PipelineState(pipeline, name, read_done(root_uri, commands), tokens, states, kind)


def look_at_other(root_uri: str, pipelines: Iterable[Pipeline]) -> OtherRoot | None:
    """What is done in a root whose work may be taken; None if it is the root of one of the pipelines itself.

    Args:
        root_uri: the root, by the one name that it has.
        pipelines: those that may take something.

    Raises:
        UsageError: if nothing has been run there, or another pipeline was.
        StorageError: if it cannot be read.
    """
    from rv_core.config import saved
    from rv_core.files import by_uri

    if any(uris.is_same_root(pipeline.config.root_uri, root_uri) for pipeline in pipelines):
        return None
    place = uris.join(root_uri, "pipeline-config.json")
    plain = saved.plain_in(by_uri.read_many([place]).get(place, b""))
    if not isinstance(plain, dict):
        fix = "name a root under which a pipeline was run"
        raise UsageError("nothing can be taken from here: no run is recorded", where=root_uri, fix=fix)
    kind = str(plain.get(TYPE_HINT, ""))
    commands = [type(p).commands() for p in pipelines if hint_of(type(p.config)) == kind]
    if not commands:
        wanted = ", ".join(sorted({hint_of(type(pipeline.config)) for pipeline in pipelines}))
        raise UsageError(
            "nothing can be taken from here: another pipeline was run",
            where=root_uri,
            why=f"its config is {kind or 'of no type'}, that of this run is {wanted}",
            fix="name a root of the same pipeline",
        )
    return OtherRoot(root_uri, kind, read_done(root_uri, commands[0]))


def plan_pipelines(
    pipelines: Mapping[str, Pipeline],
    *,
    splits: int = 1,
    selection: Selection = Selection(),  # noqa: B008
    reuse: Sequence[str] = (),
    refused: Refused | None = None,
) -> RunPlan:
    """Plan a run over pipelines, by name.

    Args:
        pipelines: the pipelines.
        splits: how many tasks a command with items becomes, at most.
        selection: which commands.
        reuse: other roots whose work is taken where it is equal.
        refused: what cannot be taken from there.
    """
    others = [look_at_other(root_uri, pipelines.values()) for root_uri in dict.fromkeys(reuse)]
    return plan_run(
        [look_at(p, name) for name, p in pipelines.items()],
        splits=splits,
        selection=selection,
        others=[other for other in others if other is not None],
        refused=refused,
    )


def plan_one_command(pipeline: Pipeline, command: str) -> dict[str, dict[str, Any]]:
    """The records (`items/<job>.json`) of a command and of all that come before it, by command.

    Every item counts as to do, so that shares do not depend on what happens to be done already.

    Raises:
        UsageError: if the pipeline has no such command.
    """
    order = [info.name for info in ordered_commands(present_commands(pipeline))]
    if command not in order:
        what, fix = unknown_name("command", command, order)
        raise UsageError(what, fix=fix)
    state = look_at(pipeline, pipeline.config.name or "pipeline")
    planned = plan_run([PipelineState(state.pipeline, state.name, type(state.done)(), state.fingerprints)])
    return {entry.command: entry.record() for entry in planned.commands}
