"""No secret that rv is given is written or printed: what is planted in every way is found nowhere afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import RvCli
from tests.secret_hunt import ARGUMENTS, ENVIRON, PIPELINE, files_under, found_in


@pytest.mark.parametrize("runner", ["local", pytest.param("inprocess", marks=pytest.mark.slow)])
@pytest.mark.parametrize("fails", ["", pytest.param("explained", marks=pytest.mark.slow), "raised"])
@pytest.mark.parametrize(
    "options",
    [pytest.param((), id="plain"), pytest.param(("--traceback", "-vv"), id="talkative", marks=pytest.mark.slow)],
)
def test_nothing_is_found_after_a_local_run(
    rv: RvCli, tmp_path: Path, runner: str, fails: str, options: tuple[str, ...]
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    (tmp_path / "leaky.py").write_text(PIPELINE)
    words = ["run", runner, "leaky.py", "-a", "root_uri=out", "-a", f"fails={fails}", *ARGUMENTS, *options]
    environ = {**ENVIRON, "RV_CACHE_DIR": str(tmp_path / "cache"), "API_TOKEN": "s" * 20}
    texts = {}
    for line in (words, [*words, "--dry-run"], [*words, "--dry-run", "--json"], ["check", "leaky.py", *words[3:9]]):
        done = rv(*line, env=environ)
        texts[" ".join(line)] = done.stdout + done.stderr
    assert (tmp_path / "out" / "work" / "a.txt").exists()
    for line in (["status", "out"], ["status", "out", "--json"], ["status", "out", "--all"], ["logs", "out", "work"]):
        done = rv(*line)
        texts[" ".join(line)] = done.stdout + done.stderr
    assert found_in(texts) == []
    assert found_in(files_under(tmp_path / "out", tmp_path / "cache")) == []
    run = json.loads(next((tmp_path / "out").glob(".rv/runs/*/run.json")).read_text())
    assert run["argv"][run["argv"].index("password") + 1] == "***" and "api_token=***" in run["argv"]
    if fails == "raised":
        log = next((tmp_path / "out").glob(".rv/runs/*/logs/leaky.work.1.log")).read_text()
        assert "RuntimeError: cannot log in with" in log and "***" in log
