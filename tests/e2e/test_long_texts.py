"""What a task says is shown in part: more of it is in its log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULE = str(Path(__file__).with_name("share_pipeline.py"))


def rv(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "rv_core", *words], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_reason_of_half_a_megabyte_is_shown_in_part(
    tmp_path: Path, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    monkeypatch.setenv("WORK_BODY", "raise ValueError('begins ' + 'x' * 500_000)")
    root = str(tmp_path / "root")
    code, said = rv("run", runner, MODULE, "-a", f"root_uri={root}")
    assert code == 1
    # Under inprocess the terminal is where the task prints, its traceback included.
    printed_by_task = 510_000 if runner == "inprocess" else 0
    assert len(said) < 20_000 + printed_by_task
    assert "ValueError: begins xxx" in said and "characters)" in said
    for look in (["status"], ["status", "--json"]):
        code, said = rv(look[0], root, *look[1:])
        assert code == 0 and len(said) < 30_000
        assert "ValueError: begins xxx" in said
    assert len(rv("logs", root, "work")[1]) > 15_000
