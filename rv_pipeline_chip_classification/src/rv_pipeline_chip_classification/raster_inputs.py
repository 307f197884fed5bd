"""The inputs of a scene: a raster or a vector file is all the files that it consists of. Imports no GDAL: the plan asks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from rv_core.errors import RvError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.config import ChipClassificationConfig, ClassRasterLabelsConfig, VectorLabelsConfig
from rv_pipeline_chip_classification.raster_files.dataset_files import (
    files_of,
    has_more_than_statistics,
    is_virtual,
    remote_side_files,
)
from rv_pipeline_chip_classification.vectors.files import parts_of, remote_parts

#: A plan asks for the inputs of an item some ten times; what was found so lately holds.
_FRESH_S = 2.0
#: Requests at the same time.
_MAX_WORKERS = 32


class RasterInputs:
    """Finds the further files of the rasters and vector files of a config, and remembers them for a while.

    Files beside remote ones are asked for once, all at the same time: two requests for a GeoTIFF.

    Args:
        rasters: URIs of all rasters of a config.
        vectors: URIs of its vector files.
    """

    def __init__(self, rasters: Iterable[str], vectors: Iterable[str] = ()) -> None:
        self._rasters = set(rasters)
        self._vectors = set(vectors) - self._rasters
        self._local: dict[str, list[str]] = {}
        self._remote: dict[str, list[str]] | None = None
        self._since_s = 0.0

    def added_to(self, inputs: Iterable[str]) -> list[str]:
        """The inputs, and after each raster and vector file its further files; each once."""
        if time.monotonic() - self._since_s > _FRESH_S:
            self._local, self._since_s = {}, time.monotonic()
        found: dict[str, None] = {}
        for uri in inputs:
            found[uri] = None
            if uri in self._rasters or uri in self._vectors:
                found.update(dict.fromkeys(self._files_of(uri)))
        return list(found)

    def _files_of(self, uri: str) -> list[str]:
        if _is_local(uri):
            if uri not in self._local:
                self._local[uri] = files_of(uri) if uri in self._rasters else parts_of(uri)
            return self._local[uri]
        if self._remote is None:
            self._remote = _remote_files(*(_remote_ones(its) for its in (self._rasters, self._vectors)))
        return self._remote[uri]


def rasters_of(config: ChipClassificationConfig) -> Iterable[str]:
    """The images and label rasters of all scenes."""
    for _, _, scene in config.dataset.located_scenes():
        yield from scene.raster.uris
        yield from scene.raster.mask_uris()
        if isinstance(scene.labels, ClassRasterLabelsConfig):
            yield scene.labels.uri


def vectors_of(config: ChipClassificationConfig) -> Iterable[str]:
    """The labels and areas of all scenes that are vector files."""
    for _, _, scene in config.dataset.located_scenes():
        yield from scene.aoi_uris
        yield from (area.uri for area in scene.aois)
        if isinstance(scene.labels, VectorLabelsConfig):
            yield scene.labels.uri


def _remote_ones(every: set[str]) -> list[str]:
    return sorted(uri for uri in every if not _is_local(uri))


def _is_local(uri: str) -> bool:
    try:
        return uris.is_local(uris.expand(uri))
    except RvError:  # a variable that is not set, which the plan says itself
        return True


def _remote_files(rasters: list[str], vectors: list[str]) -> dict[str, list[str]]:
    files = {uri: files_of(uri) if is_virtual(uri) else remote_side_files(uri) for uri in rasters}
    files |= {uri: remote_parts(uri) for uri in vectors}
    there = _existing([side for uri, its in files.items() if not is_virtual(uri) for side in its])
    return {uri: its if is_virtual(uri) else [side for side in its if side in there] for uri, its in files.items()}


def _existing(candidates: list[str]) -> set[str]:
    """Those that are there. A store that answers nothing useful says so when it is asked for the raster itself."""
    with ThreadPoolExecutor(_MAX_WORKERS) as pool:
        there = [uri for uri, is_there in zip(candidates, pool.map(_exists, candidates), strict=True) if is_there]
    return {uri for uri in there if not uri.endswith(".aux.xml") or _has_effect(uri)}


def _exists(uri: str) -> bool:
    try:
        return by_uri.exists(uri)
    except RvError:
        return False


def _has_effect(uri: str) -> bool:
    try:
        return has_more_than_statistics(by_uri.read_bytes(uri))
    except RvError:
        return True
