"""A root and a config that an earlier release left, in `samples`: found done, gone on with, and with the same keys."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.stored_roots import contents, put_in_place

SAMPLES = Path(__file__).parent / "samples"
COMMANDS = ("analyze", "chip", "train", "predict", "eval", "bundle")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a finished run of every command; its weights are zeros."""
    root = put_in_place(SAMPLES / "root-0.1", tmp_path / "root-0.1")
    monkeypatch.setenv("SCENES", str(root.parent / "scenes"))
    return root


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def planned(rv: Callable[..., Any], *words: object, cwd: Path) -> dict[str, tuple[str, str]]:
    """Command -> (what is decided, key)."""
    plan = json.loads(succeeded(rv("run", "inprocess", *words, "--dry-run", "--json", cwd=cwd)))
    (pipeline,) = plan["pipelines"].values()
    return {entry["command"]: (entry["decision"], entry["key"]) for entry in pipeline["commands"]}


def forget(root: Path, *commands: str) -> dict[str, bytes]:
    """Remove manifests and outputs of commands; returns the manifests that were there, by name."""
    manifests = {path: path.read_bytes() for name in commands for path in (root / ".rv" / "done" / name).iterdir()}
    for path, text in manifests.items():
        for output in json.loads(text)["outputs"]:
            (root / output["path"]).unlink()
        path.unlink()
    return {str(path.relative_to(root)): text for path, text in manifests.items()}


@pytest.mark.parametrize(
    "words", [("root/pipeline-config.json",), ("experiment.py", "-a", "root_uri=root")], ids=["config", "module"]
)
def test_a_finished_root_is_found_done_and_stays_as_it_is(
    rv: Callable[..., Any], root: Path, words: tuple[str, ...]
) -> None:
    before = contents(root)
    plan = planned(rv, *words, cwd=root.parent)
    assert {command: decision for command, (decision, _) in plan.items()} == dict.fromkeys(COMMANDS, "done")
    assert "Nothing to do" in succeeded(rv("run", "inprocess", *words, cwd=root.parent))
    assert contents(root) == before


def test_a_finished_run_is_shown_as_done(rv: Callable[..., Any], root: Path) -> None:
    shown = json.loads(succeeded(rv("status", root, "--json")))
    assert shown["state"] == "done"
    items = {job["command"]: (job["state"], job["items_done"], job["items_total"]) for job in shown["jobs"]}
    expected = {"analyze": 2, "chip": 3, "train": 1, "predict": 3, "eval": 1, "bundle": 1}
    assert items == {command: ("done", number, number) for command, number in expected.items()}
    assert all(task["cpu_s"] > 0 for job in shown["jobs"] for task in job["tasks"]), "told by `finished` alone"
    # That release kept no summary: the installed pipeline tells it, without what its eval.json does not say.
    (told,) = shown["summaries"]
    overall = json.loads((root / "eval" / "test" / "eval.json").read_text())["overall"]
    expected = {"test macro F1": overall["macro"]["f1"], "test accuracy": overall["accuracy"]}
    assert (told["problem"], told["summary"]["numbers"]) == ("", expected)
    assert [row[0] for row in told["summary"]["tables"][0]["rows"]] == ["this model"]


def test_predictions_of_an_earlier_release_are_evaluated_alike(rv: Callable[..., Any], root: Path) -> None:
    names = [f"eval/{subset}/eval.json" for subset in ("validation", "test")]
    before = {name: json.loads((root / name).read_text()) for name in names}
    manifests = forget(root, "eval")
    printed = succeeded(rv("run", "inprocess", "root/pipeline-config.json", cwd=root.parent))
    assert "done: 1 of 11 items, 10 were done before" in printed
    now = {name: json.loads((root / name).read_text()) for name in names}
    assert {name: {field: now[name][field] for field in report} for name, report in before.items()} == before
    assert now[names[1]]["baselines"]["constant"]["class_name"] == "forest"
    assert now[names[1]]["baselines"]["linear_probe"] is None, "an earlier training left none"
    assert all((root / name).exists() for name in manifests)


def test_statistics_and_chips_of_an_earlier_release_are_trained_on(rv: Callable[..., Any], root: Path) -> None:
    (config,) = (root / ".rv" / "runs").glob("*/pipeline-config.json")
    manifests = forget(root, "train", "predict")
    run_dir = config.parent
    as_the_runner = {"RV_RUN_ID": run_dir.name, "RV_RUN_DIR": str(run_dir), "RV_ATTEMPT": "2", "RV_NUM_THREADS": "1"}
    for command in ("train", "predict"):
        succeeded(rv("run-command", config, command, env=as_the_runner))
    assert {name for name in manifests if (root / name).exists()} == set(manifests)
    outputs = [output for text in manifests.values() for output in json.loads(text)["outputs"]]
    assert all((root / output["path"]).stat().st_size > 0 for output in outputs)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("config-*.keys.json")), ids=lambda path: path.name)
def test_a_saved_config_that_sets_every_field_gives_the_keys_that_it_gave(
    rv: Callable[..., Any], root: Path, path: Path
) -> None:
    config = path.with_name(path.name.replace(".keys", ""))
    plan = planned(rv, config, "--set", f"root_uri={root.parent / 'other'}", cwd=root.parent)
    assert {command: key for command, (_, key) in plan.items()} == json.loads(path.read_text())


def test_a_saved_config_holds_every_class() -> None:
    from rv_pipeline_chip_classification import config as module

    newest = max(SAMPLES.glob("config-*.keys.json"))
    saved = json.loads(newest.with_name(newest.name.replace(".keys", "")).read_text())
    classes = {cls for cls in map(vars(module).get, module.__all__) if not vars(cls).get("is_abstract")}
    assert {f"{module.__name__}:{cls.__name__}" for cls in classes} == set(saved["rv"]["types"].values())
