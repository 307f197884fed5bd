"""Checks that need no more than the standard library: whether local files are there, and who else uses an image."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec

from rv_core.config.values import uris_of
from rv_core.errors import ConfigError, Finding
from rv_core.files import uris
from rv_pipeline_chip_classification.checks.training_facts import check_own_parts
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.maps.formats import check_vector

Todo = Mapping[str, Sequence[str]]
LocatedScene = tuple[str, str, SceneConfig]


def cheap_check(config: ChipClassificationConfig, todo: Todo) -> Iterator[Finding]:
    """Findings about the files of what will run; remote files are not asked for.

    Args:
        config: the config.
        todo: ids of the items to do, by command.
    """
    for path, _subset, scene in scenes_to_do(config, todo):
        for place, uri in uris_of(scene):
            yield from check_local_file(f"{path}.{place}", uri)
    if todo.get("train") and config.model.init_weights is not None:
        yield from check_local_file("model.init_weights", config.model.init_weights)
        yield from check_weights_file("model.init_weights", config.model.init_weights)
    if todo.get("train") and config.model.backbone.startswith("timm:") and find_spec("timm") is None:
        # A warning only: the tasks may run elsewhere.
        fix = "install rv-pipeline-chip-classification[timm] where train and predict run"
        yield Finding(
            "model.backbone", f"{config.model.backbone} needs timm, which is not installed here", fix, "warning"
        )
    if todo.get("bundle") and "onnx" in config.bundle_formats and find_spec("onnx") is None:
        fix = "install rv-pipeline-chip-classification[onnx] where bundle runs"
        yield Finding("bundle_formats", "onnx is not installed here", fix, "warning")
    if todo.get("predict"):
        yield from check_vector("predict.vector", config.predict.vector)
    if todo.get("eval"):
        yield from check_vector("eval.vector", config.eval.vector)
    if todo.get("train"):
        yield from check_own_parts(config)
    yield from _check_evaluation(config, todo)
    yield from _check_shared_images(config)


def scenes_to_do(config: ChipClassificationConfig, todo: Todo) -> list[LocatedScene]:
    """The scenes that some command will open, as (dotted path in the config, subset, scene)."""
    ids = {scene_id for command in ("analyze", "chip", "predict") for scene_id in todo.get(command, ())}
    located = [(f"dataset.{path}", subset, scene) for path, subset, scene in config.dataset.located_scenes()]
    return [entry for entry in located if entry[2].id in ids or _is_evaluated(config, todo, entry)]


def scenes_to_label(config: ChipClassificationConfig, todo: Todo) -> list[LocatedScene]:
    """Those of `scenes_to_do` whose labels will be read."""
    chipped = set(todo.get("chip", ()))
    return [
        entry
        for entry in scenes_to_do(config, todo)
        if entry[2].labels is not None and (entry[2].id in chipped or _is_evaluated(config, todo, entry))
    ]


def _is_evaluated(config: ChipClassificationConfig, todo: Todo, entry: LocatedScene) -> bool:
    return bool(todo.get("eval")) and entry[1] in config.eval.subsets and entry[2].labels is not None


def is_missing(uri: str) -> bool:
    """Whether a URI is local and nothing is there (or a variable in it is not set)."""
    try:
        file = uris.container_of(uris.expand(uri))
    except ConfigError:
        return True
    return uris.is_local(file) and not os.path.isfile(uris.local_path(file))


def check_local_file(where: str, uri: str) -> Iterator[Finding]:
    """Whether a file is there, if it is local."""
    if not is_missing(uri):
        return
    try:
        path = uris.local_path(uris.container_of(uris.expand(uri)))
    except ConfigError as err:
        yield Finding(where, f"{uri}: {err.block.what}", err.block.fix)
        return
    yield Finding(where, f"{uri} is a folder" if os.path.isdir(path) else f"there is no file {uri}")


def check_weights_file(where: str, uri: str) -> Iterator[Finding]:
    """Whether a local file can hold weights: safetensors, or a bundle. Its first bytes tell, and nothing is loaded."""
    file = uris.container_of(uris.expand(uri)) if not is_missing(uri) else ""
    if not file or not uris.is_local(file):
        return
    with open(uris.local_path(file), "rb") as opened:
        start = opened.read(9)
    if not start.startswith(b"PK") and start[8:] != b"{":
        what = f"{uri} is neither a .safetensors file nor a model bundle; rv opens no pickles"
        yield Finding(where, what, "convert it once with safetensors.torch.save_file")


def _check_evaluation(config: ChipClassificationConfig, todo: Todo) -> Iterator[Finding]:
    """Without any labels the command eval would fail, after the training."""
    subsets = config.eval.subsets
    scenes = [scene for subset in subsets for scene in config.dataset.scenes_of(subset)]
    if not todo.get("eval") or not subsets or any(scene.labels for scene in scenes):
        return
    kinds = " or ".join(subsets)
    why = f"no {kinds} scene has labels" if scenes else f"there is no {kinds} scene"
    fix = f"{'give some of them labels' if scenes else 'add one'}, or set eval.subsets to []"
    yield Finding("eval.subsets", f"there is nothing to evaluate: {why}", fix)


def _check_shared_images(config: ChipClassificationConfig) -> Iterator[Finding]:
    """An image that is trained on and tested on makes the metrics worthless."""
    first: dict[str, tuple[str, str]] = {}
    for path, subset, scene in config.dataset.located_scenes():
        for uri in scene.raster.uris:
            known_path, known_subset = first.setdefault(uri, (path, subset))
            # Two crops of one image are a usual way to split it.
            if known_subset != subset and scene.raster.bbox is None:
                what = (
                    f"{uri} is also an image of dataset.{known_path}: {subset} and {known_subset} scenes should differ"
                )
                yield Finding(f"dataset.{path}.raster.uris", what, "", "warning")
