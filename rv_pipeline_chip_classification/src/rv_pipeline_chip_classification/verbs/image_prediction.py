"""Predicting images with a bundle: which channels, which files, one error block per bad image. See `predict.py`."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from rv_core import Storage
from rv_core.cli.output import print_error, print_text
from rv_core.errors import EXIT_DONE, EXIT_FAILED, DataError, Finding, RvError, UsageError
from rv_core.files import uris
from rv_core.files.by_uri import local_copy
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.model.bundle_file import Bundle, open_bundle
from rv_pipeline_chip_classification.model.contract import ModelContract, check_image
from rv_pipeline_chip_classification.model.openmp import wait_passively
from rv_pipeline_chip_classification.model.own_code import refuse_unnamed_code
from rv_pipeline_chip_classification.model.source_fit import UNKNOWN_VALUES, header_notes, refuse_drift
from rv_pipeline_chip_classification.prediction.value_watch import sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.verbs.channel_choice import check_given_order, choose_channels
from rv_pipeline_chip_classification.verbs.own_statistics import OWN_STATISTICS, by_own_statistics, check_options

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.commands.predict import SceneWriter

_MAX_LIST_BYTES = 64 * 1024**2


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
    """

    bundle: str
    images: tuple[str, ...]
    output: str
    channel_order: str | None = None
    nodata: str | None = None
    batch_size: int = 256
    stride_px: int | None = None
    write_geotiff: bool = True
    on_drift: str = "warn"
    updates_stats: bool = False
    backbone: str | None = None

    @property
    def tells_drift(self) -> bool:
        """Whether values are compared while they are read."""
        return self.on_drift == "warn" and not self.updates_stats


@dataclass(frozen=True)
class ImageJob:
    """One image, looked at.

    Args:
        image: path or URI.
        stem: of its outputs.
        channels: 0-based channels of the file in the model's order; None is all but alpha.
        nodata: the value that means "no data"; None for what the file declares.
        notes: what the user should know about the image.
        applies_scale: whether its scale and offset tags are applied.
    """

    image: str
    stem: str
    channels: tuple[int, ...] | None
    nodata: float | None
    notes: tuple[str, ...]
    applies_scale: bool = False

    @property
    def source(self) -> RasterSourceConfig:
        """What is opened."""
        return _source(self.image, self.channels, self.nodata, self.applies_scale)


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
    nodata = parse_nodata(request.nodata, bundle.contract)
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


def expand_lists(words: Iterable[str]) -> list[str]:
    """The images of a command line, `@FILE` replaced by the lines of the file.

    Blank lines, `#` comments and quotes around a name are left out.

    Raises:
        UsageError: if a list cannot be read, or nothing is left, or an image is given twice.
    """
    images: list[str] = []
    for word in words:
        images += _lines_of(word[1:]) if word.startswith("@") else [word]
    if not images:
        raise UsageError("no image is given", fix="name at least one, or put one per line into the list")
    twice = sorted({image for image in images if images.count(image) > 1}) if len(set(images)) < len(images) else []
    if twice:
        raise UsageError(f"{twice[0]} is given more than once")
    return images


def _lines_of(path: str) -> list[str]:
    try:
        if os.path.getsize(path) > _MAX_LIST_BYTES:
            raise UsageError("the list of images is too large", where=path)
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError("the list of images cannot be read", where=path, why=str(err)) from err
    return [_unquoted(word) for word in map(str.strip, lines) if word and not word.startswith("#")]


def _unquoted(word: str) -> str:
    """A name as shells and spreadsheets quote it; what is a file with its quotes stays as it is."""
    is_quoted = len(word) > 2 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if is_quoted and not os.path.exists(word) else word


def stems_of(images: Sequence[str], output: str) -> list[str]:
    """What the outputs of each image are called.

    Raises:
        UsageError: if outputs of two images have one name (also without regard to case), or would replace an image.
    """
    stems = [_stem(image) for image in images]
    findings, owners = [], dict[str, str]()
    local_images = {os.path.realpath(uris.local_path(image)) for image in images if uris.is_local(image)}
    for image, stem in zip(images, stems, strict=True):
        for name in _output_names(stem):
            owner = owners.setdefault(name.casefold(), image)
            if owner != image:
                findings.append(Finding(image, f"its output {name} is also that of {owner}"))
            elif uris.is_local(output) and os.path.realpath(Path(uris.local_path(output)) / name) in local_images:
                findings.append(Finding(image, f"its output {name} would replace an image"))
    if findings:
        fix = "predict them into different folders, each with a command of its own"
        raise UsageError("outputs clash; nothing was done", where=output, findings=findings[:20], fix=fix)
    return stems


def _stem(image: str) -> str:
    stem = PurePosixPath(uris.name_of(image.replace("!", "/"))).stem
    if not stem or stem.startswith("."):
        raise UsageError("an image has no name to call its outputs by", where=image)
    return stem


def _output_names(stem: str) -> tuple[str, ...]:
    return tuple(f"{stem}.{ending}" for ending in ("geojson", "tif", "tif.aux.xml", "scores.tif", "qml"))


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


def parse_nodata(text: str | None, contract: ModelContract) -> float | None:
    """What `--nodata` says, else what the model was trained with.

    Raises:
        UsageError: if it is neither a number nor "none".
    """
    if text is None:
        return contract.nodata
    if text.strip().lower() == "none":
        return None
    try:
        value = float(text)
    except ValueError as err:
        fix = 'write for instance --nodata 0, or "none" for what each file declares'
        raise UsageError(f"--nodata {text!r} is no number", fix=fix) from err
    return value if math.isfinite(value) else None  # NaN is never valid, whatever is declared


