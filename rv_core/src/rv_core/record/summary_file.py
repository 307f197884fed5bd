"""`summary.json` in the folder of a run: what its pipeline said of the results, and which files it had read for that.

Whoever looks at the root later, without the pipeline's package, reads it back. It holds for as long as these files are
what they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

from rv_core import state_json
from rv_core.errors import StorageError
from rv_core.files import by_uri
from rv_core.files.storage import FileOutput, Storage
from rv_core.pipeline.summary import Summary
from rv_core.plan.manifests import output_json
from rv_core.record.layout import RunPaths
from rv_core.redaction import redact_values

_SHAPE = {
    "format": range(1, 2),
    "summary": dict,
    "sources": [{"path": str, "bytes": range(1 << 63), "sha256": str}],
}
#: A summary is made of small files; a damaged record may name any.
_MAX_BYTES = 64 << 20
DAMAGED = "the summary of the results of this run is damaged"


class StoredSummary(NamedTuple):
    """What `summary.json` says, as far as that still holds.

    Args:
        summary: None if there is none, or it no longer holds.
        problem: why it does not hold; "" where there was none.
    """

    summary: Summary | None = None
    problem: str = ""


def write_summary(paths: RunPaths, summary: Summary, sources: Iterable[FileOutput]) -> None:
    """Write the summary of a run, redacted: who reads it back may not know the secrets of who has run.

    Args:
        paths: of the run.
        summary: what is said.
        sources: the files that were read for it.

    Raises:
        StorageError: if it cannot be written.
    """
    plain = {"format": 1, "summary": redact_values(summary.to_json()), "sources": [output_json(s) for s in sources]}
    text = json.dumps(plain, ensure_ascii=False, indent=1) + "\n"
    by_uri.write_bytes(paths.summary, text.encode("utf-8", "backslashreplace"))


def read_summary(paths: RunPaths) -> StoredSummary:
    """The summary of a run, if its sources are what they were: one read, and one of each source."""
    try:
        text = by_uri.read_many([paths.summary]).get(paths.summary)
        if text is None:
            return StoredSummary()
        plain = state_json.read(text, _SHAPE)
        summary = Summary.from_json(plain["summary"])
        changed = _changed(
            Storage(paths.root_uri), [FileOutput(s["path"], s["bytes"], s["sha256"]) for s in plain["sources"]]
        )
    except (ValueError, TypeError, StorageError):
        return StoredSummary(problem=DAMAGED)
    return (
        StoredSummary(problem=f"the results of this run are not shown: {changed}")
        if changed
        else StoredSummary(summary)
    )


def _changed(storage: Storage, sources: list[FileOutput]) -> str:
    """Which source is not what it was, in words; "" if all are."""
    if sum(source.bytes for source in sources) > _MAX_BYTES:
        return "it names files that are too large"
    sizes = {uri: info.size for uri, info in by_uri.stat_many(storage.uri(s.path) for s in sources).items()}
    for source in sources:
        size = sizes.get(storage.uri(source.path))
        if size is None:
            return f"{source.path} is missing"
        is_same = size == source.bytes and hashlib.sha256(storage.read_bytes(source.path)).hexdigest() == source.sha256
        if not is_same:
            return f"{source.path} has changed since"
    return ""
