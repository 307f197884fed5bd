"""The deep check of `apply`: every image that is to be mapped beside the bundle's contract, before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rv_core.errors import Finding, RvError
from rv_pipeline_chip_classification.applying.bundle_use import bundle_of, in_config_words, look_at_image, misfits
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_look import ImageJob
from rv_pipeline_chip_classification.checks.cheap import Todo, check_local_file, is_missing
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.maps.formats import check_vector
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.source_fit import UNKNOWN_VALUES, drift_in_words, drift_notes
from rv_pipeline_chip_classification.parts.scene_parts import of_whole
from rv_pipeline_chip_classification.prediction.value_watch import sample_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

#: Places along each side where values are sampled.
_PLACES = 2
#: Images whose values are compared in a check, evenly spread over all; a task compares all values of each of its own.
_MAX_SAMPLED = 200
_MAX_DRIFTS = 3


def images_to_do(config: ApplyConfig, todo: Todo) -> list[tuple[int, ImageConfig]]:
    """(number in the config, image) of all that will be mapped."""
    ids = set(todo.get("predict", ()))
    return [(index, image) for index, image in enumerate(config.images) if image.id in ids]


def check_files(config: ApplyConfig, todo: Todo) -> Iterator[Finding]:
    """Whether local files are there; nothing is opened."""
    images = images_to_do(config, todo)
    if images:
        yield from check_vector("vector", config.vector)
        yield from check_local_file("bundle", config.bundle)
    for index, image in images:
        yield from check_local_file(f"images[{index}].uri", image.uri)


def check_images(config: ApplyConfig, todo: Todo) -> Iterator[Finding]:
    """Open the bundle and the images that will be mapped: channels by name, dtype, pixel size, values.

    Args:
        config: the config.
        todo: ids of the items to do, by command.

    Yields:
        An error for each image that does not fit, and each warning once, with the images that it is about.
    """
    images = images_to_do(config, of_whole(todo))
    if not images or is_missing(config.bundle):
        return
    try:
        with file_boundary("the bundle cannot be used", where=config.bundle):
            bundle = bundle_of(config)
            yield from misfits(config, bundle)
    except RvError as err:
        yield _finding("bundle", err)
        return
    contract = bundle.contract
    tells_drift = config.on_drift == "warn" and not config.update_stats
    if tells_drift and contract.values is None:
        yield Finding("bundle", UNKNOWN_VALUES, "", "warning")
    step = -(-len(config.images) // _MAX_SAMPLED)
    notes: dict[str, list[str]] = {}
    drifts: dict[str, str] = {}
    for index, image in images:
        path = f"images[{index}]"
        if is_missing(image.uri):
            continue
        try:
            with file_boundary("the image cannot be used", where=image.uri):
                job = look_at_image(config, image, contract)
                drift = _drift(job, contract) if tells_drift and index % step == 0 else ""
        except RvError as err:
            yield _finding(f"{path}.uri", err)
            continue
        if drift:
            drifts[path] = in_config_words(drift)
        for note in job.notes:
            notes.setdefault(in_config_words(note), []).append(path)
    for note, paths in notes.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        yield Finding(f"{paths[0]}.uri{more}", note, "", "warning")
    yield from _drift_warnings(drifts)


def _drift_warnings(drifts: Mapping[str, str]) -> Iterator[Finding]:
    """A warning for each image whose values are other ones; of many, which differ in digits alone, for the first ones."""
    for path, text in list(drifts.items())[:_MAX_DRIFTS]:
        yield Finding(f"{path}.uri", text, "", "warning")
    if more := list(drifts)[_MAX_DRIFTS:]:
        what = "the values of these are not those of the training pixels either: each task tells more of its own"
        yield Finding(f"{more[0]}.uri" + (f" and {len(more) - 1} more" if more[1:] else ""), what, "", "warning")


def _drift(job: ImageJob, contract: ModelContract) -> str:
    """Which channels have other values than in training, as far as a few places tell; "" for none."""
    with SceneRaster(job.source, job.stem) as raster:
        return drift_in_words(drift_notes(contract.values, sample_of(raster, _PLACES), contract.channels))


def _finding(where: str, err: RvError) -> Finding:
    block = err.block
    parts = [f"{found.where}: {found.what}" for found in block.findings] or [block.why]
    place = f" ({block.where})" if block.where else ""
    what = f"{block.what}{place}" + "".join(f": {part}" for part in ["; ".join(parts)] if part)
    return Finding(where, in_config_words(what), in_config_words(block.fix))
