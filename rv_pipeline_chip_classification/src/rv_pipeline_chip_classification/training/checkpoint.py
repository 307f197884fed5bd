"""Checkpoints: one safetensors file with every tensor, and everything else as JSON in its header. No pickle.

A checkpoint belongs to one job key. One of another key, or one that cannot be read, is left alone and said so. It
carries a digest of all that it holds, for a bit that flips on a disk would go on as another model; those of version
0.1 have none and are taken as they are, if they can be the state of the training at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rv_core import Storage
from rv_core.errors import StorageError
from rv_core.files.by_uri import local_copy

CHECKPOINT = "train/checkpoint.safetensors"
_FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training.

    Args:
        key: of the job that it belongs to.
        values: plain JSON values; floats come back exactly.
        tensors: by name, on the CPU.
    """

    key: str
    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class CheckpointAnswer:
    """What was found: a checkpoint, or why there is none to go on from ("" if there is none at all)."""

    checkpoint: Checkpoint | None
    refused_because: str = ""


def write_checkpoint(storage: Storage, checkpoint: Checkpoint) -> None:
    """Put a checkpoint in place, whole or not at all. It is state, not an output: no manifest names it.

    Raises:
        StorageError: if it cannot be written; the one before is still there.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    digest = _digest_of(checkpoint.key, checkpoint.values, tensors)
    header = {"format": _FORMAT, "key": checkpoint.key, "values": checkpoint.values, "sha256": digest}
    with _unrecorded(storage).output_file(CHECKPOINT) as path:
        # save_file would make a file of its own that only its owner may read.
        path.write_bytes(safetensors.torch.save(tensors, metadata={"rv": json.dumps(header, allow_nan=False)}))


def read_checkpoint(storage: Storage, key: str) -> CheckpointAnswer:
    """The checkpoint of a job, if there is one and it is whole.

    Raises:
        StorageError: if the store cannot be asked.
    """
    if not storage.exists(CHECKPOINT):
        return CheckpointAnswer(None)
    path = local_copy(storage.uri(CHECKPOINT))
    try:
        checkpoint = _read(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as err:
        return CheckpointAnswer(None, f"it is damaged ({type(err).__name__}: {str(err)[:200]})")
    if checkpoint.key != key:
        return CheckpointAnswer(None, "it belongs to another config or other inputs")
    return CheckpointAnswer(checkpoint)


def delete_checkpoint(storage: Storage) -> None:
    """Remove the checkpoint of a training that is done; failing to is no failure of the training."""
    try:
        _unrecorded(storage).delete(CHECKPOINT)
    except StorageError as err:
        print(f"the checkpoint could not be removed: {err}")


def _read(path: Path) -> Checkpoint:
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})["rv"])
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']!r}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
    checkpoint = Checkpoint(str(header["key"]), dict(header["values"]), tensors)
    digest = _digest_of(checkpoint.key, checkpoint.values, tensors)
    if header.get("sha256", digest) != digest:
        raise ValueError("its content is not what its digest says")
    return checkpoint


def _digest_of(key: str, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Of everything that training goes on from, in hexadecimal; tensors are contiguous and on the CPU."""
    digest = hashlib.sha256(json.dumps([key, values], sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _unrecorded(storage: Storage) -> Storage:
    return Storage(storage.root_uri, attempt_tag=storage.attempt_tag)
