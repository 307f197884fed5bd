"""Threads, precision and what to do when the memory of a GPU ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rv_core.errors import TaskError
from rv_core.machine.cores import available_cores
from rv_pipeline_chip_classification.model import device
from rv_pipeline_chip_classification.model.device import (
    MemoryLimit,
    compute_dtype,
    has_bfloat16,
    num_threads,
    reproducible,
    to_device,
)

CPU = torch.device("cpu")


def test_threads_are_as_configured_else_as_given_else_the_cores() -> None:
    assert num_threads(3, {"OMP_NUM_THREADS": "2"}) == 3
    assert num_threads(None, {"RV_NUM_THREADS": "5", "OMP_NUM_THREADS": "2"}) == 5
    assert num_threads(None, {"OMP_NUM_THREADS": "2"}) == 2
    assert num_threads(None, {"OMP_NUM_THREADS": "many"}) == num_threads(None, {}) == available_cores()


def test_the_settings_of_torch_are_put_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), reproducible(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_precision_on_a_cpu_is_float32_unless_asked() -> None:
    assert compute_dtype("auto", CPU) == compute_dtype("float32", CPU) == torch.float32
    assert compute_dtype("bfloat16", CPU) == torch.bfloat16


def test_float16_on_a_cpu_is_refused_with_what_to_do() -> None:
    with pytest.raises(TaskError, match="no GPU") as caught:
        compute_dtype("float16", CPU)
    assert "auto" in caught.value.block.fix


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({}, None),
    ],
)
def test_a_cpu_has_bfloat16_where_it_has_instructions(capabilities: dict[str, object], expected: bool | None) -> None:
    assert has_bfloat16(CPU, capabilities) is expected


def test_bfloat16_that_is_emulated_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False}, raising=False)
    device._tell_emulated.cache_clear()
    for _ in range(3):
        compute_dtype("bfloat16", CPU, where="train.precision")
    (record,) = caplog.records
    assert "train.precision" in record.getMessage() and "'float32'" in record.getMessage()


def test_a_batch_is_channels_last_and_not_copied_on_a_cpu() -> None:
    chips = np.zeros((2, 5, 5, 3), np.float32)
    tensor = to_device(chips, CPU)
    assert tensor.shape == (2, 3, 5, 5) and tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor.data_ptr() == chips.ctypes.data


def _needs(max_chips: int, batch_size: int) -> tuple[list[int], object]:
    tried: list[int] = []

    def work(num_parts: int) -> int:
        tried.append(num_parts)
        if -(-batch_size // num_parts) > max_chips:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return num_parts

    return tried, work


def test_a_batch_is_halved_until_it_fits_and_this_is_said_and_remembered() -> None:
    said: list[str] = []
    limit = MemoryLimit(say=said.append)
    tried, work = _needs(10, 64)
    assert limit.fit(work, 64) == 8  # type: ignore[arg-type]
    assert tried == [1, 2, 4, 8] and limit.num_parts == 8
    assert "64 chips" in said[0] and "going on with 32" in said[0] and len(said) == 3
    tried.clear()
    limit.fit(work, 64)  # type: ignore[arg-type]
    assert tried == [8]


def test_parts_are_never_smaller_than_they_may_be() -> None:
    tried, work = _needs(2, 7)
    with pytest.raises(TaskError, match="not even 3 chips"):
        MemoryLimit(say=lambda _: None).fit(work, 7, smallest_part=2)  # type: ignore[arg-type]
    assert tried == [1, 2, 3]


def test_a_single_chip_that_does_not_fit_is_an_error() -> None:
    _, work = _needs(0, 2)
    with pytest.raises(TaskError, match="not even 1 chips"):
        MemoryLimit(say=lambda _: None).fit(work, 2)  # type: ignore[arg-type]


def test_parts_are_never_more_than_chips() -> None:
    tried, work = _needs(10, 3)
    MemoryLimit(8).fit(work, 3)  # type: ignore[arg-type]
    assert tried == [3]
