"""What folding batch norms and channels last in memory save of a forward pass on a CPU, beside the model as it is built.

The reference is the eager forward pass of the model by hand: as it is built, chips (N, C, H, W) contiguous. The limit is
1 / 1.15 of its CPU seconds. A second figure has the reference channels last too, which shows the folding alone. Others, for
information: what channels last alone saves, and what bfloat16 takes beside float32, which depends on the CPU.
"""

from __future__ import annotations

import sys
import time

import torch
from measurement import Report, interleaved, main

from rv_pipeline_chip_classification.model.backbones import build_model
from rv_pipeline_chip_classification.model.device import autocast, has_bfloat16
from rv_pipeline_chip_classification.prediction.fusion import fused

NUM_CHIPS, CELL_PX, NUM_CHANNELS, NUM_CLASSES = 256, 64, 4, 6
GAIN = 1.15
NUM_CHIPS_BFLOAT16 = 64
INSTRUCTIONS = {True: "yes", False: "none", None: "not known"}


def seconds(model: torch.nn.Module, chips: torch.Tensor, dtype: torch.dtype = torch.float32) -> float:
    """CPU seconds of one forward pass on one thread."""
    before = time.process_time()
    with torch.inference_mode(), autocast(dtype, chips.device):
        model(chips)
    return time.process_time() - before


def largest_difference(one: torch.nn.Module, other: torch.nn.Module, chips: torch.Tensor) -> float:
    """Of the scores."""
    with torch.inference_mode():
        return float((torch.softmax(one(chips), 1) - torch.softmax(other(chips), 1)).abs().max())


def run(report: Report) -> None:
    """Measure both networks that are usual on a CPU."""
    torch.set_num_threads(1)
    for backbone, limit in (("resnet18", 1 / GAIN), ("small_cnn", 1 / GAIN)):
        torch.manual_seed(0)
        bare = build_model(backbone, NUM_CHANNELS, NUM_CLASSES).eval()
        last = build_model(backbone, NUM_CHANNELS, NUM_CLASSES).eval().to(memory_format=torch.channels_last)
        last.load_state_dict(bare.state_dict())
        ready = fused(last)
        chips = torch.randn(NUM_CHIPS, NUM_CHANNELS, CELL_PX, CELL_PX)
        chips_last = chips.contiguous(memory_format=torch.channels_last)
        report(f"forward, {backbone}, largest difference of scores", largest_difference(bare, ready, chips), 1e-5)
        for what, model, batch, most in (
            ("the model as it is built", bare, chips, limit),
            ("the model with channels last", last, chips_last, None),
        ):
            ratio = interleaved(
                lambda: seconds(ready, chips_last),  # noqa: B023 - called within the turn
                lambda model=model, batch=batch: seconds(model, batch),
                rounds=7,
            )
            note = f"{NUM_CHIPS} chips of {CELL_PX} px; {1 / ratio.median:.2f} times as fast"
            report(f"forward, {backbone}, folded, CPU seconds beside {what}", ratio, most, note=note)
        ratio = interleaved(
            lambda: seconds(last, chips_last),  # noqa: B023 - called within the turn
            lambda: seconds(bare, chips),  # noqa: B023
            rounds=7,
        )
        report(f"forward, {backbone}, channels last alone, CPU seconds", ratio, None)
        few = chips_last[:NUM_CHIPS_BFLOAT16]
        ratio = interleaved(
            lambda: seconds(ready, few, torch.bfloat16),  # noqa: B023
            lambda: seconds(ready, few),  # noqa: B023
            rounds=3,
        )
        note = f"{NUM_CHIPS_BFLOAT16} chips; instructions of this CPU: {INSTRUCTIONS[has_bfloat16(chips.device)]}"
        report(f"forward, {backbone}, bfloat16, CPU seconds beside float32", ratio, None, note=note)


if __name__ == "__main__":
    sys.exit(main(run))
