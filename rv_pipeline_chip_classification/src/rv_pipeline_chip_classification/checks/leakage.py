"""What scenes of different subsets share: ground, bytes, a picture or a border.

Headers and AOIs are read; pixels only of small images without a place on Earth, where nothing else tells. Metrics of a test scene that the model has seen in training say nothing, whatever the date or the CRS of the image.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import Finding, RvError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.checks.cheap import is_missing
from rv_pipeline_chip_classification.checks.thumbnails import alike, thumbnail_of
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.ground.equal_area import HECTARE_M2
from rv_pipeline_chip_classification.ground.footprints import Footprint, GroundPair, area_m2, footprint_of, near_pairs
from rv_pipeline_chip_classification.labels.aoi import read_aoi
from rv_pipeline_chip_classification.scenes.crs import pixel_size_m
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster

#: Pairs of each kind that are named; the rest is counted.
_MAX_NAMED = 5
#: Bytes that are compared at the beginning, in the middle and at the end of files of one size before all of them are.
_SAMPLE_BYTES = 1 << 16
#: Images without a place on Earth are looked at up to here, and so many pixels of them in all.
_MAX_LOOKED_AT_PX = 1 << 22
_MAX_LOOKED_AT_PX_OF_ALL = 1 << 26
_FIX = "give the subsets scenes that lie apart (rv split), or crop them (raster.bbox, aoi_uris)"


@dataclass(frozen=True)
class _Placed:
    """A scene and what it covers.

    Args:
        path: dotted path in the config.
        subset: "train", "validation" or "test".
        scene: the scene.
        footprint: None where it has no place on Earth, or cannot be opened.
        chip_m: side of a chip on the ground; 0 where it is not known.
        thumbnail: of a small image without a place on Earth.
    """

    path: str
    subset: str
    scene: SceneConfig
    footprint: Footprint | None
    chip_m: float
    thumbnail: NDArray[np.float64] | None = None


def check_leakage(config: ChipClassificationConfig) -> Iterator[Finding]:
    """Warnings about scenes of different subsets that share ground, are one image, or lie nearer than a chip.

    Scenes without labels are neither trained on nor evaluated, and left out; where one has an AOI, what lies inside
    counts. One warning per pair, the worst first, a few of each kind.

    Args:
        config: the config; scenes that cannot be opened are left out.
    """
    scenes = list(_scenes_of(config))
    if len({subset for _, subset, _ in scenes}) < 2:
        return
    budget = [_MAX_LOOKED_AT_PX_OF_ALL]
    placed = [_placed(f"dataset.{path}", subset, scene, config, budget) for path, subset, scene in scenes]
    told = _told_already(placed)
    yield from _tell_same_files(placed, told)
    yield from _tell_same_pictures(placed, told)
    known = [one for one in placed if one.footprint is not None]
    footprints = [one.footprint for one in known if one.footprint is not None]
    reach_m = max((one.chip_m for one in known), default=0.0)
    pairs = near_pairs(footprints, within_m=reach_m, groups=[one.subset for one in known])
    pairs = [pair for pair in pairs if _key(known[pair.one], known[pair.other]) not in told]
    shared = sorted((pair for pair in pairs if pair.shared_m2 > 1e-3), key=lambda pair: -pair.shared_m2)
    yield from _tell_pairs(known, shared, _shared_in_words, "share ground")
    near = [pair for pair in pairs if pair.shared_m2 <= 1e-3 and pair.distance_m < _chip_m(known, pair)]
    near.sort(key=lambda pair: pair.distance_m)
    yield from _tell_pairs(known, near, _near_in_words, "nearly touch")


def _scenes_of(config: ChipClassificationConfig) -> Iterator[tuple[str, str, SceneConfig]]:
    for path, subset, scene in config.dataset.located_scenes():
        areas = (*scene.aoi_uris, *(area.uri for area in scene.aois))
        if scene.labels is not None and not any(map(is_missing, (*scene.raster.uris, *areas))):
            yield path, subset, scene


def _placed(path: str, subset: str, scene: SceneConfig, config: ChipClassificationConfig, budget: list[int]) -> _Placed:
    try:
        with file_boundary("", where=""), SceneRaster(scene.raster, scene.id) as raster:
            aoi = read_aoi(scene, raster.grid, raster.extent)
            chip_m = (pixel_size_m(raster.grid) or 0.0) * config.chip.chip_size_px
            return _Placed(path, subset, scene, footprint_of(raster, aoi.area), chip_m, _thumbnail(raster, budget))
    except (RvError, OSError):  # said where this scene itself is checked
        return _Placed(path, subset, scene, None, 0.0)


def _thumbnail(raster: SceneRaster, budget: list[int]) -> NDArray[np.float64] | None:
    """A picture of an image without a place on Earth, if it is small enough for what is left of the budget."""
    size_px = raster.extent.height * raster.extent.width
    if raster.grid.crs is not None or size_px > min(_MAX_LOOKED_AT_PX, budget[0]):
        return None
    budget[0] -= size_px
    pixels = raster.read(raster.extent)
    return thumbnail_of(pixels.values[..., 0], pixels.valid)


def _key(one: _Placed, other: _Placed) -> frozenset[str]:
    return frozenset((one.path, other.path))


def _told_already(placed: Sequence[_Placed]) -> set[frozenset[str]]:
    """Pairs that the cheap check names: a later scene uses a whole image of an earlier one."""
    users: dict[str, list[_Placed]] = {}
    told: set[frozenset[str]] = set()
    for other in placed:
        for uri in other.scene.raster.uris:
            if other.scene.raster.bbox is None:
                told.update(_key(one, other) for one in users.get(uri, ()) if one.subset != other.subset)
            users.setdefault(uri, []).append(other)
    return told


def _tell_same_files(placed: Sequence[_Placed], told: set[frozenset[str]]) -> Iterator[Finding]:
    """Warnings about copies of an image under another name; their pairs are added to those that are told."""
    owners: dict[str, _Placed] = {}
    for one in placed:
        if one.scene.raster.bbox is None:
            owners.update(dict.fromkeys(filter(uris.is_local, map(uris.expand, one.scene.raster.uris)), one))
    found: list[tuple[_Placed, _Placed]] = []
    for uri, other_uri in _same_files(list(owners)):
        one, other = owners[uri], owners[other_uri]
        if one.subset != other.subset and _key(one, other) not in told:
            told.add(_key(one, other))
            found.append((one, other))
    yield from _tell_alike(found, "has the bytes of", "have the same image")


def _tell_same_pictures(placed: Sequence[_Placed], told: set[frozenset[str]]) -> Iterator[Finding]:
    """Warnings about images that show the same, of those without a place on Earth; their pairs are added."""
    seen = [one for one in placed if one.thumbnail is not None]
    found = []
    for first, second in alike([one.thumbnail for one in seen if one.thumbnail is not None]):
        one, other = seen[first], seen[second]
        if one.subset != other.subset and _key(one, other) not in told:
            told.add(_key(one, other))
            found.append((one, other))
    yield from _tell_alike(found, "shows the same as", "show the same")


def _tell_alike(found: Sequence[tuple[_Placed, _Placed]], does: str, all_do: str) -> Iterator[Finding]:
    """Warnings about pairs of images: the first by name, the rest counted."""
    for one, other in found[:_MAX_NAMED]:
        what = f"its image {does} that of {one.path}: {other.subset} and {one.subset} scenes should differ"
        yield Finding(f"{other.path}.raster.uris", what, "", "warning")
    yield from _tell_rest([(one.subset, other.subset) for one, other in found[_MAX_NAMED:]], all_do)


def _same_files(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Local files with equal bytes: each with the first of its kind."""
    sizes: dict[int, list[str]] = {}
    for uri in paths:
        sizes.setdefault(_size_of(uri), []).append(uri)
    for size, of_one_size in sizes.items():
        first: dict[tuple[bytes, ...], str] = {}
        for uri in of_one_size if len(of_one_size) > 1 and size else ():
            try:
                known = first.setdefault(_samples_of(uri, size), uri)
                is_same = known != uri and by_uri.digest(known) == by_uri.digest(uri)
            except (RvError, OSError):  # said where the image is opened
                continue
            if is_same:
                yield known, uri


