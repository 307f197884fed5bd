"""The machine underneath torch: which device, how many threads, which precision, and what to do when memory ends."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rv_core.errors import TaskError
from rv_core.machine.cores import available_cores
from rv_pipeline_chip_classification.config_parts import Precision

_log = logging.getLogger(__name__)

T = TypeVar("T")


def best_device() -> torch.device:
    """A CUDA device if there is one (rv shows a task the GPU that it may use), else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def num_threads(configured: int | None, environ: Mapping[str, str] | None = None) -> int:
    """Threads of the arithmetic: as configured, else what the runner gave this task, else the cores."""
    given = os.environ if environ is None else environ
    for text in (given.get("RV_NUM_THREADS", ""), given.get("OMP_NUM_THREADS", "")):
        if configured is None and text.isdigit() and int(text):
            return int(text)
    return configured or available_cores()


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Arithmetic that gives the same bits every time on a CPU with this many threads; as nearly as can be on a GPU."""
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[1:]


def compute_dtype(precision: Precision, device: torch.device, *, where: str = "precision") -> torch.dtype:
    """The dtype of the forward pass: `auto` is float32 on a CPU, bfloat16 (where it is fast, else float16) on a GPU.

    Args:
        precision: what is asked for.
        device: where it runs.
        where: the field of the config, for messages.

    Raises:
        TaskError: if float16 is asked for on a CPU, where it is slow and underflows.
    """
    if precision == "float32" or (precision == "auto" and device.type == "cpu"):
        return torch.float32
    if precision == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if precision == "float16" and device.type == "cpu":
        raise TaskError(
            f"{where} is 'float16', and there is no GPU here",
            fix="set precision to 'auto', 'bfloat16' or 'float32', or run the task where there is a GPU",
        )
    if precision == "float16":
        return torch.float16
    if has_bfloat16(device) is False:
        _tell_emulated(where, "CPU" if device.type == "cpu" else "GPU")
    return torch.bfloat16


@cache
def _tell_emulated(where: str, kind: str) -> None:
    """Once per process: of many images each may come with a model of its own."""
    _log.warning(
        "%s is 'bfloat16', and this %s has no instructions for it: they are emulated, which takes several times as long "
        "as 'float32' or 'auto'",
        where,
        kind,
    )


def has_bfloat16(device: torch.device, capabilities: Mapping[str, object] | None = None) -> bool | None:
    """Whether a device calculates with bfloat16 itself; None where that cannot be told.

    Args:
        device: a CPU or a GPU.
        capabilities: of the CPU, as later versions of torch than 2.6 tell them; None asks torch.
    """
    if device.type != "cpu":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if capabilities is None:
        ask = getattr(torch.cpu, "get_capabilities", dict)
        capabilities = dict(ask())
    # amx_bf16 and avx512_bf16, arm_bf16 and the like; nothing is known of a CPU of which nothing is told
    return any(name.endswith("bf16") and bool(has) for name, has in capabilities.items()) if capabilities else None


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """The context of a forward pass in a dtype."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def to_device(chips: NDArray[np.float32], device: torch.device) -> Tensor:
    """A batch for the network, without a copy on a CPU.

    Args:
        chips: (B, H, W, C) float32, C-contiguous.
        device: where to.

    Returns:
        (B, C, H, W), channels last in memory.
    """
    tensor = torch.from_numpy(chips).permute(0, 3, 1, 2)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class MemoryLimit:
    """Remembers into how many parts a batch must be cut to fit the GPU, and finds out when it does not.

    Args:
        num_parts: what is known already.
        say: takes a sentence for the user.
    """

    def __init__(self, num_parts: int = 1, say: Callable[[str], object] | None = None) -> None:
        self.num_parts = num_parts
        self._say = say or _log.warning

    def fit(self, work: Callable[[int], T], batch_size: int, *, smallest_part: int = 1) -> T:
        """`work(num_parts)`, with twice as many parts each time that the GPU's memory is not enough.

        Args:
            work: cuts a batch into so many parts and works them off.
            batch_size: chips of the batch.
            smallest_part: chips that a part must have at least, if the batch has them.

        Raises:
            TaskError: if not even the smallest parts fit.
        """
        most = max(1, batch_size // smallest_part)
        while True:
            try:
                return work(min(self.num_parts, most))
            except torch.cuda.OutOfMemoryError as err:
                if self.num_parts >= most:
                    what = f"not even {-(-batch_size // most)} chips at once fit into the memory of the GPU"
                    fix = "use smaller chips, a smaller backbone or a larger GPU"
                    raise TaskError(what, why=str(err), fix=fix) from err
            self.num_parts *= 2
            size = -(-batch_size // min(self.num_parts, most))
            self._say(f"the GPU's memory is not enough for {batch_size} chips at once: going on with {size} at a time")
            # Outside of the except block nothing of the failed pass is referred to any more.
            torch.cuda.empty_cache()
