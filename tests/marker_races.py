"""Races for a root between several processes, on any store; what has to be true of each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rv_core.files import by_uri
from rv_core.machine.process_table import host_name, pid_namespace, process_started
from rv_core.record.layout import utc_now
from rv_core.record.marker import Marker, marker_uri, read_marker

RACER = Path(__file__).with_name("marker_racer.py")
#: What a racer puts between a look and what it does about it, at most.
LONGEST_S = 0.03

DAMAGED = {
    "empty": b"",
    "blank": b"\n",
    "cut": b'{"run_id": "dead", "runner": "lo',
    "list": b"[1]",
    "types": b'{"run_id": 5, "pid": "x"}',
}


def dead_marker(run_id: str) -> bytes:
    """That of a run whose process is gone."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    started = str(process_started(process.pid))
    process.wait()
    marker = Marker(run_id, "local", host_name(), process.pid, started, utc_now(), pid_namespace=pid_namespace())
    return marker.to_text().encode()


def run_races(tmp_path: Path, base_uri: str, kind: str, roles: Sequence[str], *, num_rounds: int, seed: int) -> None:
    """Let processes race for new roots, and look that each root has one winner whom the others name.

    Args:
        tmp_path: a folder for their meetings.
        base_uri: below it the roots are.
        kind: what lies there before: `clean`, `stale`, one of `DAMAGED`, or `live` for a run that is going on.
        roles: what each process does: `take`, `take over` or `release`.
        num_rounds: how many roots.
        seed: of the pauses.
    """
    roots = [{"uri": f"{base_uri}/{number}", "stale": f"old-{number}"} for number in range(num_rounds)]
    with ExitStack() as stack:
        for root in roots:
            _prepare(stack, root["uri"], kind, root["stale"])
        told = {"folder": str(tmp_path), "num": len(roles), "roots": roots, "seed": seed, "longest_s": LONGEST_S}
        race(RACER, tmp_path, [{**told, "role": role} for role in roles], timeout_s=3.0 * num_rounds + 60)
    for number, root in enumerate(roots):
        results = [json.loads((tmp_path / f"{number}-result-{index}.json").read_text()) for index in range(len(roles))]
        _check(root["uri"], number, results)


def race(
    racer: Path,
    folder: Path,
    told: Sequence[Mapping[str, Any]],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
) -> None:
    """Let processes of one program run to their end, each told what it is to do in a file and which of them it is."""
    racers = []
    try:
        for index, words in enumerate(told):
            path = folder / f"told-{index}.json"
            path.write_text(json.dumps({**words, "index": index}))
            argv = [sys.executable, str(racer), str(path)]
            racers.append(subprocess.Popen(argv, env=env, start_new_session=True))
        end = time.monotonic() + timeout_s
        for process in racers:
            assert process.wait(timeout=max(0.1, end - time.monotonic())) == 0
    finally:
        for process in racers:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # also what it has forked
            process.wait()


def _prepare(stack: ExitStack, root_uri: str, kind: str, run_id: str) -> None:
    if kind == "live":
        process = subprocess.Popen(["sleep", "600"], env={**os.environ, "RV_RUN_ID": run_id})
        stack.callback(process.wait)
        stack.callback(process.kill)
        started = str(process_started(process.pid))
        marker = Marker(run_id, "local", host_name(), process.pid, started, "2026-01-01T00:00:00Z")
        by_uri.write_bytes(marker_uri(root_uri), marker.to_text().encode())
    elif kind != "clean":
        content = dead_marker(run_id) if kind == "stale" else DAMAGED[kind]
        by_uri.write_bytes(marker_uri(root_uri), content)


def _check(root_uri: str, number: int, results: Sequence[dict[str, str]]) -> None:
    winners = [index for index, result in enumerate(results) if result["outcome"] == "won"]
    assert len(winners) == 1, results
    winner = f"r{number}-of-{winners[0]}"
    marker = read_marker(root_uri)
    assert marker is not None
    assert marker.run_id == winner, "the marker of the winner was removed or replaced"
    losers = [result["why"] for result in results if result["outcome"] == "lost"]
    assert all(f"run {winner} is still going on here" in why for why in losers), losers
