"""What a run left about its submission: its plan, and the ids that its runner's engine gave. For `RunRecord`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from rv_core.events import parse_lines, read_events
from rv_core.files import storage, uris
from rv_core.graph import Job, Plan, Resources, make_tasks
from rv_core.run_state import RunPaths, local_run_dir

if TYPE_CHECKING:
    from rv_core.run_state import RunRecord


def read_plan(record: RunRecord) -> Plan:
    """The plan that the runner was given.

    Raises:
        StorageError: if it cannot be read.
    """
    plain = json.loads(storage.read_bytes(RunPaths(record.pipelines[0]["root_uri"], record.run_id).plan))
    return Plan(
        tuple(
            Job(
                id=job["id"],
                pipeline=job["pipeline"],
                command=job["command"],
                tasks=make_tasks(job["id"], job["num_splits"]),
                requires=tuple(job["requires"]),
                resources=Resources(**job["resources"]),
            )
            for job in plain["jobs"]
        )
    )


def read_native_ids(record: RunRecord) -> dict[str, str]:
    """Task or job -> the id that the runner reported last, in the order of submission.

    Raises:
        StorageError: if they cannot be read.
    """
    found: dict[str, str] = {}
    for pipeline in record.pipelines:
        paths = RunPaths(pipeline["root_uri"], record.run_id)
        texts = storage.read_many([paths.submission])
        # Where the store refused them, they are still on the machine that submitted.
        here = [] if uris.is_local(paths.root_uri) else read_events(_local_copy(paths))
        for event in (*here, *parse_lines(texts.get(paths.submission, b""))):
            what = event.get("job") or event.get("task")
            if event["event"] == "submitted" and what and event.get("native_id"):
                found[str(what)] = str(event["native_id"])
    return found


def _local_copy(paths: RunPaths) -> str:
    return os.path.join(local_run_dir(paths), "events", "submission.jsonl")
