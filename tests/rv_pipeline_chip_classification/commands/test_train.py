"""The command `train`, from chips on disk to its outputs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import safetensors.torch
import torch
from tests.rv_pipeline_chip_classification.training.training_data import Killed, Stopped, Task

from rv_core.errors import DataError, TaskError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    DatasetConfig,
    ModelConfig,
    RasterSourceConfig,
    SceneConfig,
    TrainConfig,
)
from rv_pipeline_chip_classification.commands.analyze import analyze_scene
from rv_pipeline_chip_classification.commands.chip import chip_scene
from rv_pipeline_chip_classification.commands.train import run_train
from rv_pipeline_chip_classification.commands.training_data import open_training_data
from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.trained import load_model, read_trained
from rv_pipeline_chip_classification.model.weights import save_weights
from rv_pipeline_chip_classification.training.checkpoint import CHECKPOINT
from rv_pipeline_chip_classification.training.imbalance import adapted_weights

NAMES = ("dark", "bright", "green")
OUTPUTS = (
    "train/model.safetensors",
    "train/model.json",
    "train/metrics.json",
    "train/history.jsonl",
    "train/history.csv",
)
TRAIN = TrainConfig(num_epochs=3, batch_size=8, num_threads=1, learning_rate=0.003)


@pytest.fixture
def config(write_image: Callable[..., str], storage: Storage) -> ChipClassificationConfig:
    """Two training scenes and a validation scene of 64 px with chips of 16 px, analyzed and chipped."""

    def scene(name: str, seed: int, descriptions: tuple[str, ...] = ("green", "nir")) -> SceneConfig:
        rng = np.random.default_rng(seed)
        labels = np.kron(rng.integers(1, 4, (4, 4)), np.ones((16, 16))).astype(np.uint8)
        image = rng.normal(1000, 100, (64, 64, 2))
        image[..., 0] += 400 * (labels == 3)
        image += 300 * (labels == 2)[..., None]
        uri = write_image(f"{name}.tif", image.astype(np.uint16), names=descriptions)
        classes = ClassRasterLabelsConfig(
            uri=write_image(f"{name}-labels.tif", labels), class_values=dict(enumerate(NAMES, 1))
        )
        return SceneConfig(id=name, raster=RasterSourceConfig(uris=[uri]), labels=classes)

    config = ChipClassificationConfig(
        root_uri=storage.root_uri,
        classes=ClassConfig(names=list(NAMES)),
        dataset=DatasetConfig(train_scenes=[scene("a", 0), scene("b", 1, ())], validation_scenes=[scene("c", 2)]),
        chip=ChipConfig(chip_size_px=16),
        train=TRAIN,
    )
    for subset in ("train", "validation"):
        for item in config.dataset.scenes_of(subset):
            analyze_scene(item, config.analyze, storage)
            chip_scene(item, subset, config.classes, config.chip, config.seed, storage)
    return config


def outputs_of(storage: Storage) -> list[bytes]:
    return [storage.read_bytes(name) for name in OUTPUTS]


def test_train_leaves_a_model_its_contract_metrics_and_history(
    config: ChipClassificationConfig, storage: Storage
) -> None:
    task = Task()
    run_train(config, storage, task)
    contract, weights = read_trained(storage)
    assert contract.channels == ("green", "nir") and contract.dtype == "uint16"
    assert (contract.class_names, contract.chip_size_px, contract.cell_size_px) == (NAMES, 16, 16)
    assert contract.class_colors[0].startswith("#")
    assert (contract.file_channels, contract.num_bands, contract.nodata) == ((0, 1), 2, None)
    assert contract.pixel_size_m is not None and contract.pixel_size_m[0] == pytest.approx(1.0, rel=0.01)
    assert (contract.scales, contract.declared_nodata) == (((1.0, 0.0),) * 2, (None,))
    edges = [json.loads(storage.read_text(f"analyze/{name}.json"))["values"]["edges"][1] for name in "ab"]
    assert contract.values is not None
    assert contract.values.edges[1][0] == min(edge[0] for edge in edges)
    assert contract.values.edges[1][-1] == max(edge[-1] for edge in edges)
    assert load_model(contract, weights)(torch.zeros(1, 2, 16, 16)).shape == (1, 3)
    metrics = json.loads(storage.read_text("train/metrics.json"))
    assert metrics["num_train_chips"] == 32 and metrics["num_validation_chips"] == 16
    assert sum(entry["support"] for entry in metrics["validation"]["classes"]) == 16
    assert sum(entry["support"] for entry in metrics["train"]["classes"]) == 32
    history = [json.loads(line) for line in storage.read_text("train/history.jsonl").splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    rows = list(csv.DictReader(storage.read_text("train/history.csv").splitlines()))
    assert [_entry_of(row) for row in rows] == history
    assert history[metrics["best_epoch"] - 1]["is_best"]
    assert metrics["validation"]["loss"] == pytest.approx(history[metrics["best_epoch"] - 1]["validation_loss"])
    assert task.recorded == {
        "num_train_chips": 32, "num_validation_chips": 16, "num_epochs": 3, "best_epoch": metrics["best_epoch"],
    }  # fmt: skip
    assert not storage.exists(CHECKPOINT)


def _entry_of(row: dict[str, str]) -> dict[str, Any]:
    """A row of the table as an entry of the history; what is there per class is a list again."""
    plain = {name: json.loads(text) if text else None for name, text in row.items()}
    entry = {name: value for name, value in plain.items() if ":" not in name}
    predicted = [plain[f"train_predicted:{name}"] for name in NAMES]
    return entry | {"train_predicted": predicted}


def test_the_normalisation_is_that_of_the_training_scenes_alone(
    config: ChipClassificationConfig, storage: Storage
) -> None:
    run_train(config, storage, Task())
    import rasterio

    pixels = []
    for scene in config.dataset.train_scenes:
        with rasterio.open(scene.raster.uris[0]) as image:
            pixels.append(image.read().reshape(2, -1))
    together = np.concatenate(pixels, axis=1).astype(np.float64)
    normalization = read_trained(storage)[0].normalization
    assert normalization.offset == pytest.approx(together.mean(axis=1))
    assert normalization.scale == pytest.approx(1 / together.std(axis=1))


@pytest.mark.parametrize("num_looks", [1, 5, 10, 13])
def test_a_run_that_is_killed_and_started_again_gives_the_same_files(
    config: ChipClassificationConfig, storage: Storage, num_looks: int, capsys: pytest.CaptureFixture[str]
) -> None:
    run_train(config, storage, Task())
    expected = outputs_of(storage)
    for name in OUTPUTS:
        storage.delete(name)
    often = replace(config, train=replace(TRAIN, checkpoint_every_s=1e-9))
    with pytest.raises(Killed):
        run_train(often, storage, Task(kill_after=num_looks))
    assert not storage.exists(OUTPUTS[0])
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=1))
    run_train(config, storage, Task())
    assert "going on in epoch" in capsys.readouterr().out
    assert outputs_of(storage) == expected
    assert not storage.exists(CHECKPOINT)


def test_a_checkpoint_of_another_job_is_not_used_and_this_is_said(
    config: ChipClassificationConfig, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    run_train(config, storage, Task(key="new"))
    expected = outputs_of(storage)
    with pytest.raises(Stopped):
        run_train(replace(config, seed=7), storage, Task(stop_after=3, key="old"))
    run_train(config, storage, Task(key="new"))
    assert "belongs to another config" in caplog.text
    assert outputs_of(storage) == expected


def test_a_damaged_checkpoint_is_not_used_and_this_is_said(
    config: ChipClassificationConfig, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=3))
    path = Path(storage.uri(CHECKPOINT))
    path.write_bytes(path.read_bytes()[:-7])
    task = Task()
    run_train(config, storage, task)
    assert "damaged" in caplog.text
    assert task.recorded["num_epochs"] == 3


def change_header(storage: Storage, change: Callable[[dict[str, Any]], Any], *, keep_digest: bool = False) -> None:
    """Change what the header of the checkpoint says; without a digest, as version 0.1 wrote it, unless it is kept."""
    path = Path(storage.uri(CHECKPOINT))
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["rv"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    if not keep_digest:
        del header["sha256"]
    change(header | {"tensors": tensors})
    path.write_bytes(safetensors.torch.save(tensors, metadata={"rv": json.dumps(header)}))


def test_a_checkpoint_of_version_0_1_without_a_digest_is_gone_on_from(
    config: ChipClassificationConfig, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    run_train(config, storage, Task())
    expected = outputs_of(storage)
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=5))
    change_header(storage, lambda header: None)
    run_train(config, storage, Task())
    assert "going on in epoch" in capsys.readouterr().out
    assert outputs_of(storage) == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"epoch": 1_000_000}, "epoch is 1000000"),
        ({"epoch": -5}, "epoch is -5"),
        ({"epoch": "x"}, "epoch is 'x'"),
        ({"epoch": True}, "epoch is True"),
        ({"batch": 10**6}, "batch is 1000000"),
        ({"history": [5]}, "history"),
        ({"history": 7}, "TypeError"),
        ({"best_epoch": 10**6}, "best_epoch is 1000000"),
        ({"num_parts": 0}, "num_parts is 0"),
        ({"num_parts": 10**18}, "num_parts is 1000000000000000000"),
        ({"scaler": 5}, "of such a training"),
    ],
)
def test_an_old_checkpoint_that_cannot_be_of_this_training_is_not_used(
    config: ChipClassificationConfig,
    storage: Storage,
    values: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if "scaler" in values and not torch.cuda.is_available():
        pytest.skip("nothing is scaled on a CPU")
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=8))
    change_header(storage, lambda header: header["values"].update(values))
    task = Task()
    run_train(config, storage, task)
    assert "is not of such a training" in caplog.text and reason in caplog.text
    assert task.recorded["num_epochs"] == 3


def spoil(header: dict[str, Any]) -> None:
    next(tensor for name, tensor in header["tensors"].items() if name.endswith("fc.weight"))[0] = float("nan")


def test_an_old_checkpoint_with_weights_that_are_no_numbers_is_not_used(
    config: ChipClassificationConfig, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=8))
    change_header(storage, spoil)
    run_train(config, storage, Task())
    assert "holds what is no number" in caplog.text


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9])
def test_a_bit_that_flips_in_a_checkpoint_is_noticed(
    config: ChipClassificationConfig, storage: Storage, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    run_train(config, storage, Task())
    expected = outputs_of(storage)
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=5))
    path = Path(storage.uri(CHECKPOINT))
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 0x40
    path.write_bytes(data)
    run_train(config, storage, Task())
    assert "its content is not what its digest says" in caplog.text
    assert outputs_of(storage) == expected


def test_a_checkpoint_whose_position_was_changed_is_noticed_by_its_digest(
    config: ChipClassificationConfig, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        run_train(config, storage, Task(stop_after=5))
    change_header(storage, lambda header: header["values"].update(batch=0), keep_digest=True)
    run_train(config, storage, Task())
    assert "its content is not what its digest says" in caplog.text


def test_a_checkpoint_of_another_network_under_the_same_key_is_not_used(
    config: ChipClassificationConfig, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    run_train(config, storage, Task())
    expected = outputs_of(storage)
    with pytest.raises(Stopped):
        run_train(replace(config, model=ModelConfig(backbone="resnet18")), storage, Task(stop_after=1))
    run_train(config, storage, Task())
    assert "is not of such a training" in caplog.text
    assert outputs_of(storage) == expected


def test_without_validation_scenes_there_is_a_model_all_the_same(
    config: ChipClassificationConfig, storage: Storage
) -> None:
    run_train(replace(config, dataset=replace(config.dataset, validation_scenes=[])), storage, Task())
    metrics = json.loads(storage.read_text("train/metrics.json"))
    assert metrics["validation"] is None and metrics["best_epoch"] == 3
    assert (metrics["chosen_by"], metrics["best_score"]) == ("last epoch", None)
    assert read_trained(storage)[0].temperature == 1.0


def test_the_temperature_is_what_the_config_says_and_what_was_measured_is_told(
    config: ChipClassificationConfig, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rv_pipeline_chip_classification.training.calibration.MIN_CHIPS", 8)
    found = {}
    for method in ("auto", "temperature", "none"):
        run_train(replace(config, train=replace(config.train, calibrate=method)), storage, Task())
        found[method] = json.loads(storage.read_text("train/metrics.json"))["calibration"]
        assert read_trained(storage)[0].temperature == found[method]["temperature"]
    assert found["auto"]["held_out"]["fold_by"] == "block"
    assert (found["auto"]["temperature"] != 1) == ("cooled" in found["auto"]["why"])
    assert found["temperature"]["temperature"] != 1 and found["temperature"]["held_out"] is None
    assert found["none"]["temperature"] == 1


def test_without_normalisation_statistics_are_not_needed(config: ChipClassificationConfig, storage: Storage) -> None:
    for scene in config.dataset.train_scenes:
        storage.delete(f"analyze/{scene.id}.json")
    run_train(replace(config, normalize="none"), storage, Task())
    contract = read_trained(storage)[0]
    assert contract.normalization.scale == (1 / 65535, 1 / 65535)
    assert contract.channels == ("green", "nir")
    assert contract.values is not None and contract.values.num_channels == 2


def test_what_an_earlier_version_did_not_note_of_the_training_images_stays_unknown(
    config: ChipClassificationConfig, storage: Storage
) -> None:
    name = "analyze/b.json"
    plain = json.loads(storage.read_text(name))
    for damaged in (
        {"shares": [1.0], "edges": [[2, 1]] * 2},
        [],
        {"shares": [1.0]},
        {"shares": [1.0], "edges": [[0, 1]]},
    ):
        storage.write_text(name, json.dumps({**plain, "values": damaged}))
        with pytest.raises(DataError, match="statistics are damaged"):
            open_training_data(config, storage)
    del plain["values"], plain["source"]["nodata"], plain["source"]["scales"]
    storage.write_text(name, json.dumps(plain))
    contract = open_training_data(config, storage).contract
    assert (contract.values, contract.scales, contract.declared_nodata) == (None, None, ())
    assert contract.pixel_size_m is not None


def test_training_goes_on_from_weights_of_another_network(
    config: ChipClassificationConfig, storage: Storage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rgb.safetensors"
    save_weights({n: torch.full_like(t, 0.01) for n, t in build_model("small_cnn", 3, 9).state_dict().items()}, path)
    slow = replace(TRAIN, num_epochs=1, learning_rate=1e-9)
    model = ModelConfig(backbone="small_cnn", init_weights=str(path))
    run_train(replace(config, train=slow, model=model), storage, Task())
    trained = safetensors.torch.load_file(read_trained(storage)[1])
    assert torch.allclose(trained["conv1.weight"], torch.full((32, 2, 3, 3), 0.015), atol=1e-4)
    assert torch.allclose(trained["conv3.weight"], torch.tensor(0.01), atol=1e-4)
    told = capsys.readouterr().out
    assert "conv1.weight was fitted" in told and "fc.weight was left out" in told


def test_a_training_that_was_bundled_can_be_gone_on_from(
    config: ChipClassificationConfig, storage: Storage, tmp_path: Path
) -> None:
    from rv_pipeline_chip_classification.commands.bundle import run_bundle

    run_train(config, storage, Task())
    run_bundle(config, storage)
    before = safetensors.torch.load_file(read_trained(storage)[1])
    slow = replace(TRAIN, num_epochs=1, learning_rate=1e-9)
    model = ModelConfig(backbone="small_cnn", init_weights=storage.uri("bundle/model-bundle.zip"))
    other = Storage(str(tmp_path / "other"))
    for name in (*storage.list_files("chip"), *storage.list_files("analyze")):
        folder = "chip" if storage.exists(f"chip/{name}") else "analyze"
        other.write_bytes(f"{folder}/{name}", storage.read_bytes(f"{folder}/{name}"))
    run_train(replace(config, train=slow, model=model), other, Task(key="other"))
    after = safetensors.torch.load_file(read_trained(other)[1])
    assert torch.allclose(before["conv3.weight"], after["conv3.weight"], atol=1e-4)
    assert torch.allclose(before["fc.weight"], after["fc.weight"], atol=1e-4)


def test_no_training_chips_are_an_error_that_says_where_to_look(
    config: ChipClassificationConfig, storage: Storage
) -> None:
    for scene in config.dataset.train_scenes:
        chip_scene(replace(scene, labels=None), "train", config.classes, config.chip, 0, storage)
    with pytest.raises(DataError, match="0 training chips") as caught:
        run_train(config, storage, Task())
    assert "labels" in caught.value.block.fix


def test_validation_chips_of_another_size_are_refused(config: ChipClassificationConfig, storage: Storage) -> None:
    chip_scene(
        config.dataset.validation_scenes[0],
        "validation",
        config.classes,
        ChipConfig(chip_size_px=8),
        0,
        storage,
    )
    with pytest.raises(DataError, match="differ") as caught:
        run_train(config, storage, Task())
    assert "16 x 16 px" in caught.value.block.why and "8 x 8 px" in caught.value.block.why


def test_a_class_without_chips_is_told_of(
    config: ChipClassificationConfig, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    classes = ClassConfig(names=[*NAMES, "water"])
    run_train(replace(config, classes=classes, train=replace(TRAIN, class_weights="balanced")), storage, Task())
    assert "'water'" in caplog.text


def test_what_was_chosen_and_why_is_in_the_log_and_in_the_metrics(
    config: ChipClassificationConfig, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    train = replace(TRAIN, class_weights="sqrt", max_chips_per_class=9, select_by="macro_f1")
    run_train(replace(config, train=train), storage, Task())
    metrics = json.loads(storage.read_text("train/metrics.json"))
    history = [json.loads(line) for line in storage.read_text("train/history.jsonl").splitlines()]
    counts = metrics["class_counts"]
    assert list(counts) == list(NAMES) and sum(counts.values()) == 32
    assert metrics["epoch_counts"] == {name: min(count, 9) for name, count in counts.items()}
    assert set(metrics["class_weights"]) == set(NAMES)
    assert (metrics["sampler"], metrics["chosen_by"]) == ("shuffle", "validation_macro_f1")
    assert metrics["best_score"] == max(entry["validation_macro_f1"] for entry in history)
    told = capsys.readouterr().out
    assert f"dark {counts['dark']} (an epoch shows {min(counts['dark'], 9)}), weight" in told
    assert f"epoch {metrics['best_epoch']} of 3 is the result: its validation_macro_f1 is the best" in told
    epochs = [line for line in told.splitlines() if line.startswith("epoch ") and "train_loss" in line]
    assert [line.split()[1] for line in epochs] == ["1/3", "2/3", "3/3"]
    assert ["(best so far)" in line for line in epochs] == [entry["is_best"] for entry in history]


def test_weights_that_adapt_are_those_at_the_end_in_the_metrics(
    config: ChipClassificationConfig, storage: Storage
) -> None:
    run_train(replace(config, train=replace(TRAIN, class_weights="adaptive")), storage, Task())
    metrics = json.loads(storage.read_text("train/metrics.json"))
    history = [json.loads(line) for line in storage.read_text("train/history.jsonl").splitlines()]
    counts = np.array(list(metrics["class_counts"].values()))
    expected = adapted_weights(counts, [entry["train_predicted"] for entry in history])
    assert list(metrics["class_weights"].values()) == pytest.approx(expected)


def test_train_reads_no_more_of_the_config_than_it_declares(config: ChipClassificationConfig, storage: Storage) -> None:
    from rv_core.pipeline.guard import guarded
    from rv_pipeline_chip_classification.pipeline import ChipClassificationPipeline

    view: Any = guarded(config, ChipClassificationPipeline.commands()["train"])
    run_train(view, storage, Task())
    assert storage.exists(OUTPUTS[0])


def test_a_training_that_diverges_in_its_last_step_fails(config: ChipClassificationConfig, storage: Storage) -> None:
    wild = replace(config, train=replace(TRAIN, learning_rate=1e30, num_epochs=1, batch_size=10_000))
    with pytest.raises(TaskError, match="the training diverged"):
        run_train(wild, storage, Task())
    assert not storage.exists(OUTPUTS[0])


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain.update(channels=5),
        lambda plain: plain.pop("channels"),
        lambda plain: plain.update(mean=[1.0]),
        lambda plain: plain.update(count="x"),
        lambda plain: plain.update(min=None),
    ],
    ids=["channels", "no channels", "mean", "count", "min"],
)
def test_damaged_statistics_are_an_error_that_names_the_file(
    config: ChipClassificationConfig, storage: Storage, damage: Callable[[dict[str, Any]], Any]
) -> None:
    name = f"analyze/{config.dataset.train_scenes[0].id}.json"
    plain = json.loads(storage.read_text(name))
    damage(plain)
    storage.write_text(name, json.dumps(plain))
    with pytest.raises(DataError, match="statistics are damaged") as caught:
        run_train(config, storage, Task())
    assert name in str(caught.value) and "analyze" in caught.value.block.fix


def test_a_chip_of_a_class_that_is_not_there_is_an_error(config: ChipClassificationConfig, storage: Storage) -> None:
    name = f"chip/{config.dataset.train_scenes[0].id}.jsonl"
    storage.write_text(name, storage.read_text(name).replace('"class_id": 2', '"class_id": 9'))
    with pytest.raises(DataError, match="a chip has the class id 9, and there are 3 classes"):
        run_train(config, storage, Task())


def test_ranges_of_the_config_take_the_place_of_statistics(config: ChipClassificationConfig, storage: Storage) -> None:
    for scene in config.dataset.train_scenes:
        storage.delete(f"analyze/{scene.id}.json")
    contract = open_training_data(replace(config, scale_to=[[0, 2000], [500, 1500]]), storage).contract
    assert (contract.normalization.kind, contract.normalization.offset) == ("range", (0.0, 500.0))
    assert contract.normalization.scale == (1 / 2000, 1 / 1000)
    assert ModelContract.from_text(json.dumps(contract.to_json()), where="x") == contract
    one = open_training_data(replace(config, scale_to=[[0, 2000]]), storage).contract
    assert one.normalization.scale == (1 / 2000, 1 / 2000)
    with pytest.raises(DataError, match="3 ranges for 2 channels"):
        open_training_data(replace(config, scale_to=[[0, 1]] * 3), storage)


def test_applied_scales_are_part_of_the_contract(config: ChipClassificationConfig, storage: Storage) -> None:
    for scene in config.dataset.train_scenes:
        with rasterio.open(scene.raster.uris[0], "r+") as file:
            file.scales, file.offsets = (0.0001, 0.0001), (-0.1, -0.1)
        scene.raster.apply_scale = True
        analyze_scene(scene, config.analyze, storage)
        chip_scene(scene, "train", config.classes, config.chip, config.seed, storage)
    alone = replace(config, dataset=replace(config.dataset, validation_scenes=[]))
    contract = open_training_data(alone, storage).contract
    assert (contract.dtype, contract.apply_scale, contract.scales) == ("float32", True, ((1.0, 0.0),) * 2)
    assert abs(contract.normalization.offset[1]) < 0.1, "the mean: 1000 to 1300 before"
    assert contract.to_json()["format"] == 2, "an earlier version would not scale"
    assert ModelContract.from_text(json.dumps(contract.to_json()), where="x") == contract
