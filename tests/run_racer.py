"""Several shells in which `rv run` is typed on the same roots at the same moment: `python run_racer.py TOLD.json`.

Every round of every racer is a process of its own, forked from one in which rv is imported already and nothing has been
run yet, so that they really meet; or it is a fresh one, and they meet when all have imported rv. Pauses lie where a race
is decided: behind the look at a marker, between the plan and the taking of the root, between the last look at what is
done and the exit code, and before the root is given free.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import subprocess
import sys
import threading
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
        time.sleep(0.005)


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
        replaced(marker, "this_process_marker", self._told_by_id)
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
            Path(f"{self._meetings}planned-{self._told['word']}").touch()
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

    def _told_by_id(self, real: Any) -> Any:
        def call(run_id: str, *arguments: Any, **named: Any) -> Any:
            Path(f"{self._meetings}ids-{self._told['word']}").write_text(run_id)
            return real(run_id, *arguments, **named)

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
    """What came of a round that was run in a process of its own, forked from this one, which has not run anything."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        with open(log, "w", encoding="utf-8") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        code = armed(round_, log, seed, longest_s)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return result_of(log, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def fresh(told: Mapping[str, Any], one: Mapping[str, Any], log: Path) -> dict[str, Any]:
    """The same in a process that has to import everything first; they meet when all of them have."""
    words = log.with_suffix(".told")
    words.write_text(json.dumps({**told, "rounds": [one]}))
    with open(log, "w", encoding="utf-8") as stream:
        argv = [sys.executable, "-P", __file__, str(words), "one"]
        code = subprocess.run(argv, stdout=stream, stderr=stream, start_new_session=True, check=False).returncode
    return result_of(log, code)


def armed(round_: Round, log: Path, seed: int, longest_s: float) -> int:
    """Run a round in this process; what was wrong is written beside its log."""
    round_.arm(random.Random(seed), longest_s)
    code, found = round_.run()
    if found:
        log.with_suffix(".wrong").write_text("\n".join(found))
    return code


def result_of(log: Path, code: int) -> dict[str, Any]:
    """The exit code of a round, and what was wrong."""
    wrong = log.with_suffix(".wrong")
    return {"code": code, "wrong": wrong.read_text() if wrong.exists() else ""}


def warm_up(folder: Path, one: Mapping[str, Any], root_uri: str) -> None:
    """Import what a run needs, so that the forked ones do not: found out by a run in a process that ends with it."""
    names = folder / "warm-modules"
    pid = os.fork()
    if pid == 0:
        os.environ |= {"RACE_MEETINGS": f"{folder}/warm-", "RACE_WORD": "W", "RACE_PACE_S": "0"}
        words = [f"root_uri={root_uri}" if word.startswith("root_uri=") else word for word in one["argv"]]
        code = app.main([*words, "-q"])
        files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
        names.write_text("\n".join(name for name, file in files.items() if file and not is_of_tests(file)))
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    for name in names.read_text().splitlines():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    assert len(threading.enumerate()) == 1
    assert not os.path.exists("/proc/self/task") or len(os.listdir("/proc/self/task")) == 1, (
        "threads do not survive fork"
    )
    gc.freeze()


def is_of_tests(file: str) -> bool:
    """Whether a module is of the races themselves: every run loads the pipeline anew."""
    return Path(file).is_relative_to(Path(__file__).parent)


def run_rounds(told: Mapping[str, Any]) -> None:
    """All rounds of one racer."""
    folder, index, num = Path(told["folder"]), told["index"], told["num"]
    for one in told["rounds"]:
        number = one["number"]
        meet(folder, f"{number}-begin", index, num)
        meetings = f"{folder}/{number}-"
        if one.get("is_done_before"):
            before = forked(Round({**one, "held": ""}, f"{meetings}before-"), folder / f"{number}-before", 0, 0.0)
            assert before == {"code": 0, "wrong": ""}, before
            Path(f"{meetings}before-{one['word']}").touch()
        log = folder / f"{number}-log-{index}"
        if told["is_fresh"]:
            result = fresh(told, one, log)
        else:
            wait_for_turn(one, meetings)
            result = forked(Round(one, meetings), log, seed_of(told, number), told["longest_s"])
        (folder / f"{number}-result-{index}.json").write_text(json.dumps(result))
        for moment in ("ends", "over"):
            Path(f"{meetings}{moment}-{one['word']}").touch()
        meet(folder, f"{number}-end", index, num)


def wait_for_turn(one: Mapping[str, Any], meetings: str) -> None:
    """Wait for what comes before a racer's part."""
    if one.get("after"):
        wait_for(Path(f"{meetings}{one['after']}"))


def seed_of(told: Mapping[str, Any], number: int) -> int:
    """Of the pauses of one racer in one round."""
    return int(told["seed"] * 1000 + number * 10 + told["index"])


def run_one(told: Mapping[str, Any]) -> int:
    """One round, in a process that was started for it."""
    (one,) = told["rounds"]
    number, folder = one["number"], Path(told["folder"])
    meet(folder, f"{number}-imported", told["index"], told["num"])
    wait_for_turn(one, f"{folder}/{number}-")
    log = folder / f"{number}-log-{told['index']}"
    return armed(Round(one, f"{folder}/{number}-"), log, seed_of(told, number), told["longest_s"])


def run_all(told: Mapping[str, Any]) -> int:
    """Every racer in a process of its own, forked from this one; 1 if one of them fails."""
    if not told["racers"][0]["is_fresh"]:
        warm_up(Path(told["folder"]), told["racers"][0]["rounds"][0], told["warm_root"])
    racers = []
    for racer in told["racers"]:
        pid = os.fork()
        if pid == 0:
            run_rounds(racer)  # what goes wrong in it is shown as that of every program
            os._exit(0)
        racers.append(pid)
    return max([int(os.waitpid(pid, 0)[1] != 0) for pid in racers])


def main() -> None:
    """Run all rounds of all racers, or the one of one."""
    told = json.loads(Path(sys.argv[1]).read_text())
    sys.exit(run_one(told) if sys.argv[2:] == ["one"] else run_all(told))


if __name__ == "__main__":
    main()
