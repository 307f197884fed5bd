"""The part of the configuration that says what is done: one class per step, and the model's.

Sizes and offsets are whole pixels of the scene's own grid (after `bbox` they still count from the file's first pixel).
Windows are half-open boxes `[row_off, col_off, height, width]`. Class ids are positions in `ClassConfig.names`, from 0.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

from rv_core import AsBefore, Config, Range, Uri
from rv_core.errors import Finding
from rv_core.files import uris
from rv_pipeline_chip_classification import config_checks as checks
from rv_pipeline_chip_classification.config_parts import (
    DEFAULT_MAX_WINDOWS,
    Augment,
    ContextPx,
    Fraction,
    MaxWindows,
    NotNegative,
    Overlap,
    Positive,
    Precision,
    PredictPrecision,
    SidePx,
    Smooth,
    Subset,
    Vector,
    check_smooth,
)

_AboveZero = Annotated[float, Range(min_exclusive=0)]


@dataclass(kw_only=True)
class AnalyzeConfig(Config):
    """How the statistics of the training scenes are taken.

    Args:
        sample_fraction: share of the strips of blocks that is read, evenly spread over each scene; 1 reads all.
    """

    sample_fraction: Annotated[float, Range(min_exclusive=0, max=1)] = 1.0


@dataclass(kw_only=True)
class ChipConfig(Config):
    """Which windows of a scene become chips.

    Args:
        chip_size_px: side of a window that is labelled, in pixels.
        context_px: pixels that the model sees on every side of a window and of a predicted cell besides: its images are
            `chip_size_px + 2 * context_px` wide. They change neither labels nor what is selected, evaluated and
            written; what of them lies outside of the extent is masked.
        stride_px: step between sliding windows; None is the chip size.
        sampling: `sliding` covers the extent row by row, the last window of a row or column padded (and masked) where
            it overflows the bottom or right edge; `random` draws windows inside the extent, seeded per scene; `cells`
            lays one on the middle of each labelled cell, and with `infer_cells=False` that is each feature.
        windows_per_scene: how many windows `random` draws.
        min_valid_fraction: least share of valid pixels of a window (padding is not valid); with none it is left out.
        within_aoi: a window must lie inside the union of the AOI polygons; False: it must touch it.
        keep: subset -> class name -> share of the windows of that class that become chips, from 0 to 1, chosen by a hash
            of each; what is not named is kept whole, and evaluation is of all cells.
        max_windows_per_item: a scene of more `sliding` windows, before AOI and labels, is chipped in parts of about so
            many, by bands of its rows, which are items like scenes. The chips are the same.
    """

    chip_size_px: SidePx = 64
    context_px: ContextPx = 0
    stride_px: SidePx | None = None
    sampling: Literal["sliding", "random", "cells"] = "sliding"
    windows_per_scene: Positive | None = None
    min_valid_fraction: Fraction = 0.0
    within_aoi: bool = True
    keep: Annotated[dict[str, dict[str, Fraction]], AsBefore({})] = field(default_factory=dict)
    max_windows_per_item: MaxWindows = DEFAULT_MAX_WINDOWS

    def validate(self) -> Iterable[Finding]:
        yield from checks.check_chip(self.sampling, stride_px=self.stride_px, windows_per_scene=self.windows_per_scene)
        yield from checks.check_context(self.chip_size_px, self.context_px)


@dataclass(kw_only=True)
class ModelConfig(Config):
    """The network.

    Args:
        backbone: `small_cnn`, `resnet18`, `resnet34`, `resnet50`, `timm:<name>` (needs timm installed) or one of your own,
            `module:callable`: called with the numbers of channels and classes it gives a `torch.nn.Module` from chips
            (N, C, H, W) float32 to logits (N, classes).
        weights: name or URI of a card of pretrained weights to start from (`rv weights list`). Their bands are matched
            by name, and the file is fetched once and checked by its digest.
        init_weights: safetensors file to start from; names as in torchvision. The first convolution is adapted to the
            number of channels and a head of another size is left out; `rv check` opens it and says what does not fit.
        freeze_backbone_epochs: for so many epochs only the head learns.
    """

    backbone: str = "small_cnn"
    weights: Annotated[str | None, AsBefore(None)] = None
    init_weights: Uri | None = None
    freeze_backbone_epochs: NotNegative = 0

    def __post_init__(self) -> None:
        # As a Uri, of which a name of a card is none: a relative path starts from the folder where it is first read.
        if isinstance(self.weights, str) and not checks.is_card_name(self.weights):
            self.weights = uris.absolute(self.weights, os.getcwd())

    def validate(self) -> Iterable[Finding]:
        yield from checks.check_backbone(self.backbone)
        yield from checks.check_weights(self.weights, self.init_weights)


@dataclass(kw_only=True)
class TrainConfig(Config):
    """How the model learns.

    Args:
        num_epochs: passes over the training chips.
        batch_size: chips per step.
        learning_rate: peak learning rate.
        optimizer: `adamw` or `sgd` (momentum 0.9).
        schedule: `one_cycle` and `cosine` (with a warm-up) end near zero, `constant` stays; `multi_step` drops after
            each of the `milestones`, `plateau` when the metric of `select_by` (without validation chips the training
            loss) has got no better for `plateau_patience` epochs.
        milestones: epochs after which `multi_step` drops.
        plateau_patience: epochs that `plateau` waits.
        drop_factor: what each drop multiplies the learning rate by.
        weight_decay: decay of the weights per step, times the learning rate.
        clip_grad_norm: gradients whose norm, over all weights, is larger are scaled down to it; None never.
        label_smoothing: share of the truth that is spread over all classes in the loss.
        focal_gamma: what is sure already counts less in the loss, by (1 - p)^gamma; 0 is plain cross entropy.
        class_weights: of the loss; `balanced` is inverse to the number of training chips that an epoch shows, `sqrt` to
            its square root; `adaptive` raises those of classes that are answered less often than they are there, epoch
            by epoch; or one number per class.
        max_weight_ratio: the largest weight to the smallest, unless they are given: a handful of chips would be all that
            counts.
        logit_adjustment: how far the network is freed of answering what is frequent, from 0 to 1: while it learns, so
            many times the logarithm of the share of each class is added to its logits.
        sampler: `shuffle` shows each chip once an epoch; `balanced` shows as many in all, of every class as many as of
            the others, but no chip more than ten times.
        max_chips_per_class: of a class with more training chips, each epoch draws so many anew; None shows all.
        augment: `flips`, `d4` (the eight symmetries of the square), `d4_color` (and brightness and contrast per
            channel) or `none`.
        augment_brightness: `d4_color` shifts values by up to this; the unit is that of normalised values.
        augment_contrast: `d4_color` multiplies them by 1 ± this.
        augment_noise: standard deviation of the noise that is added to every value.
        augment_zoom: chips are enlarged or shrunk around their centre by a factor of 1 ± this.
        select_by: what the epoch that is the result is best by, of the validation chips: `loss`, `accuracy` or
            `macro_f1`, of equal ones that with the lowest loss. Without validation chips it is the last one.
        calibrate: how scores are made to say how often they are right: `temperature` divides logits by the one that
            fits the validation chips, `none` leaves them, `auto` does so where it helps on held-out scenes of them (of
            one scene on held-out parts).
        precision: of the forward pass; `auto` is float32 on a CPU and bfloat16 or float16 on a GPU. `bfloat16` gains on a
            CPU only where it has instructions for it; `float16` is for GPUs alone.
        early_stopping_patience: stop after so many epochs without a better validation score; None never stops early.
        checkpoint_every_s: seconds between checkpoints; one is also written on TERM.
        num_workers: threads that prepare batches; 0 is one.
        num_threads: threads of the arithmetic, which decides the last bits of the result; None is the cores.
    """

    num_epochs: Positive = 20
    batch_size: Positive = 32
    learning_rate: Annotated[float, Range(min_exclusive=0)] = 1e-3
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["one_cycle", "cosine", "constant", "multi_step", "plateau"] = "one_cycle"
    milestones: Annotated[list[Positive], AsBefore([])] = field(default_factory=list)
    plateau_patience: Annotated[Positive, AsBefore(3)] = 3
    drop_factor: Annotated[float, Range(min_exclusive=0, max_exclusive=1), AsBefore(0.1)] = 0.1
    weight_decay: Annotated[float, Range(min=0)] = 1e-2
    clip_grad_norm: Annotated[_AboveZero | None, AsBefore(None)] = None
    label_smoothing: Annotated[float, Range(min=0, max_exclusive=1), AsBefore(0.1)] = 0.1
    focal_gamma: Annotated[float, Range(min=0), AsBefore(0.0)] = 0.0
    class_weights: Literal["none", "adaptive", "sqrt", "balanced"] | list[float] = "adaptive"
    max_weight_ratio: Annotated[float, Range(min=1), AsBefore(100.0)] = 100.0
    logit_adjustment: Annotated[Fraction, AsBefore(0.0)] = 0.0
    sampler: Annotated[Literal["shuffle", "balanced"], AsBefore("shuffle")] = "shuffle"
    max_chips_per_class: Annotated[Positive | None, AsBefore(None)] = None
    augment: Literal["none", "flips", "d4", "d4_color"] = "d4_color"
    augment_brightness: Annotated[float, Range(min=0), AsBefore(0.2)] = 0.2
    augment_contrast: Annotated[float, Range(min=0, max_exclusive=1), AsBefore(0.2)] = 0.2
    augment_noise: Annotated[float, Range(min=0), AsBefore(0.0)] = 0.0
    augment_zoom: Annotated[float, Range(min=0, max_exclusive=1), AsBefore(0.0)] = 0.0
    select_by: Annotated[Literal["loss", "accuracy", "macro_f1"], AsBefore("loss")] = "loss"
    calibrate: Annotated[Literal["auto", "temperature", "none"], AsBefore("auto")] = "auto"
    precision: Precision = "auto"
    early_stopping_patience: Positive | None = None
    checkpoint_every_s: Annotated[float, Range(min_exclusive=0)] = 300.0
    num_workers: NotNegative = 0
    num_threads: Positive | None = None

    def validate(self) -> Iterable[Finding]:
        return checks.check_milestones(self.schedule, self.milestones, self.num_epochs)


@dataclass(kw_only=True)
class PredictConfig(Config):
    """How scenes are classified: in windows as large as a cell.

    Args:
        stride_px: step between predicted cells; None is the cell size. With a smaller one cells overlap, for a denser
            map, and those that are labelled are evaluated; the cell size must be a multiple of it.
        batch_size: windows per forward pass.
        write_geotiff: write a GeoTIFF with one pixel per cell beside the GeoJSON.
        subsets: the scenes to predict.
        abstain_below: a cell whose best class has a lower probability gets no class; None always gives one. It is no data
            in the raster of classes, and `eval` counts it as not answered.
        scores: what is written of each class: `probabilities`, or `logits` over the temperature, of which they are the
            softmax.
        augment: `d4` scores each cell in the eight symmetries of the square and takes the mean, for eight times the
            arithmetic.
        overlap: cells that overlap (`stride_px` below the cell size) are each a cell of the map (`separate`), or their
            scores are averaged onto cells as wide as the step (`average`), which do not overlap. A labelled cell is
            evaluated by the mean of those in it.
        smooth: side of the neighbourhood, in cells of the map and odd, over which the scores of each cell are averaged;
            cells without scores do not count and get none. 1 leaves them.
        precision: of the forward pass, as of `train.precision`. Other than `float32`, scores change in the third digit.
        vector: the file of cells: `geojson` with nested scores; `geojsonseq`, `gpkg`, `fgb` or `parquet` with flat columns
            (the last three need the extra `vector`, and have the CRS of the image); or `none`. Without GeoJSON other
            commands read `<scene>.cells.npy`.
        on_drift: where the pixel values of a scene are not those of the training scenes: `warn` says so per channel,
            `refuse` fails the scene before anything is written, `ignore` does not look.
        max_windows_per_item: a scene of more cells is predicted in parts of about so many, which are items like scenes;
            `merge` then puts them together. The files are the same, byte for byte.
    """

    stride_px: SidePx | None = None
    batch_size: Positive = 256
    write_geotiff: bool = True
    subsets: list[Subset] = field(default_factory=lambda: ["validation", "test"])
    abstain_below: Annotated[Fraction | None, AsBefore(None)] = None
    scores: Annotated[Literal["probabilities", "logits"], AsBefore("probabilities")] = "probabilities"
    augment: Augment = "none"
    overlap: Overlap = "separate"
    smooth: Smooth = 1
    precision: PredictPrecision = "float32"
    vector: Vector = "geojson"
    on_drift: Annotated[Literal["warn", "refuse", "ignore"], AsBefore("warn")] = "warn"
    max_windows_per_item: MaxWindows = DEFAULT_MAX_WINDOWS

    def validate(self) -> Iterable[Finding]:
        yield from checks.check_subsets(self.subsets)
        yield from check_smooth(self.smooth)


@dataclass(kw_only=True)
class EvalConfig(Config):
    """What is evaluated.

    Args:
        subsets: the scenes to evaluate; they must be predicted. Scenes without labels are left out.
        vector: labelled cells, right and wrong, are written as GeoJSON, and with another format in that too (needs the extra
            `vector`), in the CRS of the image.
    """

    subsets: list[Subset] = field(default_factory=lambda: ["validation", "test"])
    vector: Annotated[Literal["geojson", "gpkg", "fgb", "parquet"], AsBefore("geojson")] = "geojson"

    def validate(self) -> Iterable[Finding]:
        return checks.check_subsets(self.subsets)
