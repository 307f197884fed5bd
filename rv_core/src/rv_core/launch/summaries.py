"""What the pipelines of a run say of their results: asked for at its end, or read back from what its end has left.

A summary is made of what lies under the root, by code that is at hand anyway (`rv run`), or that an installed plugin
declares (`rv status`); code that is found under a root is never imported for it. Nothing in it can fail a run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rv_core.errors import StorageError
from rv_core.files import by_uri
from rv_core.files.storage import FileOutput, Storage
from rv_core.pipeline.overrides import is_overridden
from rv_core.pipeline.pipeline import Pipeline, PipelineConfig
from rv_core.record.layout import RunPaths
from rv_core.record.summary_file import read_summary, write_summary
from rv_core.status.results import PipelineSummary
from rv_core.wording import shortened

if TYPE_CHECKING:
    from rv_core.launch.prepared import PreparedRun
    from rv_core.status.values import RunStatus

_MAX_REASON = 300


def summaries_at_end(prepared: PreparedRun, *, is_recorded: bool) -> list[PipelineSummary]:
    """The results of a run that has done all that was asked for.

    Args:
        prepared: the run.
        is_recorded: whether it has a record, where they are kept for who looks later.
    """
    found = []
    for name, pipeline in prepared.pipelines.items():
        if not is_overridden(pipeline, "summary"):
            continue
        commands = [entry for entry in prepared.run_plan.commands if entry.pipeline == name]
        done = {entry.command for entry in commands if entry.decision != "not selected" or not entry.to_do}
        made = _made(pipeline, name, done, keep=prepared.paths[name] if is_recorded else None)
        if made is not None:
            found.append(made)
    return found


def summaries_of(status: RunStatus) -> list[PipelineSummary]:
    """The results of a run that is done: as its end has left them, else as an installed plugin tells them."""
    if status.state != "done":
        return []
    found = []
    for name, root_uri in status.files.roots.items():
        paths = RunPaths(root_uri, status.files.run_id)
        stored = read_summary(paths)
        if stored.summary is not None:
            found.append(PipelineSummary(name, root_uri, stored.summary))
            continue
        made = _made_by_plugin(paths, name, done_commands(status, name)) if is_latest(status, root_uri) else None
        if made is None and stored.problem:
            made = PipelineSummary(name, root_uri, problem=stored.problem)
        if made is not None:
            found.append(made)
    return found


def _made(pipeline: Pipeline, name: str, done: Collection[str], *, keep: RunPaths | None) -> PipelineSummary | None:
    root_uri = pipeline.config.root_uri
    storage = ReadStorage(root_uri)
    try:
        summary = pipeline.summary(storage, frozenset(done))
        if summary is None:
            return None
        summary.to_json()
    except StorageError as error:
        return PipelineSummary(name, root_uri, problem=f"its results cannot be summed up: {error.block.what}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a pipeline does there, its run is done
        reason = shortened(" ".join(f"{type(error).__name__}: {error}".split()), _MAX_REASON)
        return PipelineSummary(name, root_uri, problem=f"its results cannot be summed up: {reason}")
    if keep is not None:
        with suppress(StorageError):  # who looks later asks the plugin, or is told nothing
            write_summary(keep, summary, storage.sources.values())
    return PipelineSummary(name, root_uri, summary)


def _made_by_plugin(paths: RunPaths, name: str, done: Collection[str]) -> PipelineSummary | None:
    """None where no plugin that is installed here knows the pipeline, or has anything to say."""
    pipeline = known_pipeline(paths)
    return _made(pipeline, name, done, keep=None) if pipeline and is_overridden(pipeline, "summary") else None


def known_pipeline(paths: RunPaths) -> Pipeline | None:
    """The pipeline of a run, its root being where it lies now; None where installed plugins do not know its whole config.

    No module is imported by a name that the root gives.
    """
    from rv_core.config import saved, type_hints

    try:
        text = by_uri.read_text(paths.config)
        hints = set(_hints(saved.parse_plain(text, source=paths.config).plain))
        if not hints or not hints <= set(type_hints.registered_types()):
            return None
        pipeline = saved.parse(text, source=paths.config, expected=PipelineConfig).config.build()
    except (Exception, SystemExit):  # noqa: BLE001 - another version, a config that it does not know: nothing to say
        return None
    pipeline.config.root_uri = paths.root_uri
    return pipeline


def _hints(plain: Any) -> Iterator[str]:
    """Every `type_hint` in a plain config."""
    inner = plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ()
    if isinstance(plain, dict) and "type_hint" in plain:
        yield str(plain["type_hint"])
    for value in inner:
        yield from _hints(value)


def done_commands(status: RunStatus, pipeline: str) -> set[str]:
    """The commands of a pipeline all of whose items are done under the keys of a run."""
    jobs = [job for job in status.jobs if job.pipeline == pipeline]
    return {job.command for job in jobs if job.state in ("done", "skipped") and job.items_done == job.items_total}


def is_latest(status: RunStatus, root_uri: str) -> bool:
    """Whether what lies under the root is what this run has left, and not a later one."""
    from rv_core.record.reading import known_run_ids

    try:
        return known_run_ids(root_uri)[:1] == [status.files.run_id]
    except StorageError:
        return False


class ReadStorage(Storage):
    """The files of a root, to be read; remembers what was."""

    def __init__(self, root_uri: str) -> None:
        super().__init__(root_uri, attempt_tag="summary")
        self.sources: dict[str, FileOutput] = {}

    def read_bytes(self, name: str) -> bytes:
        """As of `Storage`."""
        data = super().read_bytes(name)
        self.sources[name] = FileOutput(name, len(data), hashlib.sha256(data).hexdigest())
        return data

    def read_text(self, name: str) -> str:
        """As of `Storage`."""
        return self.read_bytes(name).decode("utf-8")

    def input_file(self, name: str) -> Path:
        """As of `Storage`."""
        path = super().input_file(name)
        self.sources[name] = FileOutput(name, *by_uri.digest(str(path)))
        return path

    def _writable(self, name: str) -> NoReturn:
        raise StorageError(
            f"who looks at results writes nothing, and this one wants to write {name!r}", where=self.root_uri
        )
