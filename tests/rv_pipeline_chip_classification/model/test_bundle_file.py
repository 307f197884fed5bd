"""Model bundles: the same bytes for the same model, everything checked, nothing run."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rv_core.errors import DataError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.commands.bundle import installed_versions, run_bundle
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    DatasetConfig,
    PredictConfig,
)
from rv_pipeline_chip_classification.model.bundle_file import Bundle, open_bundle, refuse_pickle, write_bundle
from rv_pipeline_chip_classification.model.trained import load_model

SAMPLES = Path(__file__).parent / "samples"
#: Of the config; the trained model has others.
COLORS = ("#000000", "#111111", "#222222")


def config_of(storage: Storage, **predict: Any) -> ChipClassificationConfig:
    return ChipClassificationConfig(
        root_uri=storage.root_uri,
        classes=ClassConfig(names=["forest", "shrub", "rock"], colors=list(COLORS)),
        dataset=DatasetConfig(train_scenes=[]),
        predict=PredictConfig(**predict),
    )


@pytest.fixture
def bundle_path(storage: Storage, write_trained: Any) -> Path:
    write_trained(storage)
    run_bundle(config_of(storage), storage)
    return storage.input_file("bundle/model-bundle.zip")


@pytest.fixture
def changed(bundle_path: Path, tmp_path: Path) -> Callable[..., Path]:
    """`changed({"x.txt": b"…"})`: the bundle with members added, replaced, or with None left out."""

    def change(changes: dict[str, bytes | None], *, compression: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / "changed.zip"
        with zipfile.ZipFile(bundle_path) as archive:
            members: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in {**members, **changes}.items():
                if data is not None:
                    archive.writestr(name, data)
        return path

    return change


def description(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        found: dict[str, Any] = json.loads(archive.read("bundle.json"))
    return found


def loaded_scores(bundle: Bundle) -> np.ndarray:
    with bundle.weights_file() as weights:
        model = load_model(bundle.contract, weights)
    chips = torch.linspace(0, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
    with torch.inference_mode():
        return np.asarray(model(chips).softmax(1))


def test_a_bundle_holds_the_model_its_contract_and_its_metrics(bundle_path: Path, make_contract: Any) -> None:
    bundle = open_bundle(bundle_path)
    assert bundle.contract == make_contract(class_colors=COLORS)
    assert bundle.metrics == {"train": {"accuracy": 0.5}, "validation": None}
    assert bundle.stride_px is None
    assert set(bundle.versions) >= {"rv-core", "rv-pipeline-chip-classification", "torch"}
    assert loaded_scores(bundle).shape == (1, 3)
    with zipfile.ZipFile(bundle_path) as archive:
        assert archive.namelist() == ["bundle.json", "model.safetensors", "metrics.json"]


def test_its_members_are_read_checked(bundle_path: Path, storage: Storage) -> None:
    bundle = open_bundle(bundle_path)
    assert bundle.read("model.safetensors") == storage.read_bytes("train/model.safetensors")
    assert json.loads(bundle.read("metrics.json")) == bundle.metrics


def test_the_same_model_gives_the_same_bytes(storage: Storage, bundle_path: Path) -> None:
    first = bundle_path.read_bytes()
    run_bundle(config_of(storage), storage)
    assert bundle_path.read_bytes() == first


def test_the_stride_travels_with_the_model(storage: Storage, write_trained: Any) -> None:
    write_trained(storage)
    run_bundle(config_of(storage, stride_px=8), storage)
    assert open_bundle(storage.input_file("bundle/model-bundle.zip")).stride_px == 8


def test_damaged_metrics_are_an_error_of_the_command(storage: Storage, write_trained: Any) -> None:
    write_trained(storage)
    storage.write_text("train/metrics.json", "{")
    with pytest.raises(DataError, match="metrics of the model are damaged"):
        run_bundle(config_of(storage), storage)
    assert not storage.exists("bundle/model-bundle.zip")


def test_a_bundle_that_was_packed_again_is_still_one(changed: Any, bundle_path: Path) -> None:
    again = open_bundle(changed({}, compression=zipfile.ZIP_DEFLATED))
    assert (loaded_scores(again) == loaded_scores(open_bundle(bundle_path))).all()


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        bundle = open_bundle(path, shown="given.zip")
        with bundle.weights_file():
            pass
    assert "given.zip" in str(caught.value)
    return str(caught.value)


class _Attack:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was opened",))


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(_Attack()))
    assert "it is a pickle, and rv never opens pickles" in refusal(path)
    assert "model-bundle.zip" in refusal(path)


def test_a_checkpoint_of_torch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    torch.save({"weight": torch.zeros(2)}, path)
    assert "data.pkl" in refusal(path)
    with pytest.raises(DataError, match="may run code") as caught:
        refuse_pickle(path, shown="weights.pth")
    assert "weights_only=True" in str(caught.value)


@pytest.mark.parametrize("name", ["model.pth", "extra/model.PKL", "weights.ckpt"])
def test_a_bundle_with_a_pickle_in_it_is_refused(changed: Any, name: str) -> None:
    assert f"it holds '{name}'" in refusal(changed({name: b"x"}))


def test_members_that_do_not_belong_in_it_are_refused(changed: Any) -> None:
    assert "it holds 'hooks.py'" in refusal(changed({"hooks.py": b"import os"}))


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a\\b"])
def test_names_that_leave_the_folder_are_refused(changed: Any, name: str) -> None:
    assert "this zip is refused; nothing of it was opened" in refusal(changed({name: b"x"}))


@pytest.mark.parametrize("name", ["bundle.json", "model.safetensors", "metrics.json"])
def test_a_missing_member_is_named(changed: Any, name: str) -> None:
    assert f"{name} is not in it" in refusal(changed({name: None}))


def test_weights_with_another_checksum_are_refused(changed: Any) -> None:
    assert "model.safetensors has the checksum" in refusal(changed({"model.safetensors": b"other weights"}))


def test_metrics_with_another_checksum_are_refused(changed: Any) -> None:
    assert "metrics.json has the checksum" in refusal(changed({"metrics.json": b'{"train": 1}'}))


def test_a_newer_format_names_what_to_upgrade(changed: Any, bundle_path: Path) -> None:
    plain = {**description(bundle_path), "format": 99, "versions": {"rv-pipeline-chip-classification": "7.1"}}
    message = refusal(changed({"bundle.json": json.dumps(plain).encode()}))
    assert "format 99" in message
    assert "upgrade rv-pipeline-chip-classification (it was written by 7.1)" in message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{", "is no JSON"),
        (b"[]", "does not describe"),
        (b'{"kind": "something else", "format": 1}', "does not describe"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_description_that_is_none_is_refused(changed: Any, data: bytes, expected: str) -> None:
    assert expected in refusal(changed({"bundle.json": data}))


@pytest.mark.parametrize("missing", ["members", "versions", "stride_px", "contract"])
def test_a_description_that_lacks_something_is_refused(changed: Any, bundle_path: Path, missing: str) -> None:
    plain = description(bundle_path)
    del plain[missing]
    assert missing in refusal(changed({"bundle.json": json.dumps(plain).encode()}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stride_px": 0}, "stride_px is 0 and must be a whole number from 1 to 8192"),
        ({"stride_px": -1}, "stride_px is -1"),
        ({"stride_px": "32"}, "stride_px is '32'"),
        ({"stride_px": float("inf")}, "stride_px is inf"),
        ({"stride_px": [1]}, "stride_px is list"),
        ({"versions": []}, "versions is list"),
        ({"versions": {"torch": 2}}, "versions.torch is 2"),
        ({"members": []}, "members is list"),
        ({"members": {"model.safetensors": 5}}, "model.safetensors is 5"),
        ({"contract": [["a", 1]]}, "contract is list"),
        ({"format": True}, "does not describe"),
        ({"format": -1}, "does not describe"),
    ],
)
def test_every_field_of_a_description_has_its_type_and_bounds(
    changed: Any, bundle_path: Path, change: dict[str, Any], words: str
) -> None:
    plain = {**description(bundle_path), **change}
    assert words in refusal(changed({"bundle.json": json.dumps(plain).encode()}))


def test_metrics_that_are_no_object_are_refused(changed: Any, bundle_path: Path) -> None:
    plain = description(bundle_path)
    plain["members"]["metrics.json"]["sha256"] = hashlib.sha256(b"null").hexdigest()
    data = json.dumps(plain).encode()
    assert "metrics.json is no object" in refusal(changed({"bundle.json": data, "metrics.json": b"null"}))


def test_a_contract_that_is_none_is_refused(changed: Any, bundle_path: Path) -> None:
    plain = {**description(bundle_path), "contract": {"backbone": "small_cnn"}}
    assert "bundle.json" in refusal(changed({"bundle.json": json.dumps(plain).encode()}))


def test_a_bundle_that_is_cut_short_is_refused(bundle_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.zip"
    path.write_bytes(bundle_path.read_bytes()[:-1000])
    assert "it is no zip" in refusal(path)


def test_a_flipped_bit_is_noticed(bundle_path: Path, tmp_path: Path) -> None:
    data = bytearray(bundle_path.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.zip"
    path.write_bytes(data)
    assert "model.safetensors: Bad CRC-32" in refusal(path)


def test_a_huge_description_is_not_read(changed: Any) -> None:
    assert "larger than" in refusal(changed({"bundle.json": b" " * (17 * 1024**2)}))


def test_a_text_file_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    assert "it is no zip" in refusal(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert "cannot be opened" in refusal(tmp_path / "nothing.zip")


def test_what_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rv_pipeline_chip_classification.commands.bundle._DISTRIBUTIONS", ("torch", "no-such-thing"))
    assert list(installed_versions()) == ["torch"]


def test_writing_needs_no_validation_metrics(tmp_path: Path, storage: Storage, write_trained: Any) -> None:
    contract = write_trained(storage)
    path = tmp_path / "bundle.zip"
    weights = storage.input_file("train/model.safetensors")
    write_bundle(path, contract, weights, {"train": None, "validation": None}, stride_px=None, versions={})
    assert open_bundle(path).metrics["validation"] is None


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("bundle-*.zip")), ids=lambda path: path.stem)
def test_bundles_of_every_release_can_still_be_used(path: Path) -> None:
    """Each sample was written by the release in its name; `expected` are the scores that it gave then."""
    bundle = open_bundle(path)
    expected = json.loads(path.with_suffix(".json").read_text())
    assert list(bundle.contract.channels) == expected["channels"]
    assert np.allclose(loaded_scores(bundle), expected["scores"], atol=1e-4)


def test_there_is_a_sample_of_this_format() -> None:
    assert (SAMPLES / "bundle-0.1.zip").exists()