def look_at(
    image: str,
    stem: str,
    contract: ModelContract,
    order: tuple[int, ...] | None,
    nodata: float | None = None,
    *,
    refuses_drift: bool = False,
) -> ImageJob:
    """Open an image's header and decide which of its channels the model sees; of pixels a sample is read for drift.

    Raises:
        DataError: if it cannot be opened, or does not fit the model.
    """
    channels, notes = order, []
    if order is None:
        with SceneRaster(_source(image, None, nodata, contract.apply_scale), stem) as raster:
            notes += [note.text for note in raster.notes]
            names, own, num_bands = raster.channel_names, raster.file_channels, raster.num_bands
        channels, note = choose_channels(contract, names, own, where=image, num_bands=num_bands)
        notes.append(note)
    with SceneRaster(_source(image, channels, nodata, contract.apply_scale), stem) as raster:
        check_image(contract, raster.num_channels, raster.dtype, where=image)
        notes.append(check_given_order(contract, raster.channel_names, raster.band_names, where=image))
        notes += [note.text for note in raster.notes if note.text not in notes]
        notes += header_notes(contract, raster, nodata)
        if refuses_drift:
            refuse_drift(contract, sample_of(raster), where=image, fix="predict with --on-drift warn")
    if nodata is not None and nodata == contract.nodata:
        notes.append(f"pixels of {nodata:g} are no data, as in training (--nodata)")
    return ImageJob(image, stem, channels, nodata, tuple(filter(None, notes)), contract.apply_scale)


def _source(image: str, channels: Sequence[int] | None, nodata: float | None, apply_scale: bool) -> RasterSourceConfig:
    order = None if channels is None else list(channels)
    return RasterSourceConfig(uris=[image], channel_order=order, nodata=nodata, apply_scale=apply_scale)


def _predict_all(jobs: Sequence[ImageJob], bundle: Bundle, request: PredictionRequest) -> int:
    """Predict images with one model; returns how many failed."""
    wait_passively()
    from rv_pipeline_chip_classification.commands.predict import SceneWriter
    from rv_pipeline_chip_classification.model.trained import load_model
    from rv_pipeline_chip_classification.prediction.classifier import Classifier

    with bundle.weights_file() as weights:
        model = load_model(bundle.contract, weights, shown=request.bundle)

    def writer_for(contract: ModelContract) -> SceneWriter:
        classifier = Classifier(model, contract, batch_size=request.batch_size)
        return SceneWriter(classifier, request.write_geotiff, tells_drift=request.tells_drift)

    writer = writer_for(bundle.contract)
    storage = Storage(request.output, attempt_tag=str(os.getpid()))
    num_bad, stride_px = 0, request.stride_px or bundle.stride_px or bundle.contract.cell_size_px
    if request.updates_stats:
        jobs = [replace(job, notes=(*job.notes, OWN_STATISTICS)) for job in jobs]
    for number, job in enumerate(jobs, 1):
        try:
            with file_boundary("the image cannot be predicted", where=job.image):
                if request.updates_stats:
                    with SceneRaster(job.source, job.stem) as raster:
                        writer = writer_for(by_own_statistics(bundle.contract, raster))
                _predict_one(job, f"[{number}/{len(jobs)}]", writer, storage, stride_px)
        except DataError as err:
            print_error(str(err))
            num_bad += 1
    return num_bad


def _predict_one(job: ImageJob, label: str, writer: SceneWriter, storage: Storage, stride_px: int) -> None:
    from rv_pipeline_chip_classification.prediction.cell_scores import PredictionNames
    from rv_pipeline_chip_classification.prediction.cell_windows import CellGrid

    names = PredictionNames(job.stem)
    with SceneRaster(job.source, job.stem) as raster, _LiveLine(f"{label} {job.image}") as line:
        cells = CellGrid(raster.extent, writer.contract.cell_size_px, stride_px)
        counts = writer.write(raster, cells, names, storage, line)
    rest = f", {counts.num_without_data} without data" if counts.num_without_data else ""
    rate = counts.num_cells / max(counts.seconds, 1e-6)
    print_text(
        f"{label} {job.image} -> {storage.uri(names.geojson)}: {counts.num_cells} cells{rest}"
        f" in {counts.seconds:.1f} s ({rate:.0f}/s)"
    )
    for note in filter(None, [*job.notes, counts.lost_note(), counts.drift]):
        print_text(f"    {note}")


class _LiveLine:
    """Progress of one image on a terminal; silent elsewhere."""

    key, stop_requested = "", False

    def __init__(self, label: str) -> None:
        self._label, self._is_live, self._shown_s = label, sys.stderr.isatty(), 0.0

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Rewrite the line, at most ten times a second."""
        now = time.monotonic()
        if self._is_live and now - self._shown_s > 0.1:
            self._shown_s = now
            rate = f", {numbers['cells_per_s']:.0f}/s" if "cells_per_s" in numbers else ""
            sys.stderr.write(f"\r\x1b[K{self._label}: {done} of {total} cells{rate}")
            sys.stderr.flush()

    def record(self, **counts: float) -> None:
        """Nothing keeps counts here."""

    def stopped(self) -> NoReturn:
        """Never called: Ctrl-C ends the process."""
        raise KeyboardInterrupt

    def __enter__(self) -> _LiveLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
