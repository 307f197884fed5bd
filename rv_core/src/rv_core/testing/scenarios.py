"""Runs that several rules look at; each is made once for a runner, by the first rule that asks for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rv_core.testing.command_lines import Finished, Started
from rv_core.testing.evidence import Evidence
from rv_core.testing.workbench import Workbench

#: Everything that shells, make, JSON, URIs and environments treat specially, in one text.
HOSTILE_TEXT = "a 'b' \"c\" $HOME `touch pwned` $(touch pwned) \\n %s #x ~ * ? {d} ; & | < > ! é日本 \t-end\n2nd line"
#: The same for a value that goes through the environment of processes.
HOSTILE_VALUE = "a 'b' \"c\" $HOME `x` $$ \\n %s #x ~ * é日本 -end"
HOSTILE_NAMES = {
    "blank and quotes": "a b'c\"d",
    "dollar, semicolon and hash": "x$HOME;echo pwned#$(touch pwned)",
    "percent, other scripts and globs": "100% é日本 `touch pwned` & (x)*![a] ~\\",
}


@dataclass(frozen=True)
class Ran:
    """A run that has ended.

    Args:
        root: its root.
        finished: its command line.
        evidence: what it left.
        tasks: task -> what `rv status --json` said of it afterwards; empty where no rule wants to know.
    """

    root: str
    finished: Finished
    evidence: Evidence
    tasks: Mapping[str, Any] = field(default_factory=dict)


def run_probe(bench: Workbench, probe: str, *words: str, root: str = "", **fields: Any) -> Ran:
    """Run a probe to its end under a root of its own."""
    root = root or bench.root(probe)
    environ = {"CONFORMANCE_TEXT": HOSTILE_VALUE}
    finished = bench.run(probe, root, *words, environ=environ, **fields)
    return Ran(root, finished, bench.evidence(root))


def survey(bench: Workbench) -> Ran:
    """The diamond with 7 items in 3 splits, started with hostile texts and `-v`."""
    return bench.once(
        "survey",
        lambda: run_probe(bench, "survey", "-s", "3", "--jobs", "2", "-v", num_items=7, text=HOSTILE_TEXT),
    )


def failed(bench: Workbench) -> Ran:
    """Three items in three splits, the second of which raises; told to keep going."""
    return bench.once("failed", lambda: _fail_a_task(bench, "raise"))


def died(bench: Workbench) -> Ran:
    """The same with a task that is killed."""
    return bench.once("died", lambda: _fail_a_task(bench, "kill"))


def _fail_a_task(bench: Workbench, fault: str) -> Ran:
    run = run_probe(bench, "fault", "-s", "3", "--keep-going", fault=fault)
    return replace(run, tasks=bench.task_states(run.root))


@dataclass(frozen=True)
class Cancelled:
    """What was seen of a run that was cancelled while one of its tasks was running and others waited.

    Args:
        root: its root.
        status_before: its status while it was going on.
        second: another `rv run` of the same root, meanwhile.
        cancel: the `rv cancel`.
        run: the command line of the run, where it does not only submit.
        beats: the markers of the tasks right after the cancel, and a while later.
        evidence: what it left.
        status_after: its status afterwards.
    """

    root: str
    status_before: Any
    second: Finished
    cancel: Finished
    run: Finished | None
    beats: tuple[dict[str, bytes], dict[str, bytes]]
    evidence: Evidence
    status_after: Any


def cancelled(bench: Workbench) -> Cancelled:
    """A run of three splits, one at a time: the first ends, the second is running and the third waits at its cancel."""
    return bench.once("cancelled", lambda: _cancel_a_run(bench))


def _cancel_a_run(bench: Workbench) -> Cancelled:
    root, started = start_holding(bench, "-s", "3", "--jobs", "1", hold_from=1)
    bench.wait_until(
        lambda: "item-0" in bench.evidence(root).manifests("work"), "the first of three tasks is done", started
    )
    status_before = bench.status(root)
    second = bench.rv(*bench.run_words("hold", root))
    # An engine of many machines is told by any of them; one of this machine knows its processes.
    cancel = bench.rv("cancel", root, environ=bench.elsewhere() if bench.claims("is_remote") else None)
    run = started.wait(bench.timeout_s)
    bench.expect(run is not None, "the run that was cancelled does not end", cancel)
    beats = watch_beats(bench, root)
    return Cancelled(root, status_before, second, cancel, run, beats, bench.evidence(root), bench.status(root))


def start_holding(bench: Workbench, *words: str, root: str = "", **fields: Any) -> tuple[str, Started]:
    """Start the probe whose tasks wait to be released, and wait until one of them does.

    Returns:
        (root, the `rv run`).
    """
    root = root or bench.root("hold")
    started = bench.start(*bench.run_words("hold", root, *words, **fields))
    bench.wait_until(lambda: beats_of(bench, root), "a task starts", started)
    return root, started


def beats_of(bench: Workbench, root: str) -> dict[str, bytes]:
    """What the tasks that wait to be released have written last, each under its own name."""
    return {name: data for name, data in bench.markers(root).items() if name.startswith("beat.")}


def watch_beats(bench: Workbench, root: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The beats now and a while later: the same where no task lives any more."""
    first = beats_of(bench, root)
    time.sleep(1.0)
    return first, beats_of(bench, root)
