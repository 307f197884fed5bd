"""Situations that other tools get wrong, each with the outcome that a user wants.

Some are tests elsewhere: roots with blanks, quotes, `$` and `;`, the interpreter of an environment that is not active,
and signals to the command line alone in `test_local_runs.py`; changed fields and inputs in `test_resume.py`; images,
labels and bundles that cannot be used in `test_bad_input_data.py`; unknown names in `test_bad_input_core.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.e2e.blocks import block_of, findings_of

from rv_core.machine.folders import host_label

if TYPE_CHECKING:
    from tests.e2e.conftest import TinyRun

HELLO = "rv_core.hello"
TINY = Path(__file__).with_name("tiny_experiment.py")
TRAIN = "dataset.train_scenes"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def hello(root: Path, **arguments: Any) -> list[str]:
    """The words of a command line for the pipeline `hello`."""
    return [HELLO, "-a", f"root_uri={root}", *(w for k, v in arguments.items() for w in ("-a", f"{k}={v}"))]


def tiny(data: Path, root: Path, *more: str) -> list[str]:
    """The words of a command line for the tiny experiment."""
    return [str(TINY), "-a", f"data={data}", "-a", f"root_uri={root}", *more]


def wait_until(look: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def items_done(root: Path, command: str) -> list[str]:
    """The items of a command that have a manifest."""
    return sorted(path.name.split(".")[0] for path in root.glob(f".rv/done/{command}/*.json"))


def ids_of_runs(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob(".rv/runs/*"))


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_commands_typed_in_another_order_run_in_the_order_of_the_pipeline(rv: Any, root: Path) -> None:
    done = rv("run", "inprocess", *hello(root), "gpu_task", "cpu_task")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("hello.cpu_task is done") < done.stdout.index("hello.gpu_task is done")
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("4 greetings")


def test_splits_without_work_are_not_started(rv: Any, root: Path) -> None:
    """Three items and eight splits are three tasks, whichever items they are."""
    pytest.importorskip("rv_runner_local.hooks")
    done = rv("run", "local", *hello(root, num_items=3), "-s", 8)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 items in 3 tasks" in done.stdout
    started = [path.name for path in root.glob(".rv/runs/*/events/hello.cpu_task.*.jsonl")]
    assert len(started) == 3


def test_splits_of_two_training_and_one_validation_scene(rv: Any, tiny_data: Path, root: Path) -> None:
    pytest.importorskip("rv_pipeline_chip_classification.hooks")
    done = rv("run", "inprocess", *tiny(tiny_data, root), "-s", 4, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    num_splits = {job["command"]: job["num_splits"] for job in plan["jobs"]}
    assert num_splits == {"analyze": 2, "chip": 3, "train": 1, "predict": 2, "eval": 1, "bundle": 1}
    assert not root.exists()


def test_training_without_chips_is_refused_before_anything_runs(rv: Any, tiny_data: Path, root: Path) -> None:
    block = block_of(rv("run", "inprocess", *tiny(tiny_data, root), "train"), 2)
    assert "tiny.train: requires" in block
    assert "chip, which is not done" in block
    assert not root.exists()


def test_evaluation_without_predictions_is_refused_before_anything_runs(
    rv: Any, tiny_run: TinyRun, tmp_path: Path
) -> None:
    copy = shutil.copytree(tiny_run.root, tmp_path / "copy")
    shutil.rmtree(copy / "predict")

    block = block_of(rv("run", "inprocess", *tiny(tiny_run.data, copy), "eval", "--rerun"), 2)

    assert "tiny.eval: requires predict, which is not done" in block
    assert "is missing)" in block  # one of the files


# --- missing inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (f"{TRAIN}[0].raster.uris[0]", "a training image"),
        ("dataset.test_scenes[0].raster.uris[0]", "a test image"),
        (f"{TRAIN}[1].labels.uri", "a label file"),
    ],
)
def test_a_missing_file_is_found_before_the_first_chip(
    rv: Any, tiny_data: Path, root: Path, place: str, name: str
) -> None:
    missing = str(tiny_data / f"no {name}")
    done = rv("run", "inprocess", *tiny(tiny_data, root), "--set", f"{place}={missing}")
    found = findings_of(block_of(done, 2))
    assert found == {place: f"there is no file {missing}"}
    assert not root.exists()


def test_what_is_not_run_is_not_asked_for(rv: Any, tiny_data: Path, root: Path) -> None:
    """Chips need no test scene: without its image they are made all the same."""
    missing = tiny_data / "none.tif"
    done = rv(
        "run",
        "inprocess",
        *tiny(tiny_data, root, "--set", f"dataset.test_scenes[0].raster.uris[0]={missing}"),
        "chip",
    )
    assert done.returncode == 0, done.stderr
    assert items_done(root, "chip") == ["train-1", "train-2", "validation-3"]


def test_an_empty_label_file_with_a_background_class_is_a_scene_of_background(
    rv: Any, tiny_data: Path, root: Path
) -> None:
    (tiny_data / "train-2.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    background = ("--set", f"{TRAIN}[1].labels.background_class=rock")
    done = rv("run", "inprocess", *tiny(tiny_data, root, *background), "chip")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (root / "chip" / "train-2.jsonl").read_text().splitlines()]
    assert {line["class_name"] for line in lines} == {"rock"}
    assert len(lines) == 16


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["inprocess", "local"])
@pytest.mark.parametrize("keep_going", [False, True], ids=["stop", "keep going"])
def test_one_of_four_splits_fails(rv: Any, root: Path, runner: str, keep_going: bool) -> None:
    """The task is named with its own exit code and lines; what depends on it does not start; the rest can go on."""
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    words = hello(root, fail_on="item-1")
    done = rv("run", runner, *words, "-s", 4, "--jobs", 1, *(["--keep-going"] if keep_going else []))

    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "hello.cpu_task.2-of-4 failed with exit code 1: RuntimeError: asked to fail on item-1" in said
    assert "not started: hello.gpu_task" in said
    assert "make: ***" not in said
    expected = ["item-0", "item-2", "item-3"] if keep_going else ["item-0"]
    assert items_done(root, "cpu_task") == expected
    again = rv("run", runner, *hello(root))
    assert again.returncode == 0, again.stderr
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("4 greetings")


TWO_PIPELINES = """
from rv_core.hello import HelloConfig
def get_configs(runner, root_uri: str):
    return [
        HelloConfig(root_uri=f"{root_uri}/bad", name="bad", num_items=2, fail_on="item-0"),
        HelloConfig(root_uri=f"{root_uri}/good", name="good", num_items=2),
    ]
