"""Secrets that tasks on AWS Batch get stand in no object of the root and in no output of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.secret_hunt import ARGUMENTS, ENVIRON, PASSED_ON, PIPELINE, files_under, found_in, profile_text

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud

pytestmark = pytest.mark.s3
Rv = Callable[..., tuple[int, str, str]]


@pytest.fixture
def profile(isolated_environment: Path) -> None:
    path = isolated_environment / "config" / "secret.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile_text("batch"))


@pytest.mark.parametrize("fails", ["", "explained", "raised"])
@pytest.mark.usefixtures("profile")
def test_nothing_is_found_after_a_run_on_batch(
    cloud: Cloud, rv_here: Rv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    for name, value in {**ENVIRON, "RV_CACHE_DIR": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("leaky.py").write_text(PIPELINE)
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    words = ["run", "batch", "leaky.py", "-a", f"root_uri={root}", "-a", f"fails={fails}", *ARGUMENTS]
    words += ["--profile", "secret"]
    texts = {}
    for line in ([*words, "--dry-run"], [*words, "--dry-run", "--json"], [*words, "--wait"]):
        code, out, err = rv_here(*line)
        texts[" ".join(line)] = out + err
        assert code == (1 if fails and line[-1] == "--wait" else 0), err
    monkeypatch.delenv("DEPLOY_TOKEN")
    for line in (["status", root], ["status", root, "--json"], ["logs", root, "work"]):
        texts[" ".join(line)] = "".join(rv_here(*line)[1:])
    texts.update({key: cloud.text(f"{root}/{key}") for key in cloud.keys(root) if not key.endswith(".zip")})
    assert found_in(texts) == []
    assert found_in(files_under(tmp_path / "cache")) == []
    variables = {v["name"]: v["value"] for v in cloud.jobs_since(before)[0]["container"]["environment"]}
    assert variables["DEPLOY_TOKEN"] == PASSED_ON  # the task did get it
    assert '"name": "API_TOKEN",\n     "value": "***"' in texts[" ".join([*words, "--dry-run"])]
    run = next(text for key, text in texts.items() if key.endswith("/run.json"))
    saved = json.loads(run)["settings"]["batch"]
    assert saved["environment"] == {"API_TOKEN": "***", "LOG_LEVEL": "plain-and-shown"}
    assert saved["commands"]["work"]["environment"] == {"LICENSE_TOKEN": "***"}


@pytest.mark.usefixtures("profile")
def test_a_variable_that_tasks_are_to_get_and_that_is_not_set_is_refused(cloud: Cloud, rv_here: Rv) -> None:
    code, _, err = rv_here("run", "batch", "rv_core.hello", "-a", f"root_uri={cloud.new_root()}", "--profile", "secret")
    assert code == 3
    assert "batch.environment_from: the variable DEPLOY_TOKEN is not set here, and tasks are to get it" in err
