"""A training that is killed twice in the middle of an epoch, with the real command line and the real libraries."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EPOCHS = 6
#: As trainings of chip classification do, it tells the last validation in every report, saves its state now and then,
#: and repeats what came after. Each epoch takes long enough for plugins to hear of it.
TRAINING = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from rv_core import Pipeline, PipelineConfig, command

class Training(Pipeline):
    @command(reads=("num_epochs",))
    def train(self):
        if os.environ.get("MLFLOW_TRACKING_URI"):  # as nothing is repeated of what was saved while these are imported
            import rv_trackers.mlflow_sink, rv_trackers.tensorboard_sink
        folder = Path(self.config.root_uri)
        done = int((folder / "saved").read_text()) if (folder / "saved").exists() else 0
        validated = {"validated_epoch": done, "validation_loss": 1 / done} if done else {}
        for epoch in range(done + 1, self.config.num_epochs + 1):
            self.progress(epoch - 0.5, self.config.num_epochs, epoch=epoch, loss=9.0, **validated)
            time.sleep(0.25)
            if epoch in (3, 5) and not (folder / f"killed-{epoch}").exists():
                (folder / f"killed-{epoch}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            validated = {"validated_epoch": epoch, "validation_loss": 1 / epoch}
            self.progress(epoch, self.config.num_epochs, epoch=epoch, loss=2 / epoch, **validated)
            time.sleep(0.25)
            if epoch % 2 == 0:
                (folder / "saved").write_text(str(epoch))
        self.storage.write_text("model.txt", "trained")

@dataclass(kw_only=True)
class TrainingConfig(PipelineConfig):
    pipeline: ClassVar[str] = "training:Training"
    num_epochs: int = 6

def get_config(root):
    return TrainingConfig(root_uri=root)
"""


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder that both trackers have written to, below it `out`, `curves` and `mlruns`."""
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    (tmp_path / "training.py").write_text(TRAINING)
    own = {
        "RV_TENSORBOARD_DIR": str(tmp_path / "curves"),
        "MLFLOW_TRACKING_URI": f"file://{tmp_path / 'mlruns'}",
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }
    argv = [sys.executable, "-m", "rv_core", "run", "inprocess", "training", "-a", "root", str(tmp_path / "out")]
    codes = []
    while not (tmp_path / "out" / "model.txt").exists() and len(codes) < 4:
        done = subprocess.run(
            argv, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=120
        )
        codes.append(done.returncode)
        assert "warning" not in done.stderr, done.stderr
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    return tmp_path


def test_a_killed_training_is_one_run_that_repeats_no_epoch(trained: Path) -> None:
    status, of_mlflow = _in_mlflow(trained / "mlruns")
    assert status == "FINISHED"
    for curves in (of_mlflow, _in_tensorboard(trained / "curves")):
        # On a machine that is very busy rv may tell of fewer epochs; none is there twice.
        epochs = [step for step, _ in curves["validation_loss"]]
        assert epochs == sorted(set(epochs))
        assert len(epochs) > EPOCHS / 2
        assert curves["validation_loss"] == [(epoch, pytest.approx(1 / epoch)) for epoch in epochs]
        assert curves["loss"][-1] == (EPOCHS, pytest.approx(2 / EPOCHS))
        assert len(curves["loss"]) == len({step for step, _ in curves["loss"]})


def _in_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = folder.iterdir()
    found = EventAccumulator(str(run))
    found.Reload()
    return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}


def _in_mlflow(folder: Path) -> tuple[str, dict[str, list[tuple[int, float]]]]:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"file://{folder}")
    experiment = client.get_experiment_by_name("rv")
    (run,) = client.search_runs([experiment.experiment_id])
    curves = {
        name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    return run.info.status, curves


def test_without_a_place_to_write_to_nothing_is_imported_or_written(tmp_path: Path) -> None:
    (tmp_path / "training.py").write_text(TRAINING.replace("epoch in (3, 5)", "False").replace("0.25", "0"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    argv = [sys.executable, "-X", "importtime", "-m", "rv_core", "run", "inprocess", "training"]
    done = subprocess.run(
        [*argv, "-a", "root", "out"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "rv_trackers.tracking" in modules
    assert not {"mlflow", "tensorboard", "rv_trackers.mlflow_sink", "rv_trackers.tensorboard_sink"} & modules
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"training.py", "out"}