def _size_of(uri: str) -> int:
    try:
        return os.path.getsize(uris.local_path(uris.container_of(uri)))
    except OSError:
        return 0


def _samples_of(uri: str, size: int) -> tuple[bytes, ...]:
    path = uris.local_path(uris.container_of(uri))
    with open(path, "rb") as file:
        parts = []
        for place in (0, size // 2, max(0, size - _SAMPLE_BYTES)):
            file.seek(place)
            parts.append(file.read(_SAMPLE_BYTES))
    return (*parts, uri.removeprefix(uris.container_of(uri)).encode())


def _chip_m(known: Sequence[_Placed], pair: GroundPair) -> float:
    return max(known[pair.one].chip_m, known[pair.other].chip_m)


def _tell_pairs(
    known: Sequence[_Placed],
    pairs: Sequence[GroundPair],
    words: Callable[[_Placed, _Placed, GroundPair], str],
    verb: str,
) -> Iterator[Finding]:
    for pair in pairs[:_MAX_NAMED]:
        one, other = known[pair.one], known[pair.other]
        yield Finding(f"{other.path}.raster", words(one, other, pair), _FIX, "warning")
    yield from _tell_rest([(known[pair.one].subset, known[pair.other].subset) for pair in pairs[_MAX_NAMED:]], verb)


def _shared_in_words(one: _Placed, other: _Placed, pair: GroundPair) -> str:
    assert other.footprint is not None
    share = pair.shared_m2 / max(area_m2(other.footprint), 1e-9)
    return (
        f"scene {other.scene.id!r} ({other.subset}) shares {ground_text(pair.shared_m2)} of ground, "
        f"{min(share, 1.0):.1%} of it, with {one.scene.id!r} ({one.subset}): {one.path}"
    )


def _near_in_words(one: _Placed, other: _Placed, pair: GroundPair) -> str:
    distance = f"lies {pair.distance_m:.3g} m from" if pair.distance_m > 1e-3 else "touches"
    return (
        f"scene {other.scene.id!r} ({other.subset}) {distance} {one.scene.id!r} ({one.subset}), nearer than a chip "
        f"is wide: cells at the border are alike: {one.path}"
    )


def ground_text(square_m: float) -> str:
    """An area in hectares, or in square metres where it is small."""
    return f"{square_m / HECTARE_M2:,.4g} ha" if square_m >= HECTARE_M2 / 100 else f"{square_m:.3g} m²"


def _tell_rest(subsets: Sequence[tuple[str, str]], verb: str) -> Iterator[Finding]:
    if subsets:
        counts = Counter(" and ".join(pair) for pair in subsets)
        kinds = ", ".join(f"{count} of {pair} scenes" for pair, count in counts.items())
        yield Finding("dataset", f"{len(subsets)} more pairs {verb}: {kinds}", _FIX, "warning")
