"""Races between whole runs for one root, on any store; what has to be true when all of them have ended."""

from __future__ import annotations

import hashlib
import json
import os
import re
import urllib.request
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.marker_races import DAMAGED, LONGEST_S, dead_marker, race
from tests.race_pipeline import OUTPUTS

from rv_core.files import by_uri, uris
from rv_core.record.layout import MARKER
from rv_core.record.marker import marker_uri

PROJECT = Path(__file__).parents[1]
RACER = Path(__file__).with_name("run_racer.py")
PIPELINE = Path(__file__).with_name("race_pipeline.py")

#: What each process is told besides its config, which is named by one letter.
SITUATIONS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    # Several at once, each with a config of its own.
    "clean": ({"word": "A"}, {"word": "B"}, {"word": "C"}),
    # One is at work; others take over from it at the same moment, with configs of their own.
    "take over": (
        {"word": "Z", "pace_s": 0.2},
        {"word": "A", "after": "works-Z", "words": ["--take-over"]},
        {"word": "B", "after": "works-Z", "words": ["--take-over"]},
        {"word": "C", "after": "works-Z"},
    ),
    # The same from another container of one host name, from which nobody can end the one that is at work: it has an
    # output on its way until the other has done everything.
    "take over from afar": (
        {"word": "Z", "writes_until": "ends-A", "namespace": "pid:[1]"},
        {"word": "A", "after": "works-Z", "words": ["--take-over"]},
    ),
    # The same at the moment when it is about to write down that an item is done.
    "take over from afar before a manifest": (
        {"word": "Z", "manifest_until": "ends-A", "namespace": "pid:[1]"},
        {"word": "A", "after": "manifest-Z", "words": ["--take-over"]},
    ),
    # The same when the other one has gone again, and no marker tells of it.
    "taken over from afar once": (
        {"word": "Z", "manifest_until": "over-A", "namespace": "pid:[1]"},
        {"word": "A", "after": "manifest-Z", "words": ["--take-over"]},
    ),
    # Done once, so that there is nothing to do; another one works between the plan and what follows from it.
    "planned before": (
        {"word": "B", "after": "planned-A"},
        {"word": "A", "is_done_before": True, "held": "ends-B"},
    ),
    # The same, planned while the other one is at work.
    "planned meanwhile": (
        {"word": "B", "after": "before-A", "pace_s": 0.2},
        {"word": "A", "is_done_before": True, "after": "works-B", "held": "ends-B"},
    ),
}
SITUATIONS = {**SITUATIONS, **dict.fromkeys(("stale", "damaged"), SITUATIONS["clean"])}
STALE_RUN = "20200101-000000-abcdef"
#: What is held in them is held in the process that runs the tasks.
IN_PROCESS_ONLY = ("take over from afar before a manifest", "taken over from afar once")
#: One that is taken over is interrupted, or is behind its last look when TERM comes. Where it cannot be ended it fails.
_CODES = {
    "take over": {0, 2, 130},
    "take over from afar": {0, 1, 2},
    "take over from afar before a manifest": {0, 1, 2},
    "taken over from afar once": {0, 1, 2},
}
#: Where nobody has the root any more when the loser looks, it is told that it has lost it.
_MAY_ONLY_BE_LOST = ("take over from afar", *IN_PROCESS_ONLY)
_WHO_HAS_IT = re.compile(r"run (\S+) is still going on here")


def run_races(
    tmp_path: Path,
    base_uri: str,
    situation: str,
    *,
    num_rounds: int,
    seed: int,
    runner: str = "inprocess",
    is_fresh: bool = False,
    num_lanes: int = 1,
) -> list[list[int]]:
    """Let runs race for new roots, and look that none has another's results and no manifest is untrue.

    Args:
        tmp_path: a folder for their meetings.
        base_uri: below it the roots are; in S3 each in a bucket of its own, as the local server looks through all the
            files of a bucket to list some of them.
        situation: one of `SITUATIONS`.
        num_rounds: how many roots.
        seed: of the pauses.
        runner: of all runs.
        is_fresh: whether every run is a program that is started anew, and not forked from one that has imported rv.
        num_lanes: for how many roots there are races side by side: most of a round is pauses.

    Returns:
        The exit codes of every round.
    """
    meetings = tmp_path / "meetings"
    meetings.mkdir()
    parts = SITUATIONS[situation]
    roots = [_root_of(base_uri, str(number)) for number in range(num_rounds)]
    for number, root in enumerate(roots):
        _prepare(situation, root, number)
    told = {"folder": str(meetings), "num": len(parts), "seed": seed, "longest_s": LONGEST_S, "is_fresh": is_fresh}
    racers = [
        {**told, "index": index, "rounds": [_round(part, roots[number], runner, number) for number in numbers]}
        for numbers in (range(lane, num_rounds, num_lanes) for lane in range(num_lanes))
        for index, part in enumerate(parts)
    ]
    environ = {**os.environ, "PYTHONPATH": str(PROJECT), "RV_CACHE_DIR": str(tmp_path / "cache"), "RV_RETRY_S": "5"}
    words = {"folder": str(meetings), "warm_root": _root_of(base_uri, "warm"), "racers": racers}
    race(RACER, meetings, [words], timeout_s=9.0 * num_rounds + 60, env=environ)
    return [_check(meetings, situation, root, number) for number, root in enumerate(roots)]


