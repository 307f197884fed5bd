"""The configuration of the pipeline that applies a bundle to images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from rv_core import AsBefore, Config, PipelineConfig, Uri
from rv_core.errors import Finding
from rv_pipeline_chip_classification.applying.image_list import name_problems, output_clashes
from rv_pipeline_chip_classification.config_parts import (
    DEFAULT_MAX_WINDOWS,
    Augment,
    Fraction,
    MaxWindows,
    NotNegative,
    Overlap,
    Positive,
    PredictPrecision,
    SidePx,
    Smooth,
    Vector,
    check_smooth,
)

#: Where predictions lie under the root, as those of a training do (`prediction.cell_scores`, which imports numpy).
FOLDER = "predict"


@dataclass(kw_only=True)
class ImageConfig(Config):
    """An image to map.

    Args:
        id: what its outputs are called, `predict/<id>.geojson` and so on.
        uri: what GDAL reads, with its side files.
    """

    id: str
    uri: Uri


@dataclass(kw_only=True)
class ApplyConfig(PipelineConfig):
    """A model bundle applied to any number of images: what `rv predict` does, in tasks that are split, resumed and watched.

    Args:
        bundle: the model-bundle.zip. Its content enters the keys: another bundle maps all images again.
        images: the images.
        channel_order: 0-based channels of the images in the model's order; None matches them by the names of the bands,
            else takes them as in training.
        nodata: the pixel value that means "no data": `training` as in training, `none` what each file declares.
        stride_px: step between cells; None is that of the bundle.
        batch_size: windows per forward pass at most.
        write_geotiff: write GeoTIFFs with one pixel per cell beside the GeoJSON.
        on_drift: where the values of an image are not those of the training images: `warn` says so per channel, `refuse`
            fails it before anything is written, `ignore` does not look.
        abstain_below: a cell whose best class has a lower probability gets no class; None always gives one.
        scores: what is written of each class: `probabilities`, or `logits` over the temperature.
        augment: `d4` scores each cell in the eight symmetries of the square and takes the mean.
        overlap: cells that overlap are each a cell of the map (`separate`), or averaged onto cells as wide as the step.
        smooth: side of the neighbourhood, in cells and odd, over which the scores of each cell are averaged.
        precision: of the forward pass; `auto` is float32 on a CPU and bfloat16 or float16 on a GPU.
        vector: the file of cells: `geojson` with nested scores; `geojsonseq`, `gpkg`, `fgb` or `parquet` with flat columns
            (the last three need the extra `vector`, and have the CRS of the image); or `none`.
        update_stats: normalise each image by the statistics of its own pixels.
        backbone: `module:callable` of the network of your own that the bundle may call; None for none: no code but that
            of rv runs.
        max_windows_per_item: an image of more cells is mapped in parts of about so many, which are items like images;
            `merge` then puts them together. The files are the same, byte for byte.
    """

    pipeline: ClassVar[str] = "rv_pipeline_chip_classification.apply:ApplyPipeline"

    bundle: Uri
    images: list[ImageConfig]
    channel_order: list[NotNegative] | None = None
    nodata: float | Literal["training", "none"] = "training"
    stride_px: SidePx | None = None
    batch_size: Positive = 256
    write_geotiff: bool = True
    on_drift: Literal["warn", "refuse", "ignore"] = "warn"
    abstain_below: Annotated[Fraction | None, AsBefore(None)] = None
    scores: Annotated[Literal["probabilities", "logits"], AsBefore("probabilities")] = "probabilities"
    augment: Augment = "none"
    overlap: Overlap = "separate"
    smooth: Smooth = 1
    precision: PredictPrecision = "float32"
    vector: Vector = "geojson"
    update_stats: bool = False
    backbone: str | None = None
    max_windows_per_item: MaxWindows = DEFAULT_MAX_WINDOWS

    def validate(self) -> Iterable[Finding]:
        if not self.images:
            yield Finding("images", "no image is given", "name at least one")
        for index, image in enumerate(self.images):
            if problem := name_problems(image.id):
                yield Finding(f"images[{index}].id", problem, "give it a name to call its outputs by")
        output = f"{self.root_uri}/{FOLDER}"
        for index, what in output_clashes([(image.uri, image.id) for image in self.images], output):
            yield Finding(f"images[{index}].id", what, "give it another id")
        yield from check_smooth(self.smooth)
        if self.channel_order is not None and not self.channel_order:
            yield Finding("channel_order", "no channel is given", "leave it out, or write for instance [2, 1, 0]")
        if self.update_stats and self.on_drift == "refuse":
            what = 'contradicts on_drift="refuse": own statistics are for images whose values differ'
            yield Finding("update_stats", what, "leave one of them out")