"""


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_with_keep_going_a_failure_in_one_pipeline_does_not_keep_the_other_from_its_end(
    rv: Any, tmp_path: Path, root: Path, runner: str
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    (tmp_path / "two.py").write_text(TWO_PIPELINES)
    done = rv("run", runner, "two.py", "-a", f"root_uri={root}", "--keep-going")
    assert done.returncode == 1
    assert "bad.cpu_task failed with exit code 1" in done.stdout + done.stderr
    assert (root / "good" / "gpu_task" / "summary.txt").read_text().startswith("2 greetings")
    assert not (root / "bad" / "gpu_task").exists()


# --- signals ----------------------------------------------------------------------------------------------------------


def processes_left(root: Path) -> list[int]:
    """The processes that belong to runs of a root."""
    from rv_core.machine.process_table import processes_of_run

    return [pid for run_id in ids_of_runs(root) for pid in processes_of_run(run_id)]


def test_ctrl_c_to_the_whole_group_ends_every_process_and_the_run_goes_on_later(rv: Any, root: Path) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    words = ["run", "local", *hello(root, num_items=6, sleep_s=0.4), "-s", 2, "--jobs", 2]
    process = rv.start(*words)
    wait_until(lambda: items_done(root, "cpu_task"))

    os.killpg(process.pid, signal.SIGINT)

    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    wait_until(lambda: not processes_left(root), timeout_s=8)
    assert not (root / ".rv" / "active-run.json").exists()
    kept = len(items_done(root, "cpu_task"))
    assert 0 < kept < 6
    again = rv(*words)
    assert again.returncode == 0, again.stderr
    assert f"{6 - kept} of 6 items" in again.stdout


def test_a_job_of_a_shell_in_the_background_for_which_ctrl_c_is_ignored_runs_to_its_end(rv: Any, root: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited by what is started now
    try:
        process = rv.start("run", "inprocess", *hello(root, sleep_s=0.2))
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: items_done(root, "cpu_task"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, out + err
    assert (root / "gpu_task" / "summary.txt").exists()


def test_a_run_that_was_killed_leaves_no_temporary_files_behind_after_the_next_one(
    rv: Any, tiny_data: Path, root: Path, tmp_path: Path
) -> None:
    """Half-written outputs are swept by the next run, and nothing stays in the folder for temporary files."""
    from tests.scenes import write_scene

    write_scene(tiny_data, "train-9", size_px=1024, seed=9)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    words = ["run", "inprocess", *tiny(tiny_data, root), "chip"]
    process = rv.start(*words, env=env)
    wait_until(lambda: "train-2" in items_done(root, "chip"))
    process.kill()
    process.wait()
    # What a moment later would have been left for certain.
    (root / "chip" / f".train-9.npy.{host_label()}-{process.pid}-7.tmp").write_bytes(b"half")

    done = rv(*words, env=env)

    assert done.returncode == 0, done.stderr
    assert [path.name for path in root.rglob("*.tmp")] == []
    assert list(temporary.iterdir()) == []
    assert items_done(root, "chip") == ["train-1", "train-2", "train-9", "validation-3"]


def test_asking_for_help_writes_nothing(rv: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    names = ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    env = dict.fromkeys(names, str(home)) | {"RV_CONFIG_DIR": str(home / "c"), "RV_CACHE_DIR": str(home / "d")}
    for words in (("--help",), ("run", "--help")):
        assert rv(*words, cwd=home, env=env).returncode == 0
    assert list(home.iterdir()) == []


# --- running again ----------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_whatever_the_number_of_splits(rv: Any, tiny_run: TinyRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.root.rglob("*") if path.is_file()}
    done = rv("run", "inprocess", *tiny(tiny_run.data, tiny_run.root), "-s", 3)
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stdout
    assert done.stdout.count(" skip ") == 6
    assert {path: path.stat().st_mtime_ns for path in tiny_run.root.rglob("*") if path.is_file()} == before


def test_chips_made_again_are_not_there_twice(rv: Any, tiny_run: TinyRun, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_run.root, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in (copy / "chip").iterdir()}
    done = rv("run", "inprocess", *tiny(tiny_run.data, copy), "chip", "--rerun", "-s", 2)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (copy / "chip").iterdir()} == before
    assert len(list((copy / ".rv/done/chip").iterdir())) == 3


def test_two_thousand_overwritten_bytes_of_an_image_are_noticed(rv: Any, tiny_data: Path, root: Path) -> None:
    """GDAL may decode the file all the same: its scene alone is chipped again."""
    words = ["run", "inprocess", *tiny(tiny_data, root), "chip"]
    assert rv(*words).returncode == 0
    others = {path.name: path.stat().st_mtime_ns for path in (root / "chip").iterdir() if "train-2" not in path.name}
    image = tiny_data / "train-2.tif"
    pixels = bytearray(image.read_bytes())
    pixels[3000:5000] = pixels[5000:7000]
    image.write_bytes(pixels)

    done = rv(*words, "--dry-run")
    assert "train-2.tif changed" in done.stdout
    assert "1 of 3 items" in done.stdout
    rv(*words)

    assert {name: (root / "chip" / name).stat().st_mtime_ns for name in others} == others


def test_other_pixels_of_a_training_scene_mean_another_training(rv: Any, tiny_run: TinyRun, tmp_path: Path) -> None:
    """What follows from the scene is done again, and what does not is kept."""
    from tests.scenes import write_scene

    data = shutil.copytree(tiny_run.data, tmp_path / "data")
    words = ["run", "inprocess", *tiny(data, tmp_path / "root")]
    assert rv(*words, "chip", "analyze").returncode == 0
    write_scene(data, "train-1", seed=1, size_px=80)
    done = rv(*words, "--dry-run")
    assert done.returncode == 0, done.stderr
    for job, share in (("chip", "1 of 3"), ("analyze", "1 of 2")):
        assert f"tiny.{job}" in done.stdout
        assert f"{share} items · train-1: train-1.tif" in done.stdout


def test_more_epochs_mean_another_training_and_no_other_chips(rv: Any, tiny_run: TinyRun) -> None:
    done = rv("run", "inprocess", *tiny(tiny_run.data, tiny_run.root, "-a", "num_epochs=2"), "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    commands = json.loads(done.stdout)["pipelines"]["tiny"]["commands"]
    decisions = {command["command"]: command["decision"] for command in commands}
    assert {name for name, decision in decisions.items() if decision == "done"} == {"analyze", "chip"}
    train = next(command for command in commands if command["command"] == "train")
    assert train["reasons"] == ["train.num_epochs 1 → 2"]


@pytest.mark.parametrize(
    ("field", "rerun"),
    [
        ('classes.colors=["#000000", "#111111", "#222222"]', {"predict", "eval", "bundle"}),
        ("train.checkpoint_every_s=7", set()),
        ("train.num_workers=2", set()),
        ("predict.batch_size=3", {"predict", "eval"}),
    ],
)
def test_what_cannot_change_a_model_means_no_other_training(
    rv: Any, tiny_run: TinyRun, field: str, rerun: set[str]
) -> None:
    done = rv("run", "inprocess", *tiny(tiny_run.data, tiny_run.root), "--set", field, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    commands = json.loads(done.stdout)["pipelines"]["tiny"]["commands"]
    assert {command["command"] for command in commands if command["decision"] == "run"} == rerun


@pytest.mark.slow
def test_a_training_that_was_killed_ends_with_the_bytes_of_an_undisturbed_one(
    rv: Any, tiny_run: TinyRun, tmp_path: Path
) -> None:
    """KILL in the middle, then the same command: optimiser, schedule and random numbers go on where they were."""
    epochs = ("-a", "num_epochs=30", "--set", "train.checkpoint_every_s=0.01")
    killed, whole = (shutil.copytree(tiny_run.root, tmp_path / name) for name in ("killed", "whole"))
    shutil.rmtree(killed / ".rv" / "runs")
    (killed / "train" / "checkpoint.safetensors").unlink(missing_ok=True)
    process = rv.start("run", "inprocess", *tiny(tiny_run.data, killed, *epochs), "train")
    wait_until((killed / "train" / "checkpoint.safetensors").exists)
    process.kill()
    process.wait()
    assert "finished" not in events_of(killed, "tiny.train")

    resumed = rv("run", "inprocess", *tiny(tiny_run.data, killed, *epochs), "train")
    undisturbed = rv("run", "inprocess", *tiny(tiny_run.data, whole, *epochs), "train")

    assert (resumed.returncode, undisturbed.returncode) == (0, 0), resumed.stderr + undisturbed.stderr
    model = Path("train/model.safetensors")
    assert (killed / model).read_bytes() == (whole / model).read_bytes()
    assert (killed / model).read_bytes() != (tiny_run.root / model).read_bytes()


def events_of(root: Path, task: str) -> str:
    return "".join(path.read_text() for path in root.glob(f".rv/runs/*/events/{task}.*.jsonl"))


def test_after_a_failure_a_training_never_takes_chips_of_a_scene_that_was_not_finished(
    rv: Any, tiny_data: Path, root: Path
) -> None:
    from tests.scenes import cut_in_half

    words = ["run", "inprocess", *tiny(tiny_data, root)]
    assert rv(*words, "chip").returncode == 0
    cut_in_half(tiny_data / "train-1.tif")
    block = block_of(rv(*words, "train"), 2)
    assert "tiny.train: requires chip, which is not done (train-1: train-1.tif changed)" in block
