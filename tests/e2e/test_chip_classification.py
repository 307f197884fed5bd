"""Whole runs of the chip-classification pipeline on small generated scenes, through the real CLI."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rv_pipeline_chip_classification.hooks")
pytest.importorskip("rv_runner_local.hooks")

MODULE = Path(__file__).with_name("small_experiment.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import importlib.util

    spec = importlib.util.spec_from_file_location("small_experiment", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("scenes")
    module.write_scenes(folder)
    return folder


def arguments(data: Path, root: Path, runner: str = "local", *more: str) -> list[str]:
    return ["run", runner, str(MODULE), "-a", f"data={data}", "-a", f"root_uri={root}", *more]


def results(root: Path) -> dict[str, str]:
    """SHA-256 of everything that a run leaves for the user."""
    patterns = ("chip/*", "train/model.*", "train/*.json", "predict/*", "eval/*/*", "bundle/*")
    files = [path for pattern in patterns for path in root.glob(pattern) if not path.name.startswith(".")]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def run_ok(rv: Callable[..., Any], words: list[str]) -> str:
    done = rv(words, timeout_s=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def test_a_whole_run_then_only_what_must_be_redone(rv: Callable[..., Any], data: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    printed = run_ok(rv, arguments(data, root, "local", "--splits", "2"))
    scores = json.loads((root / "eval" / "test" / "eval.json").read_text())["overall"]
    assert scores["accuracy"] > 0.8
    assert scores["coverage"] == {"labelled": 36, "predicted": 36, "matched": 36, "without_data": 0}
    cells = json.loads((root / "predict" / "test_1.geojson").read_text())["features"]
    assert len(cells) == 36
    check_summary(rv, root, printed, scores)
    assert all(abs(sum(cell["properties"]["scores"]) - 1) < 1e-4 for cell in cells)

    again = run_ok(rv, arguments(data, root, "local", "--splits", "3"))
    assert "Nothing to do" in again

    chips = (root / "chip" / "train_1.npy").stat().st_mtime_ns
    more = run_ok(rv, arguments(data, root, "local", "-a", "num_epochs=16"))
    assert "train.num_epochs 15 → 16" in more
    assert (root / "chip" / "train_1.npy").stat().st_mtime_ns == chips

    done = rv("predict", root / "bundle" / "model-bundle.zip", data / "test_1.tif", "-o", tmp_path / "maps")
    assert done.returncode == 0, done.stderr
    predicted = json.loads((tmp_path / "maps" / "test_1.geojson").read_text())["features"]
    expected = json.loads((root / "predict" / "test_1.geojson").read_text())["features"]
    assert [c["properties"]["scores"] for c in predicted] == [c["properties"]["scores"] for c in expected]


def check_summary(rv: Callable[..., Any], root: Path, printed: str, scores: dict[str, Any]) -> None:
    """The end of the run and `rv status` say what eval.json and the last line of the history say."""
    status = json.loads(rv("status", root, "--json").stdout)
    (told,) = status["summaries"]
    summary = told["summary"]
    expected = {"test macro F1": scores["macro"]["f1"], "test accuracy": scores["accuracy"]}
    assert {name: summary["numbers"][name] for name in expected} == expected
    assert f"test macro F1 {scores['macro']['f1']:.3f}, test accuracy {scores['accuracy']:.3f}, always '" in printed
    answers = [row[0] for table in summary["tables"][:-1] for row in table["rows"]]
    assert [answer.split(" ")[0] for answer in answers] == ["this", "linear,", "always"] * 2
    assert summary["tables"][-1]["rows"][0] == ["dark", *of_class(root, "validation", 0), *of_class(root, "test", 0)]
    assert all((root / name).exists() for name in summary["files"])
    assert {"eval/test/test_1.png", "eval/test/test_1.geojson", "predict/test_1.tif", "bundle/model-bundle.zip"} < set(
        summary["files"]
    )
    last = json.loads((root / "train" / "history.jsonl").read_text().splitlines()[-1])
    (train,) = next(job["tasks"] for job in status["jobs"] if job["command"] == "train")
    assert train["numbers"]["epoch"] == last["epoch"]
    assert train["numbers"]["validation_macro_f1"] == last["validation_macro_f1"]


def of_class(root: Path, subset: str, class_id: int) -> tuple[float, int]:
    entry = json.loads((root / "eval" / subset / "eval.json").read_text())["overall"]["classes"][class_id]
    return entry["f1"], entry["support"]


@pytest.mark.slow
def test_splits_and_runner_do_not_change_a_byte_nor_does_the_bundle(
    rv: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    """With surroundings, so that chips and windows overlap; without them in the other tests."""
    context = ("-a", "context_px=5", "-a", "num_epochs=4")
    run_ok(rv, arguments(data, tmp_path / "one", "inprocess", *context))
    run_ok(rv, arguments(data, tmp_path / "two", "local", "--splits", "2", *context))
    found = results(tmp_path / "one")
    assert found == results(tmp_path / "two")
    assert any(name.startswith("train/model") for name in found)
    bundle = tmp_path / "one" / "bundle" / "model-bundle.zip"
    done = rv("predict", bundle, data / "test_1.tif", "-o", tmp_path / "maps")
    assert done.returncode == 0, done.stderr
    maps = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "maps").iterdir()}
    assert maps == {name.removeprefix("predict/"): digest for name, digest in found.items() if "predict/test_1" in name}
    assert len(maps) == 5


@pytest.mark.slow  # in the quick tests a training is killed and resumed within its process
def test_a_training_that_is_stopped_goes_on_from_its_checkpoint(
    rv: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    options = ("-a", "num_epochs=20", "-a", "context_px=3")
    words = arguments(data, tmp_path / "stopped", "local", *options)
    process = rv.start(words)
    wait_for(lambda: "epoch" in all_events(tmp_path / "stopped", "small.train"))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert (tmp_path / "stopped" / "train" / "checkpoint.safetensors").exists()
    run_ok(rv, words)
    run_ok(rv, arguments(data, tmp_path / "whole", "local", *options))
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


@pytest.mark.random_kills
@pytest.mark.timeout(1500)  # on a loaded machine the eleven runs take long
def test_killed_at_ten_random_moments_a_run_ends_with_the_same_bytes(
    rv: Callable[..., Any], data: Path, tmp_path: Path
) -> None:
    root, seed = tmp_path / "killed", int(os.environ.get("RV_TEST_SEED", "0")) or random.randrange(10**6)
    print(f"RV_TEST_SEED={seed}")
    chance = random.Random(seed)
    words = arguments(data, root, "local", "--splits", "2", "-a", "num_epochs=40", "-a", "checkpoint_every_s=0.3")
    for _ in range(10):
        process = rv.start(words)
        time.sleep(chance.uniform(0.5, 6.0))
        kill_everything(process.pid, root)
        process.wait()
    run_ok(rv, words)
    run_ok(rv, arguments(data, tmp_path / "whole", "local", "-a", "num_epochs=40", "-a", "checkpoint_every_s=0.3"))
    assert results(root) == results(tmp_path / "whole")
    assert list(root.rglob("*.tmp")) == []


def kill_everything(pid: int, root: Path) -> None:
    from rv_core.machine.process_table import processes_of_run

    runs = [folder.name for folder in (root / ".rv" / "runs").glob("*")]
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    for _ in range(2):
        for run in runs:
            for other in processes_of_run(run):
                os.kill(other, signal.SIGKILL)


def all_events(root: Path, task: str) -> str:
    return "".join(path.read_text() for path in (root / ".rv" / "runs").glob(f"*/events/{task}.*.jsonl"))


def wait_for(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
