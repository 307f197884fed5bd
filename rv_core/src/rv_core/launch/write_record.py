"""What is written before a run starts: all that its tasks read, and what people look up later."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from rv_core.config import saved
from rv_core.errors import StorageError
from rv_core.files import by_uri, uris
from rv_core.plan.decisions import RunPlan
from rv_core.plugins.installed import plugin_manager
from rv_core.plugins.installed_versions import needs_of, version_of
from rv_core.record import layout
from rv_core.record.run_record import TASK_HOOKS, RunRecord
from rv_core.task import environment
from rv_core.version import __version__

if TYPE_CHECKING:
    from rv_core.launch.prepared import PreparedRun

_NAME_OF_NEED = re.compile(r"[A-Za-z0-9._-]+")


def write_record(prepared: PreparedRun) -> None:
    """Write what the run's tasks read and what people look up: config, code, plan, items, run.json."""
    record = make_record(prepared)
    plan_json = {"run_id": prepared.run_id, **prepared.run_plan.to_json()}
    for root_uri in prepared.run_plan.roots.values():
        by_uri.sweep_temporary(root_uri, elsewhere_too=True)
    for name, paths in prepared.paths.items():
        code = prepared.loaded.code
        if code.get("archive"):
            _write_code(uris.join(paths.root_uri, code["archive"]), prepared.loaded.code_archive)
        texts = {paths.config: prepared.config_texts[name], paths.plan: _json(plan_json)}
        for entry in prepared.run_plan.commands:
            if entry.pipeline == name:
                texts[paths.items(entry.job)] = _json({**entry.record(), "task_hooks": record.task_hooks})
        start = len(paths.folder) + 1
        files = {uri[start:]: _write(uri, text) for uri, text in texts.items()}
        _write(paths.run, replace(record, files=files).to_text())
        _write(uris.join(paths.root_uri, layout.CONFIG_FOR_PEOPLE), prepared.config_texts[name])
        _forget(prepared.run_plan, name, paths.root_uri)
    prepared.context.run_dir.mkdir(parents=True, exist_ok=True)


def tidy(prepared: PreparedRun) -> None:
    """Put in order what a run that was killed has left, where nothing is to do: as far as that can be done."""
    for name, paths in prepared.paths.items():
        with suppress(StorageError):
            by_uri.sweep_temporary(paths.root_uri, elsewhere_too=False)
            place = uris.join(paths.root_uri, layout.CONFIG_FOR_PEOPLE)
            text = prepared.config_texts[name]
            if by_uri.exists(place) and saved.plain_in(by_uri.read_bytes(place)) != saved.plain_in(text):
                _write(place, text)


def tidy_indexes(prepared: PreparedRun) -> None:
    """Make one index of the many that the tasks of a root in a store leave: as far as that can be done."""
    for name, paths in prepared.paths.items():
        if uris.is_local(uris.expand(paths.root_uri)):
            continue
        from rv_core.plan import manifest_index

        with suppress(StorageError):
            manifest_index.put_together(paths.root_uri, type(prepared.pipelines[name]).commands())


def _write_code(uri: str, data: bytes) -> None:
    """Put the code of the run in place. Its name is its digest: what is there is the same, or was damaged."""
    if not by_uri.write_once(uri, data) and by_uri.read_bytes(uri) != data:
        by_uri.write_bytes(uri, data)


def _write(uri: str, text: str) -> str:
    """Write a file of the record; the SHA-256 of what was written."""
    # Bytes of a command line or a folder that are no UTF-8 become escapes, which are JSON too.
    data = text.encode("utf-8", "backslashreplace")
    by_uri.write_bytes(uri, data)
    return hashlib.sha256(data).hexdigest()


def _forget(run_plan: RunPlan, pipeline: str, root_uri: str) -> None:
    """Delete the manifests of what is to be done under the keys that it will have.

    A manifest whose output is missing or cut, or that cannot be read, would count by its name if its task fails; one
    that `--rerun` passes over would let an interrupted re-run look done.
    """
    from rv_core.plan.manifests import done_names, manifest_file_name, manifest_name

    for entry in run_plan.commands:
        to_make = [*entry.to_do, *entry.shared_items] if entry.is_selected else []
        if entry.pipeline != pipeline or not to_make:
            continue
        there = done_names(root_uri, entry.command)
        for item in to_make:
            if manifest_file_name(item.id, item.key) in there:
                by_uri.delete(uris.join(root_uri, manifest_name(entry.command, item.id, item.key)))


def make_record(prepared: PreparedRun) -> RunRecord:
    """`run.json` of a run."""
    from rv_core.machine.process_table import host_name, user_name
    from rv_core.redaction import redact_words

    options = prepared.options
    return RunRecord(
        run_id=prepared.run_id,
        runner=options.runner,
        created=layout.utc_now(),
        pipelines=tuple({"name": name, "root_uri": root} for name, root in prepared.run_plan.roots.items()),
        user=user_name(),
        host=host_name(),
        pid=os.getpid(),
        argv=tuple(redact_words(sys.argv)),
        cwd=os.getcwd(),
        capabilities=asdict(prepared.runner.capabilities),
        profile=options.profile or "",
        settings=_saved_settings(prepared, options.runner),
        versions=versions_here(),
        options={
            "splits": options.splits,
            "jobs": prepared.context.jobs,
            "keep_going": options.keep_going,
            "commands": list(options.selection.commands),
            "rerun": options.selection.rerun,
            **({"reuse": list(options.reuse)} if options.reuse else {}),
        },
        code=dict(prepared.loaded.code),
        task_hooks=plugin_manager().implements(*TASK_HOOKS),
        required=_required(prepared),
    )


def _required(prepared: PreparedRun) -> dict[str, dict[str, str]]:
    """What tasks that run on other machines must find there; those on this machine find it anyway."""
    if not prepared.context.capabilities.is_remote:
        return {}
    loaded = prepared.loaded
    return environment.required_here(
        list(prepared.config_texts.values()), loaded.source, prepared.options.runner, loaded.code
    )


def versions_here() -> dict[str, str]:
    """Versions of Python, of the core and every plugin here, and of what they directly need (torch, rasterio …)."""
    found = {"python": ".".join(map(str, sys.version_info[:3])), "rv-core": __version__}
    for record in plugin_manager().records:
        if record.distribution and record.version:
            found[record.distribution] = record.version
            found.update(_versions_of_needs(record.distribution))
    return dict(sorted(found.items()))


def _versions_of_needs(distribution: str) -> Iterator[tuple[str, str]]:
    for need in needs_of(distribution):
        name = _NAME_OF_NEED.match(need)
        version = version_of(name[0]) if name else ""
        if name and version:  # else an extra, or one for another system
            yield name[0], version


def _saved_settings(prepared: PreparedRun, section: str) -> dict[str, Any]:
    from rv_core.settings.sections import RUN_SECTION, saved_settings

    of_runner = prepared.runner.settings
    of_run = {RUN_SECTION: saved_settings(prepared.settings)}
    return of_run if of_runner is None else {**of_run, section: saved_settings(of_runner)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
