"""Checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.training.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    delete_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

STATE = Checkpoint(
    "key-1",
    {"epoch": 3, "history": [{"loss": 0.1 + 0.2}]},
    {"model.w": torch.rand(3, 2), "step": torch.tensor(7.0), "rng": torch.arange(5, dtype=torch.uint8)},
)


def test_a_checkpoint_comes_back_exactly(storage: Storage) -> None:
    write_checkpoint(storage, STATE)
    answer = read_checkpoint(storage, "key-1")
    assert answer.checkpoint is not None and answer.refused_because == ""
    assert answer.checkpoint.values == STATE.values
    assert set(answer.checkpoint.tensors) == set(STATE.tensors)
    assert all(torch.equal(tensor, STATE.tensors[name]) for name, tensor in answer.checkpoint.tensors.items())


def test_a_checkpoint_is_no_output_of_the_task(tmp_path: Path) -> None:
    written: list[str] = []
    storage = Storage(str(tmp_path), on_output=written.append, on_written=lambda name, _: written.append(name))
    write_checkpoint(storage, STATE)
    assert written == [] and storage.exists(CHECKPOINT)


def test_no_checkpoint_is_nothing_to_tell(storage: Storage) -> None:
    answer = read_checkpoint(storage, "key-1")
    assert answer.checkpoint is None and answer.refused_because == ""


def test_one_of_another_key_is_refused(storage: Storage) -> None:
    write_checkpoint(storage, STATE)
    assert "another config" in read_checkpoint(storage, "key-2").refused_because


@pytest.mark.parametrize("cut", [0, 5, 200, -1])
def test_one_that_is_cut_short_is_refused(storage: Storage, cut: int) -> None:
    write_checkpoint(storage, STATE)
    path = Path(storage.uri(CHECKPOINT))
    path.write_bytes(path.read_bytes()[:cut])
    answer = read_checkpoint(storage, "key-1")
    assert answer.checkpoint is None and "damaged" in answer.refused_because


@pytest.mark.parametrize("metadata", [None, {"rv": "{"}, {"rv": '{"format": 99}'}, {"rv": "[]"}, {"rv": "[" * 100_000}])
def test_a_file_of_something_else_is_refused(storage: Storage, metadata: dict[str, str] | None) -> None:
    import safetensors.torch

    storage.write_bytes(CHECKPOINT, safetensors.torch.save({"a": torch.zeros(1)}, metadata=metadata))
    assert "damaged" in read_checkpoint(storage, "key-1").refused_because


def test_one_that_is_no_longer_needed_is_removed(storage: Storage) -> None:
    write_checkpoint(storage, STATE)
    delete_checkpoint(storage)
    assert not storage.exists(CHECKPOINT)
    delete_checkpoint(storage)


def test_tensors_that_are_not_contiguous_are_written_as_what_they_hold(storage: Storage) -> None:
    weight = torch.rand(4, 3, 5, 5).to(memory_format=torch.channels_last)
    write_checkpoint(storage, Checkpoint("k", {}, {"w": weight}))
    answer = read_checkpoint(storage, "k")
    assert answer.checkpoint is not None and torch.equal(answer.checkpoint.tensors["w"], weight)
