"""A small or read-only disk for whole runs: a tmpfs in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: What a script may use besides the shell's own words.
_PRELUDE = 'disk=$1; rv() { "$python" -m rv_core "$@"; }'


def run_on_disk(
    tmp_path: Path, mount_options: str, script: str, *, timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a shell script with a tmpfs mounted at `$disk`; `rv` in it is the real command line.

    Args:
        tmp_path: where the script runs; the disk is its folder `disk`, which is empty again afterwards.
        mount_options: for instance "size=200k" or "size=200k,ro".
        script: shell text; its exit code is that of the result.
        timeout_s: after so many seconds the test fails.
    """
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("no program unshare to mount a small disk with")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f'mount -t tmpfs -o {mount_options} tmpfs "$1" || exit 99'
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount}\npython=$2\n{_PRELUDE}\n{script}"]
    done = subprocess.run(
        [*namespace, "sh", str(disk), sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    return done
