"""What tests of the local Batch share: small shell scripts that tell and wait through files, and how to look."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


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
    eventually(path.exists, f"no {path.name}", timeout_s)


def eventually(is_so: Callable[[], bool], complaint: str, timeout_s: float = 10.0) -> None:
    """Wait for something that nobody tells."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"{complaint} after {timeout_s} s")
        time.sleep(0.01)


def after(*job_ids: str) -> dict[str, Any]:
    """The member of a request for what a job waits for."""
    return {"dependsOn": [{"jobId": job_id} for job_id in job_ids]}


def error_of(call: Callable[..., Any], *args: Any, **params: Any) -> tuple[str, str]:
    """Code and message that a call of boto3 fails with."""
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(*args, **params)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def processes_of(folder: Path) -> list[int]:
    """Living processes whose environment names a folder, read from /proc."""
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_of(entry, folder)]


def _is_of(entry: Path, folder: Path) -> bool:
    try:
        state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" and str(folder).encode() in (entry / "environ").read_bytes()
    except OSError:
        return False
