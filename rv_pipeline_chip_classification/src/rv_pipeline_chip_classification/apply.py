"""A model bundle applied to any number of images, on any runner: `rv run RUNNER rv_pipeline_chip_classification.apply`.

    rv run local rv_pipeline_chip_classification.apply -a bundle model-bundle.zip -a images '*.tif' -a root_uri out --splits 8

`-a images` takes a pattern, `@FILE` with an image per line, a table (`.csv`) with a column `image` and, where outputs are
to be called otherwise than the images, `scene_id`; or several of these, separated by commas. The other arguments are the
fields of `ApplyConfig`. For each image there are the files of `rv predict`, byte for byte, under `predict/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from rv_core import Finding, Items, Pipeline, command
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_list import find_images
from rv_pipeline_chip_classification.applying.image_parts import ImageItem, images_to_merge, items_to_map
from rv_pipeline_chip_classification.config_checks import own_backbone
from rv_pipeline_chip_classification.config_parts import DEFAULT_MAX_WINDOWS
from rv_pipeline_chip_classification.model.openmp import wait_passively
from rv_pipeline_chip_classification.parts.scene_parts import of_whole
from rv_pipeline_chip_classification.raster_files.rasterio_import import import_rasterio

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.raster_inputs import RasterInputs

_READS = (
    "bundle",
    "channel_order",
    "nodata",
    "stride_px",
    "batch_size",
    "write_geotiff",
    "on_drift",
    "abstain_below",
    "scores",
    "augment",
    "overlap",
    "smooth",
    "precision",
    "vector",
    "update_stats",
    "backbone",
    "max_windows_per_item",
)

__all__ = ["ApplyConfig", "ApplyPipeline", "ImageConfig", "get_config"]


def get_config(
    root_uri: str,
    bundle: str,
    images: list[str],
    name: str = "",
    channel_order: list[int] | None = None,
    nodata: float | Literal["training", "none"] = "training",
    stride_px: int | None = None,
    batch_size: int = 256,
    write_geotiff: bool = True,
    on_drift: Literal["warn", "refuse", "ignore"] = "warn",
    abstain_below: float | None = None,
    scores: Literal["probabilities", "logits"] = "probabilities",
    augment: Literal["none", "d4"] = "none",
    overlap: Literal["separate", "average"] = "separate",
    smooth: int = 1,
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32",
    vector: Literal["none", "geojson", "geojsonseq", "gpkg", "fgb", "parquet"] = "geojson",
    update_stats: bool = False,
    backbone: str | None = None,
    max_windows_per_item: int = DEFAULT_MAX_WINDOWS,
) -> ApplyConfig:
    """The config of a bundle applied to images.

    Args:
        root_uri: where everything is written.
        bundle: path or URI of a model-bundle.zip.
        images: patterns, `@FILE`, tables, paths and URIs.
        name: of the pipeline.
        channel_order: this and what follows: fields of `ApplyConfig`.
        nodata: likewise.
        stride_px: likewise.
        batch_size: likewise.
        write_geotiff: likewise.
        on_drift: likewise.
        abstain_below: likewise.
        scores: likewise.
        augment: likewise.
        overlap: likewise.
        smooth: likewise.
        precision: likewise.
        vector: likewise.
        update_stats: likewise.
        backbone: likewise.
        max_windows_per_item: likewise.
    """
    found = find_images(images)
    return ApplyConfig(
        root_uri=root_uri,
        name=name,
        bundle=bundle,
        images=[ImageConfig(id=stem, uri=image) for image, stem in found],
        channel_order=channel_order,
        nodata=nodata,
        stride_px=stride_px,
        batch_size=batch_size,
        write_geotiff=write_geotiff,
        on_drift=on_drift,
        abstain_below=abstain_below,
        scores=scores,
        augment=augment,
        overlap=overlap,
        smooth=smooth,
        precision=precision,
        vector=vector,
        update_stats=update_stats,
        backbone=backbone,
        max_windows_per_item=max_windows_per_item,
    )


class ApplyPipeline(Pipeline):
    """Maps the images of an `ApplyConfig`."""

    requires_modules = ("rasterio", "numpy")
    deep_check = "rv_pipeline_chip_classification.checks.images:check_images"
    deep_check_ignores: tuple[str, ...] | None = ("batch_size", "max_windows_per_item")
    _raster_inputs: RasterInputs | None = None

    def __init__(self, config: ApplyConfig) -> None:
        super().__init__(config)
        if config.backbone is not None:  # code that may import what it likes
            self.deep_check_ignores = None

    def inputs(self, command: str, item: Any) -> list[str]:
        """The bundle, and all files that GDAL reads for an image."""
        from rv_pipeline_chip_classification.raster_inputs import RasterInputs

        config = cast(ApplyConfig, self._config)
        self._raster_inputs = self._raster_inputs or RasterInputs(image.uri for image in config.images)
        return self._raster_inputs.added_to(super().inputs(command, item))

    def facts(self, command: str) -> dict[str, str]:
        """The text of a backbone of the user's own."""
        backbone = cast(ApplyConfig, self._config).backbone
        if backbone is None or own_backbone(backbone) is None:
            return {}
        from rv_pipeline_chip_classification.checks.training_facts import code_digest_of

        return {f"code of {backbone}": code_digest_of(backbone)}

    @command(items=items_to_map, reads=_READS, ignores=("on_drift", "max_windows_per_item"), gpus=1)
    def predict(self, images: Items[ImageItem]) -> None:
        """A class and scores for every cell of the images."""
        import_rasterio()
        wait_passively()
        from rv_pipeline_chip_classification.applying.image_command import open_mapper

        mapper = None
        for image in images:
            mapper = mapper or open_mapper(self.config)
            mapper.map(image, self.storage, self)

    @command(items=images_to_merge, completes="predict", reads=_READS, ignores=("on_drift", "batch_size"))
    def merge(self, images: Items[ImageConfig]) -> None:
        """The files of images that were mapped in parts."""
        import_rasterio()
        from rv_pipeline_chip_classification.applying.image_command import merge_image

        for image in images:
            merge_image(self.config, image, self.storage, self)

    def smoke(self, config: ApplyConfig) -> ApplyConfig:
        """The first image."""
        return replace(config, images=config.images[:1])

    def preflight(self, todo: Mapping[str, Sequence[str]]) -> Iterable[Finding]:
        """Whether local files are there."""
        from rv_pipeline_chip_classification.checks.images import check_files

        return check_files(self.config, of_whole(todo))
