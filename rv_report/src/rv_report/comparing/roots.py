"""The runs that are compared: what is known of each root."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rv_core import ReportOutcomes, api
from rv_core.errors import UsageError
from rv_core.files import uris
from rv_report.run_facts import pipeline_facts

_RUNS = os.path.join(".rv", "runs")


@dataclass(frozen=True)
class ComparedRoot:
    """A root, by its newest run.

    Args:
        label: what it is called in tables: the end of its name, as much as tells it from the others.
        root_uri: where it lies.
        pipeline: the name of its pipeline.
        state: of the run.
        config: of the pipeline, as plain values.
        fingerprints: URI of an input -> what tells its content.
        code: what tells the code of the user's module; "" for none.
        versions: package -> version.
        numbers: what the pipeline sums up.
        outcomes: what was predicted, by subset.
        problems: why something of this is not known, a sentence each.
    """

    label: str
    root_uri: str
    pipeline: str
    state: str
    config: Mapping[str, Any]
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    outcomes: Mapping[str, ReportOutcomes] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def roots_of(words: Sequence[str]) -> list[str]:
    """The roots that are named; a folder on this machine that is none stands for those in it.

    Raises:
        UsageError: if these are fewer than two.
    """
    found: list[str] = []
    for word in words:
        root = uris.expand(uris.placed_root(word, os.getcwd()))
        found += roots_in(root) if uris.is_local(root) else [root]
    found = list(dict.fromkeys(found))
    if len(found) < 2:
        what = f"there is only {found[0]} to compare" if found else "there is no root to compare"
        raise UsageError(what, fix="name two roots or more, or one folder that holds them")
    return found


def roots_in(root: str) -> list[str]:
    """The roots in a folder on this machine; the folder itself where it is a root, or holds none."""
    folder = uris.local_path(root)
    if os.path.isdir(os.path.join(folder, _RUNS)) or not os.path.isdir(folder):
        return [root]
    with os.scandir(folder) as entries:
        inner = sorted(entry.path for entry in entries if os.path.isdir(os.path.join(entry.path, _RUNS)))
    # What holds none is no root either: whoever reads it says so.
    return inner or [root]


def read_root(root_uri: str, label: str) -> ComparedRoot:
    """What is known of a root.

    Raises:
        UsageError: if it holds no run.
        StorageError: if it cannot be read.
    """
    status = api.status(root_uri)
    own = next((name for name, root in status.files.roots.items() if uris.is_same_root(root, root_uri)), None)
    name = own or next(iter(status.files.roots))
    facts = next(found for found in pipeline_facts(status) if found.name == name)
    record = status.files.record
    problems = [] if facts.config is not None else ["its config cannot be read"]
    told = api.report_outcomes(status, name)
    problems += told.problems
    if status.state != "done":
        problems.append(f"its newest run is {status.state}")
    summary = next((one.summary for one in api.summaries(status) if one.pipeline == name), None)
    return ComparedRoot(
        label=label,
        root_uri=root_uri,
        pipeline=name,
        state=status.state,
        config=facts.config or {},
        fingerprints=facts.fingerprints,
        code=str(record.code.get("sha256") or ""),
        versions=record.versions,
        numbers={} if summary is None else summary.numbers,
        outcomes={found.subset: found for found in told.outcomes},
        problems=tuple(problems),
    )


def labels_of(roots: Sequence[str]) -> list[str]:
    """The ends of names of roots, as many parts as tell them apart."""
    parts = [root.rstrip("/").split("/") for root in roots]
    for count in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(own[-count:]) for own in parts]
        if len(set(labels)) == len(labels):
            return labels
    return list(roots)
