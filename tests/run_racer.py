"""One of several shells in which `rv run` is typed on the same roots at the same moment: `python run_racer.py TOLD.json`.

Every round is a process of its own, forked from one in which rv is imported already, so that they really meet. Pauses
lie where a race is decided: behind the look at a marker, between the plan and the taking of the root, between the last
look at what is done and the exit code, and before the root is given free.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.marker_racer import meet, put_pauses, slowed

from rv_core.__main__ import main as main_of_rv
from rv_core.cli import app, run
from rv_core.files import by_uri, uris
from rv_core.launch import cancel, execute, prepared
from rv_core.machine import process_table
from rv_core.record import marker
from rv_core.task import item_evidence

_LIMIT_S = 60.0


def wait_for(path: Path) -> None:
    """Wait until another process has come so far, or has ended."""
    end = time.monotonic() + _LIMIT_S
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.002)


def replaced(module: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put another function in the place of one of the product, made of it."""
    setattr(module, name, make(getattr(module, name)))


class Round:
    """What one process does in one round.

    Args:
        told: `root`, `word` (every output of its config begins with it), `argv`, and `held`: a file without which the
            plan is not followed.
        meetings: the folder of the files by which the processes of a round know of each other, with their prefix.
    """

    def __init__(self, told: Mapping[str, Any], meetings: str) -> None:
        self._told = told
        self._meetings = meetings
        self._wrong: list[str] = []

    def arm(self, chance: random.Random, longest_s: float) -> None:
        """Put the pauses and the looks into the functions of the product."""
        put_pauses(chance, longest_s)
        replaced(execute, "is_running", lambda real: slowed(real, chance, longest_s))
        replaced(cancel, "note_cancelled", lambda real: slowed(real, chance, longest_s))
        replaced(item_evidence.ItemEvidence, "finish", lambda real: slowed(real, chance, longest_s))
        replaced(marker, "release_marker", lambda real: self._paused_before(real, chance, longest_s))
        replaced(prepared, "plan_pipelines", lambda real: self._held_after(real, chance, longest_s))
        replaced(execute, "outcome_of_run", self._looked_at_after)
        replaced(run.Show, "nothing_to_do", self._looked_at_nothing)
        if self._told.get("manifest_until"):
            replaced(item_evidence.ItemEvidence, "_delete_stale", self._held_before)
        if self._told.get("namespace"):
            process_table.pid_namespace = lambda: str(self._told["namespace"])  # type: ignore[assignment]

    def _paused_before(self, real: Any, chance: random.Random, longest_s: float) -> Any:
        def call(*arguments: Any) -> Any:
            time.sleep(chance.random() * longest_s)
            return real(*arguments)

        return call

    def _held_after(self, real: Any, chance: random.Random, longest_s: float) -> Any:
        is_first = True

        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal is_first
            plan = real(*arguments, **named)
            if is_first and self._told.get("held"):
                wait_for(Path(f"{self._meetings}{self._told['held']}"))
            is_first = False
            time.sleep(chance.random() * longest_s)
            return plan

        return call

    def _held_before(self, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            Path(f"{self._meetings}manifest-{self._told['word']}").touch()
            wait_for(Path(f"{self._meetings}{self._told['manifest_until']}"))
            return real(*arguments)

        return call

    def _looked_at_after(self, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            outcome = real(*arguments, **named)
            if outcome.succeeded:
                self._look("done")
            Path(f"{self._meetings}ends-{self._told['word']}").touch()
            return outcome

        return call

    def _looked_at_nothing(self, real: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self._look("nothing to do")
            return real(*arguments, **named)

        return call

    def _look(self, said: str) -> None:
        """Whether all outputs are of this process's config at the moment when it is decided that it ends with 0."""
        for name in ("join/all.txt", *self._told["outputs"]):
            text = by_uri.read_bytes(uris.join(self._told["root"], name)).decode()
            if any(part[:1] != self._told["word"] for part in text.split(".")):
                self._wrong.append(f"{said}, and {name} holds {text!r}")

    def run(self) -> tuple[int, list[str]]:
        """Type the command; (exit code, what was wrong)."""
        os.environ |= {"RACE_MEETINGS": self._meetings, "RACE_WORD": self._told["word"]}
        os.environ["RACE_PACE_S"] = str(self._told.get("pace_s", 0.01))
        os.environ["RACE_UNTIL"] = self._told.get("writes_until", "")
        return main_of_rv(self._told["argv"]), self._wrong


def forked(round_: Round, log: Path, seed: int, longest_s: float) -> dict[str, Any]:
    """What came of a round that was run in a process of its own."""
    wrong = log.with_suffix(".wrong")
    pid = os.fork()
    if pid == 0:
        os.setsid()
        with open(log, "w", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        round_.arm(random.Random(seed), longest_s)
        code, found = round_.run()
        if found:
            wrong.write_text("\n".join(found))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"code": code, "wrong": wrong.read_text() if wrong.exists() else ""}


def warm_up(folder: Path, index: int, argv: list[str]) -> None:
    """Import what a run needs, so that the forked ones do not."""
    with contextlib.suppress(ImportError):
        importlib.import_module("rv_store_s3.store")
    os.environ |= {"RACE_MEETINGS": f"{folder}/warm-{index}-", "RACE_WORD": "W", "RACE_PACE_S": "0"}
    own = [f"root_uri={folder}/warm-{index}" if word.startswith("root_uri=") else word for word in argv]
    assert app.main([*own, "-q"]) == 0


def main() -> None:
    """Run all rounds."""
    told = json.loads(Path(sys.argv[1]).read_text())
    folder, index, num = Path(told["folder"]), told["index"], told["num"]
    warm_up(folder, index, told["rounds"][0]["argv"])
    for number, one in enumerate(told["rounds"]):
        meet(folder, f"{number}-begin", index, num)
        meetings = f"{folder}/{number}-"
        if one.get("is_done_before"):
            before = forked(Round({**one, "held": ""}, f"{meetings}before-"), folder / f"{number}-before", 0, 0.0)
            assert before == {"code": 0, "wrong": ""}, before
            Path(f"{meetings}before-{one['word']}").touch()
        if one.get("after"):
            wait_for(Path(f"{meetings}{one['after']}"))
        log = folder / f"{number}-log-{index}"
        result = forked(Round(one, meetings), log, told["seed"] * 1000 + number * 10 + index, told["longest_s"])
        (folder / f"{number}-result-{index}.json").write_text(json.dumps(result))
        Path(f"{meetings}ends-{one['word']}").touch()
        meet(folder, f"{number}-end", index, num)


if __name__ == "__main__":
    main()
