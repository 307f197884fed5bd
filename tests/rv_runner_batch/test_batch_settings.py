"""Settings of the runner: tables of single commands, and what a run's record keeps of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rv_core.errors import ConfigError
from rv_core.record.run_record import RunRecord
from rv_core.runner.loading import runner_of
from rv_core.settings.sections import explain_settings, load_settings, saved_settings
from rv_runner_batch.runner import BatchRunner
from rv_runner_batch.settings import BatchSettings, CommandSettings

TOML = """
[batch]
cpu_job_queue = "cpu"
attempts = 3
tags = { team = "maps" }

[batch.commands.train]
memory_mib = 60000
environment = { OMP_NUM_THREADS = "8" }

[batch.commands."pipe1.train"]
job_queue = "big"
"""


def load(tmp_path: Path, text: str) -> BatchSettings:
    (tmp_path / "rv.toml").write_text(text)
    return load_settings(BatchSettings, "batch", cwd=tmp_path)


def test_tables_of_commands_are_read_from_toml(tmp_path: Path) -> None:
    settings = load(tmp_path, TOML)
    assert settings.attempts == 3
    assert settings.tags == {"team": "maps"}
    assert settings.commands == {
        "train": CommandSettings(memory_mib=60_000, environment={"OMP_NUM_THREADS": "8"}),
        "pipe1.train": CommandSettings(job_queue="big"),
    }


def test_the_environment_counts_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_BATCH_CPU_JOB_QUEUE", "other")
    assert load(tmp_path, TOML).cpu_job_queue == "other"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[batch]\ncpu_queue = 'x'", "did you mean 'cpu_job_queue'?"),
        ("[batch]\nattempts = 11", "attempts"),
        ("[batch]\ntimeout_s = 59", "timeout_s"),
        ("[batch.commands.train]\nmemory = 5", "did you mean 'memory_mib'?"),
        ("[batch.commands.train]\nattempts = 0", "commands.train.attempts"),
        ("[batch.commands]\ntrain = 5", "commands.train"),
        ("[batch]\nenvironment = { A = 1 }", "environment.A"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert said in str(caught.value)


def test_settings_are_shown_with_their_origin(tmp_path: Path) -> None:
    (tmp_path / "rv.toml").write_text(TOML)
    shown = {setting.key: setting for setting in explain_settings(cwd=tmp_path, sections={"batch": BatchSettings})}
    assert shown["attempts"].origin.startswith("project")
    assert shown["region"].origin == "default"
    assert shown["commands"].value["train"]["memory_mib"] == 60_000


def test_the_record_of_a_run_gives_the_same_settings_on_a_machine_without_any(tmp_path: Path) -> None:
    settings = load(tmp_path, TOML)
    saved = json.loads(json.dumps(saved_settings(settings)))
    record = RunRecord(
        "20261123-121500-3fa9c1",
        "batch",
        "",
        ({"name": "p", "root_uri": "s3://b/r"},),
        profile="of-another-machine",
        settings={"batch": saved},
    )
    runner = runner_of(record)
    assert isinstance(runner, BatchRunner)
    assert runner.settings == settings


def test_index_and_attempt_come_from_the_environment_of_the_job() -> None:
    runner = BatchRunner()
    assert runner.split_index({"AWS_BATCH_JOB_ARRAY_INDEX": "7"}) == 7
    assert runner.attempt({"AWS_BATCH_JOB_ATTEMPT": "2"}) == 2
    assert (runner.split_index({}), runner.attempt({})) == (None, None)
