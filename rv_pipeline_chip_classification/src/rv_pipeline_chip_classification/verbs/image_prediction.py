"""Predicting images with a bundle: which channels, which files, one error block per bad image. See `predict.py`."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from rv_core import Storage
from rv_core.cli.output import print_error, print_text
from rv_core.errors import EXIT_DONE, EXIT_FAILED, DataError, RvError, UsageError
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.applying.image_list import expand_lists, stems_of
from rv_pipeline_chip_classification.applying.image_look import ImageJob, look_at
from rv_pipeline_chip_classification.applying.own_statistics import OWN_STATISTICS, check_options
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.maps.formats import ENDINGS
from rv_pipeline_chip_classification.model.bundle_file import Bundle, open_bundle
from rv_pipeline_chip_classification.model.openmp import wait_passively
from rv_pipeline_chip_classification.model.own_code import refuse_unnamed_code
from rv_pipeline_chip_classification.model.source_fit import UNKNOWN_VALUES
from rv_pipeline_chip_classification.prediction.cell_scores import Answers
from rv_pipeline_chip_classification.verbs.live_line import LiveLine

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.applying.image_predictor import ImagePredictor


@dataclass(frozen=True)
class PredictionRequest:
    """What the command line asks for.

    Args:
        bundle: path or URI.
        images: paths or URIs; `@FILE` stands for the lines of a file.
        output: folder or URI.
        channel_order: as typed, or None.
        nodata: as typed, or None.
        batch_size: windows per forward pass.
        stride_px: step between cells, or None for that of the bundle.
        write_geotiff: whether GeoTIFFs are written.
        on_drift: `warn`, `refuse` or `ignore`, where the values of an image are not those of the training images.
        updates_stats: whether each image is normalised by the statistics of its own pixels.
        backbone: `module:callable` that the bundle may import and call; None for none.
        answers: which scores are given, and when no class.
        vector: the format of the vector file, or `none`.
    """

    bundle: str
    images: tuple[str, ...]
    output: str
    channel_order: str | None = None
    nodata: str | None = None
    batch_size: int = 256
    stride_px: int | None = None
    write_geotiff: bool = True
    on_drift: Literal["warn", "refuse", "ignore"] = "warn"
    updates_stats: bool = False
    backbone: str | None = None
    answers: Answers = field(default_factory=Answers)
    vector: Literal["none", "geojson", "geojsonseq", "gpkg", "fgb", "parquet"] = "geojson"

    @property
    def tells_drift(self) -> bool:
        """Whether values are compared while they are read."""
        return self.on_drift == "warn" and not self.updates_stats


def predict_images(request: PredictionRequest) -> int:
    """Predict all images of a request; a bad image costs an error block, and the others are still predicted.

    Returns:
        The exit code: 0, or 1 if an image could not be predicted.

    Raises:
        UsageError: if the command line does not go together; nothing was done then.
        DataError: if the bundle cannot be used.
    """
    images = expand_lists(request.images)
    stems = stems_of(images, request.output)
    order = parse_channel_order(request.channel_order)
    bundle = open_bundle(local_copy(request.bundle), shown=request.bundle)
    refuse_unnamed_code(bundle.contract.backbone, request.backbone, where=request.bundle)
    nodata = bundle.contract.nodata if request.nodata is None else parse_nodata(request.nodata)
    check_options(bundle.contract, request.on_drift, updates_stats=request.updates_stats)
    if request.tells_drift and bundle.contract.values is None:
        print_text(f"note: {UNKNOWN_VALUES}")
    jobs, num_bad, refuses_drift = [], 0, request.on_drift == "refuse"
    for image, stem in zip(images, stems, strict=True):
        try:
            with file_boundary("the image cannot be used", where=image):
                jobs.append(look_at(image, stem, bundle.contract, order, nodata, refuses_drift=refuses_drift))
        except RvError as err:
            print_error(str(err))
            num_bad += 1
    num_bad += _predict_all(jobs, bundle, request) if jobs else 0
    if num_bad:
        print_error(f"{num_bad} of {len(images)} images could not be predicted")
    return EXIT_FAILED if num_bad else EXIT_DONE


def parse_channel_order(text: str | None) -> tuple[int, ...] | None:
    """`"2,1,0"` as numbers.

    Raises:
        UsageError: if it is something else.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() for word in words):
        raise UsageError(f"--channel-order {text!r} is no list of channels", fix="write for instance 2,1,0 (from 0)")
    return tuple(int(word) for word in words)


def parse_nodata(text: str) -> float | None:
    """What `--nodata` says; None for what each file declares.

    Raises:
        UsageError: if it is neither a number nor "none".
    """
    if text.strip().lower() == "none":
        return None
    try:
        value = float(text)
    except ValueError as err:
        fix = 'write for instance --nodata 0, or "none" for what each file declares'
        raise UsageError(f"--nodata {text!r} is no number", fix=fix) from err
    return value if math.isfinite(value) else None  # NaN is never valid, whatever is declared


def _predict_all(jobs: Sequence[ImageJob], bundle: Bundle, request: PredictionRequest) -> int:
    """Predict images with one model; returns how many failed."""
    wait_passively()
    from rv_pipeline_chip_classification.applying.image_predictor import ImagePredictor

    predictor = ImagePredictor(
        bundle,
        stride_px=request.stride_px,
        batch_size=request.batch_size,
        write_geotiff=request.write_geotiff,
        tells_drift=request.tells_drift,
        updates_stats=request.updates_stats,
        answers=request.answers,
        vector=request.vector,
    )
    storage = Storage(request.output, attempt_tag=str(os.getpid()))
    if request.updates_stats:
        jobs = [replace(job, notes=(*job.notes, OWN_STATISTICS)) for job in jobs]
    num_bad = 0
    for number, job in enumerate(jobs, 1):
        try:
            with file_boundary("the image cannot be predicted", where=job.image):
                _predict_one(job, f"[{number}/{len(jobs)}]", predictor, storage, request)
        except DataError as err:
            print_error(str(err))
            num_bad += 1
    return num_bad


def _predict_one(
    job: ImageJob, label: str, predictor: ImagePredictor, storage: Storage, request: PredictionRequest
) -> None:
    from rv_pipeline_chip_classification.prediction.cell_scores import PredictionNames

    names = PredictionNames(job.stem)
    with LiveLine(f"{label} {job.image}") as line:
        counts = predictor.predict(job, names, storage, line)
    rest = f", {counts.num_without_data} without data" if counts.num_without_data else ""
    ending = ENDINGS.get(request.vector)
    output = names.classes if ending is None else names.vector(ending)
    rate = counts.num_cells / max(counts.seconds, 1e-6)
    print_text(
        f"{label} {job.image} -> {storage.uri(output)}: {counts.num_cells} cells{rest}"
        f" in {counts.seconds:.1f} s ({rate:.0f}/s)"
    )
    for note in filter(None, [*job.notes, counts.lost_note(), counts.abstained_note(), counts.drift]):
        print_text(f"    {note}")
