"""One of several processes that want the same root at the same moment: `python marker_racer.py TOLD.json`.

It calls the functions of the product and only puts pauses where a race is decided: between what is read and what is done
about it. In every round all of them meet before they begin, and again when each knows how it ended.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from rv_core.errors import RvError
from rv_core.files import local, stores
from rv_core.launch import execute
from rv_core.record import marker


def slowed(function: Callable[..., Any], chance: random.Random, longest_s: float) -> Callable[..., Any]:
    """The function, with a pause after it."""

    def call(*arguments: Any, **named: Any) -> Any:
        answer = function(*arguments, **named)
        time.sleep(chance.random() * longest_s)
        return answer

    return call


def put_pauses(chance: random.Random, longest_s: float) -> None:
    """After every look at what is there, also where it is compared under a lock or a claim."""
    marker._HALF_WRITTEN_S = 10 * longest_s  # who waits for an empty one to be written is not kept for seconds
    for module, name in ((marker, "_content"), (local, "_is_still"), (stores, "_content")):
        setattr(module, name, slowed(getattr(module, name), chance, longest_s))


def meet(folder: Path, name: str, index: int, num: int) -> None:
    """Wait until all have come so far."""
    (folder / f"{name}-{index}").touch()
    end = time.monotonic() + 60
    while not all((folder / f"{name}-{other}").exists() for other in range(num)):
        if time.monotonic() > end:
            raise SystemExit("the others did not come")
        time.sleep(0.005)


class Warner:
    """The part of `Show` that taking a root may need."""

    def warn(self, text: str) -> None:
        """A run could not be ended from here: here it can."""
        raise AssertionError(text)


def race(root_uri: str, role: str, run_id: str, stale: str) -> dict[str, str]:
    """What one process does in a round, and what came of it."""
    if role == "release":
        marker.release_marker(root_uri, stale)
        return {"outcome": "released"}
    mine = marker.this_process_marker(run_id, "test", detached=False)
    take_over = execute._take_over(root_uri, stale, cast(Any, Warner())) if role == "take over" else None
    try:
        marker.acquire_marker(root_uri, mine, take_over=take_over, is_running=lambda _: True)
    except RvError as err:
        return {"outcome": "lost", "why": str(err)}
    return {"outcome": "won"}


def main() -> None:
    """Run all rounds."""
    told = json.loads(Path(sys.argv[1]).read_text())
    folder, index, num = Path(told["folder"]), told["index"], told["num"]
    put_pauses(random.Random(told["seed"] * 100 + index), told["longest_s"])
    marker.read_marker(told["roots"][0]["uri"])  # the store is made before the first round
    for number, root in enumerate(told["roots"]):
        meet(folder, f"{number}-begin", index, num)
        told_of_it = race(root["uri"], told["role"], f"r{number}-of-{index}", root["stale"])
        (folder / f"{number}-result-{index}.json").write_text(json.dumps(told_of_it))
        meet(folder, f"{number}-end", index, num)


if __name__ == "__main__":
    main()
