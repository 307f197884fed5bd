"""The record of a run under its root: its id, and what lies where in it."""

import os
import re
import time
from typing import NamedTuple

from rv_core.files import uris

#: For people, in the root itself: the config of the last run.
CONFIG_FOR_PEOPLE = "pipeline-config.json"
RUNS_FOLDER = ".rv/runs"
#: What in a root is no output of any command.
RESERVED = (".rv", CONFIG_FOR_PEOPLE)
#: The marker of the one unfinished run of a root (see `record.marker`).
MARKER = ".rv/active-run.json"
_RUN_ID = re.compile(r"(\d{8}-\d{6})-([0-9a-f]{6})", re.ASCII)


def new_run_id(newest: str = "") -> str:
    """A run id that sorts by time, also within a second: `20261123-121500-3fa9c1`.

    The last part is the fraction of the second in 4096ths and three random digits, hexadecimal.

    Args:
        newest: the newest run so far. Where the clock was ahead when that was started, or is behind now, the new id is
            the next one behind it: ids tell the order of the runs of a root, `run.json` the time.
    """
    import secrets  # tasks make no ids

    now = time.time()
    fraction = int(now % 1 * 4096)
    made = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{fraction:03x}{secrets.token_hex(2)[:3]}"
    return made if made > newest else _next_id(newest) or made


def _next_id(run_id: str) -> str:
    """A run id that sorts right behind another one; "" if that is none of ours, or the last of its second."""
    found = _RUN_ID.fullmatch(run_id)
    if found is None:
        return ""
    import secrets

    number = int(found[2], 16) + secrets.randbelow(4095) + 1
    return f"{found[1]}-{number:06x}" if number < 1 << 24 else ""


def run_time_s(run_id: str) -> float | None:
    """When a run was started by its id, in seconds since 1970; None for an id of another form."""
    import calendar

    found = _RUN_ID.fullmatch(run_id)
    try:
        return None if found is None else float(calendar.timegm(time.strptime(found[1], "%Y%m%d-%H%M%S")))
    except ValueError:
        return None


def utc_now() -> str:
    """This moment in UTC, ISO 8601, with seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class RunPaths(NamedTuple):
    """Where the record of one run is, under one root."""

    root_uri: str
    run_id: str

    @property
    def folder(self) -> str:
        """URI of the run's folder."""
        return uris.join(self.root_uri, RUNS_FOLDER, self.run_id)

    @property
    def config(self) -> str:
        """URI of the immutable config that the run's tasks read."""
        return uris.join(self.folder, "pipeline-config.json")

    @property
    def plan(self) -> str:
        """URI of plan.json."""
        return uris.join(self.folder, "plan.json")

    @property
    def run(self) -> str:
        """URI of run.json."""
        return uris.join(self.folder, "run.json")

    @property
    def submission(self) -> str:
        """URI of the events that the submitting process writes."""
        return uris.join(self.folder, "events", "submission.jsonl")

    @property
    def summary(self) -> str:
        """URI of the summary of the results that the run left."""
        return uris.join(self.folder, "summary.json")

    def items(self, job: str) -> str:
        """URI of the items of a job."""
        return uris.join(self.folder, "items", f"{job}.json")

    @classmethod
    def of_config(cls, config_uri: str) -> "RunPaths | None":
        """The run whose immutable config this is, or None if the URI is another config."""
        parts = config_uri.rstrip("/").split("/")
        if len(parts) >= 5 and parts[-1] == "pipeline-config.json" and parts[-4:-2] == [".rv", "runs"]:
            return cls("/".join(parts[:-4]) or "/", parts[-2])
        return None


def local_run_dir(paths: RunPaths) -> str:
    """The folder on this machine for logs, live events and the Makefile of a run: its own where the root is local."""
    if uris.is_local(paths.root_uri):
        return uris.local_path(paths.folder)
    from rv_core.machine.folders import cache_folder

    return os.path.join(cache_folder(), "runs", paths.run_id)
