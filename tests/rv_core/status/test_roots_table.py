"""`rv status` of a folder of roots: one table, a row for each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rv_core.cli.app import main

SWEEP = """
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, Summary, command


@dataclass(kw_only=True)
class RateConfig(PipelineConfig):
    rate: float

    def build(self):
        return Rate(self)


class Rate(Pipeline):
    @command(reads=("rate",))
    def train(self) -> None:
        if self.config.rate > 1:
            raise ValueError("too fast")
        self.storage.write_text("score.txt", str(0.9 - self.config.rate))

    def summary(self, storage, done):
        score = float(storage.read_text("score.txt")) if "train" in done else None
        return Summary(numbers={"score": score, "rate": self.config.rate, "a": 1, "b": 2})


def get_configs(runner: str, root: str, rates: str):
    return [RateConfig(root_uri=f"{root}/lr-{rate}", name=f"r{i}", rate=float(rate)) for i, rate in enumerate(rates.split(","))]
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / "sweep.py").write_text(SWEEP)
    return tmp_path / "out"


def run(sweep: Path, rates: str, folder: str = "") -> int:
    words = ["-a", f"root={folder or sweep}", "-a", f"rates={rates}"]
    return main(["run", "inprocess", str(sweep.parent / "sweep.py"), *words, "--keep-going"])


def test_a_folder_of_roots_is_one_table(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sweep, "0.1,0.3") == 0
    assert run(sweep, "7.0") == 1
    (sweep / "notes").mkdir()
    capsys.readouterr()
    assert main(["status", str(sweep)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["root", "state", "items", "score", "rate", "a", "when"]
    assert [line[:6] for line in lines[1:3]] == [
        ["lr-0.1", "done", "1/1", "0.800", "0.100", "1"],
        ["lr-0.3", "done", "1/1", "0.600", "0.300", "1"],
    ]
    assert lines[3][:3] == ["lr-7.0", "failed", "0/1"]
    assert len(lines) == 4
    assert main(["status", str(sweep), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["roots"]
    assert [(row["root"], row["state"], row["numbers"].get("b")) for row in rows] == [
        ("lr-0.1", "done", 2),
        ("lr-0.3", "done", 2),
        ("lr-7.0", "failed", None),
    ]


def test_what_cannot_be_read_of_one_root_costs_no_other_its_row(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(sweep, "0.1,0.3") == 0
    for record in (sweep / "lr-0.3" / ".rv" / "runs").iterdir():
        (record / "run.json").write_text("{")
    capsys.readouterr()
    assert main(["status", str(sweep)]) == 0
    first, second = capsys.readouterr().out.splitlines()[1:]
    assert first.split()[:3] == ["lr-0.1", "done", "1/1"]
    assert second.split()[:2] == ["lr-0.3", "unknown"] and "damaged" in second


def test_a_folder_in_a_store_is_a_table_too(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sweep, "0.1,0.3", folder="memory://sweep-of-two") == 0
    capsys.readouterr()
    assert main(["status", "memory://sweep-of-two"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["root", "lr-0.1", "lr-0.3"]


def test_of_one_root_in_a_folder_the_name_is_told(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(sweep, "0.1,0.3") == 0
    shutil.rmtree(sweep / "lr-0.3")
    assert main(["status", str(sweep)]) == 2
    assert f"did you mean {sweep}/lr-0.1?" in capsys.readouterr().err