def _root_of(base_uri: str, name: str) -> str:
    if not base_uri.startswith("s3://"):
        return f"{base_uri}/{name}"
    bucket, _, key = base_uri.removeprefix("s3://").partition("/")
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}-{name}"
    urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
    return f"s3://{bucket}-{name}/{key}"


def _round(part: Mapping[str, Any], root_uri: str, runner: str, number: int) -> dict[str, Any]:
    arguments = ["-a", f"root_uri={root_uri}", "-a", f"word={part['word']}"]
    argv = ["run", runner, str(PIPELINE), *arguments, *part.get("words", ())]
    return {**part, "number": number, "root": root_uri, "argv": argv, "outputs": OUTPUTS}


def _prepare(situation: str, root_uri: str, number: int) -> None:
    if situation == "stale":
        by_uri.write_bytes(marker_uri(root_uri), dead_marker(STALE_RUN))
    if situation == "damaged":
        damages = list(DAMAGED.values())
        by_uri.write_bytes(marker_uri(root_uri), damages[number % len(damages)])


def _check(meetings: Path, situation: str, root_uri: str, number: int) -> list[int]:
    parts = SITUATIONS[situation]
    logs = [(meetings / f"{number}-log-{index}").read_text() for index in range(len(parts))]
    results = [json.loads((meetings / f"{number}-result-{index}.json").read_text()) for index in range(len(parts))]
    told = "\n".join(f"--- {result}\n{log}" for result, log in zip(results, logs, strict=True))
    assert [result["wrong"] for result in results if result["wrong"]] == [], told
    codes = [result["code"] for result in results]
    assert set(codes) <= _CODES.get(situation, {0, 2}), told
    assert 0 in codes, told
    assert "Traceback" not in told, told
    assert "this is a bug" not in told, told
    silent = losers_that_do_not_tell(meetings / f"{number}-ids", codes, logs)
    assert silent == [] or (situation in _MAY_ONLY_BE_LOST and all("has lost this root" in log for log in silent)), told
    files = by_uri.list_files(root_uri)
    assert untrue_manifests(root_uri, files) == [], told
    assert [name for name in files if name.endswith(".tmp") and "/." in f"/{name}"] == [], told
    assert MARKER not in files or _is_free(root_uri), told
    assert overlaps(meetings / f"{number}-trace") == [], told
    return codes


def losers_that_do_not_tell(ids: Path, codes: Sequence[int], logs: Sequence[str]) -> list[str]:
    """What those have said that did not get the root, or lost it, and that does not name another run of their round."""
    names = {path.read_text() for path in ids.parent.glob(f"{ids.name}-*")}
    losers = [log for code, log in zip(codes, logs, strict=True) if code in (1, 2)]
    return [log for log in losers if not names.intersection(_WHO_HAS_IT.findall(log))]


def _is_free(root_uri: str) -> bool:
    """An empty marker is what a store leaves that cannot remove a file on a condition; that of a killed run is stale."""
    from rv_core.record.marker import is_marker_stale, read_marker

    marker = read_marker(root_uri)
    return marker is None or is_marker_stale(marker)


def untrue_manifests(root_uri: str, files: Mapping[str, Any]) -> list[str]:
    """The manifests whose outputs are not there or hold other bytes."""
    names = [name for name in files if name.startswith(".rv/done/") and name.endswith(".json")]
    wrong = []
    for name, data in _read(root_uri, names).items():
        outputs = json.loads(data)["outputs"]
        found = _read(root_uri, [output["path"] for output in outputs if output["path"] in files])
        hashes = {path: hashlib.sha256(content).hexdigest() for path, content in found.items()}
        wrong += [f"{name}: {o['path']}" for o in outputs if hashes.get(o["path"]) != o["sha256"]]
    return wrong


def _read(root_uri: str, names: Sequence[str]) -> dict[str, bytes]:
    return {name: by_uri.read_bytes(uris.join(root_uri, name)) for name in names}


def overlaps(trace: Path) -> list[str]:
    """The runs that put something in place before and after another one did."""
    words = [
        word for _, word in sorted((float(time), word) for time, word in map(str.split, trace.read_text().splitlines()))
    ]
    turns = [word for word, _ in groupby(words)]
    return sorted({word for word in turns if turns.count(word) > 1})
