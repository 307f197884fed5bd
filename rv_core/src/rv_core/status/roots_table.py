"""The roots in a folder, as after a sweep: a row each, with its state and the first numbers of its results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rv_core.errors import RvError
from rv_core.files import uris
from rv_core.pipeline.summary import Value
from rv_core.record.layout import RUNS_FOLDER
from rv_core.record.reading import find_run
from rv_core.status.look import status_of
from rv_core.status.page import moment_text
from rv_core.status.results import PipelineSummary
from rv_core.status.values import JobStatus, RunStatus, created_s
from rv_core.wording import cell_text

#: So many numbers are a column each; `--json` has all.
MAX_NUMBERS = 3
#: What a pipeline is called of whose jobs one is so, most telling first.
_TELLING = ("failed", "lost", "unknown", "cancelled", "stopped", "running", "submitted", "waiting")

Summarise = Callable[[RunStatus], Sequence[PipelineSummary]]


@dataclass(frozen=True)
class RootRow:
    """One root.

    Args:
        root: its name, relative to the folder.
        root_uri: where it is.
        pipeline: the name of its pipeline.
        run_id: its last run, or the one that is going on.
        state: of its own part of that run.
        items_done, items_total: of the commands that were asked for.
        created: when the run began, as its record says.
        started_s: the same in seconds since 1970; 0.0 = unknown.
        numbers: what the pipeline says of its results.
        problem: why nothing is known of it.
    """

    root: str
    root_uri: str
    pipeline: str = ""
    run_id: str = ""
    state: str = "unknown"
    items_done: int = 0
    items_total: int = 0
    created: str = ""
    started_s: float = 0.0
    numbers: Mapping[str, Value] = field(default_factory=dict)
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = asdict(self)
        del plain["started_s"]
        return plain


def roots_in(folder_uri: str) -> list[str]:
    """The names of the roots right below a folder that is no root itself; with a store by one listing.

    Raises:
        StorageError: if the folder cannot be looked at.
    """
    if uris.is_local(folder_uri):
        folder = uris.local_path(folder_uri)
        if not os.path.isdir(folder):
            return []
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if os.path.isdir(os.path.join(e.path, RUNS_FOLDER)))
    from rv_core.files import by_uri

    split = (name.partition("/") for name in by_uri.list_files(folder_uri))
    return sorted({root for root, _, rest in split if rest.startswith(f"{RUNS_FOLDER}/")})


def rows_of(folder_uri: str, roots: Iterable[str], summarise: Summarise) -> list[RootRow]:
    """A row for each root; a run of several of them is looked at once.

    Args:
        folder_uri: the folder.
        roots: their names in it.
        summarise: what pipelines say of the results of a run that is done.
    """
    known: dict[str, tuple[RunStatus, dict[str, PipelineSummary]]] = {}
    rows = []
    for root in roots:
        root_uri = uris.join(folder_uri, root)
        try:
            files = find_run(root_uri)
            if files.run_id not in known:
                status = status_of(files)
                known[files.run_id] = status, {one.pipeline: one for one in summarise(status)}
            rows.append(_row(root, root_uri, *known[files.run_id]))
        except RvError as err:
            rows.append(RootRow(root, root_uri, problem=err.one_line()))
    return rows


def _row(root: str, root_uri: str, status: RunStatus, summaries: Mapping[str, PipelineSummary]) -> RootRow:
    record = status.files.record
    places = status.files.roots
    name = next((name for name, place in places.items() if uris.is_same_root(place, root_uri)), next(iter(places)))
    jobs = [job for job in status.jobs if job.pipeline == name and job.reason != "not selected"]
    told = summaries.get(name)
    return RootRow(
        root,
        root_uri,
        name,
        record.run_id,
        _state_of(jobs),
        sum(job.items_done for job in jobs),
        sum(job.items_total for job in jobs),
        record.created,
        created_s(record),
        told.summary.numbers if told is not None and told.summary is not None else {},
    )


def _state_of(jobs: Sequence[JobStatus]) -> str:
    states = {job.state for job in jobs}
    return next((state for state in _TELLING if state in states), "done")


def table_of(rows: Sequence[RootRow]) -> tuple[list[str], list[list[str]]]:
    """(headings, cells): the first numbers that any of them has are a column each."""
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))[:MAX_NUMBERS]
    cells = [
        [
            row.root,
            row.state,
            f"{row.items_done}/{row.items_total}",
            *(cell_text(row.numbers[name]) if name in row.numbers else "" for name in names),
            moment_text(row.started_s) or row.created or row.problem,
        ]
        for row in rows
    ]
    return ["root", "state", "items", *names, "when"], cells
