"""Secrets that tasks of the cluster get stand in no file and no output of the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.secret_hunt import ARGUMENTS, ENVIRON, PIPELINE, files_under, found_in, profile_text

if TYPE_CHECKING:
    from tests.conftest import RvCli
    from tests.slurm_cluster.cluster import SlurmCluster

pytest_plugins = ("tests.slurm_cluster.fixtures",)


@pytest.fixture
def profile(isolated_environment: Path) -> None:
    path = isolated_environment / "config" / "secret.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile_text("slurm"))


@pytest.mark.parametrize("fails", ["", "explained", "raised"])
@pytest.mark.usefixtures("profile")
def test_nothing_is_found_after_a_run_on_slurm(slurm: SlurmCluster, rv: RvCli, tmp_path: Path, fails: str) -> None:
    (tmp_path / "leaky.py").write_text(PIPELINE)
    root = tmp_path / "out"
    words = ["run", "slurm", "leaky.py", "-a", f"root_uri={root}", "-a", f"fails={fails}", *ARGUMENTS]
    words += ["--profile", "secret", "-vv"]
    texts = {}
    for line in ([*words, "--dry-run"], [*words, "--dry-run", "--json"], [*words, "--wait"]):
        done = rv(*line, env=ENVIRON)
        texts[" ".join(line)] = done.stdout + done.stderr
        assert done.returncode == (1 if fails and line[-1] == "--wait" else 0), done.stderr
    assert (root / "work/a.txt").read_text() == "4 variables\n"
    for line in (["status", root], ["status", root, "--json"], ["logs", root, "work"], ["config", "settings"]):
        done = rv(*line, "--profile", "secret")
        texts[str(line)] = done.stdout + done.stderr
    assert found_in(texts) == []
    assert found_in(files_under(root)) == []
    assert "API_TOKEN=***" in texts[" ".join([*words, "--dry-run"]).replace("'", "")].replace("'", "")
    saved = json.loads(next(root.glob(".rv/runs/*/run.json")).read_text())["settings"]["slurm"]
    assert saved["environment"] == {"API_TOKEN": "***", "LOG_LEVEL": "plain-and-shown"}
    assert saved["commands"]["work"]["environment"] == {"LICENSE_TOKEN": "***"}
    assert saved["environment_from"] == ["DEPLOY_TOKEN", "HUNT_TEXT"]


@pytest.mark.usefixtures("profile")
def test_a_variable_that_tasks_are_to_get_and_that_is_not_set_is_refused(
    slurm: SlurmCluster, rv: RvCli, tmp_path: Path
) -> None:
    (tmp_path / "leaky.py").write_text(PIPELINE)
    done = rv("run", "slurm", "leaky.py", "-a", "root_uri=out", "--profile", "secret")
    assert done.returncode == 3
    assert "slurm.environment_from: the variable DEPLOY_TOKEN is not set here, and tasks are to get it" in done.stderr
