"""What jobs of the tests run: small shell scripts that tell and wait through files of the test."""

from __future__ import annotations

import time
from pathlib import Path


def shell(script: str) -> list[str]:
    """The command for a script."""
    return ["sh", "-c", script]


def until(path: Path) -> str:
    """A script that ends when a file is there."""
    return f"while [ ! -e '{path}' ]; do sleep 0.02; done"


def telling(path: Path, then: str = "") -> str:
    """A script that makes a file; `then` follows."""
    return f"touch '{path}'; {then}"


def on_term(ready: Path, reaction: str) -> str:
    """A script that makes a file when it is ready for TERM, and then waits for it for a minute at most."""
    return f"trap '{reaction}' TERM; {telling(ready)} for i in $(seq 1200); do sleep 0.05; done"


def wait_for_file(path: Path, timeout_s: float = 10.0) -> None:
    """Wait until a job has made a file."""
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        if time.monotonic() > deadline:
            raise AssertionError(f"no {path.name} after {timeout_s} s")
        time.sleep(0.01)
