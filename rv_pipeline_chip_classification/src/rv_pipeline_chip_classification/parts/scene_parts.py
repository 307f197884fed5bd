"""The parts of scenes: a scene of more windows than an item may have is several items, by bands of its rows.

How many parts there are depends on the size of the image, on that of the windows and on a bound of the config, never on
the number of splits or the runner. A part knows its number and how many there are; which windows are its own is worked
out where the image is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rv_core import Config
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.config_parts import cell_size_px
from rv_pipeline_chip_classification.parts.raster_size import ask_for_sizes, raster_size


@dataclass(frozen=True)
class Part:
    """One of the parts of something.

    Args:
        number: from 1.
        count: how many there are.
    """

    number: int
    count: int

    def share(self, total: int) -> range:
        """Which of so many things, in order, are this part's: contiguous, and sizes differ by at most one."""
        return range((self.number - 1) * total // self.count, self.number * total // self.count)


@dataclass(kw_only=True)
class ScenePartConfig(Config):
    """A part of a scene as an item; never saved in a config.

    Args:
        scene: the scene.
        number: of the part, from 1.
        count: parts of the scene.
    """

    scene: SceneConfig
    number: int
    count: int

    @property
    def id(self) -> str:
        """The id of the item, and the name of its files."""
        return part_id(self.scene.id, self.part)

    @property
    def part(self) -> Part:
        """Which part."""
        return Part(self.number, self.count)


SceneItem = SceneConfig | ScenePartConfig


def part_id(whole_id: str, part: Part) -> str:
    """`scene/3-of-8`: no id of a scene or an image holds a slash."""
    return f"{whole_id}/{part.number}-of-{part.count}"


def whole_id(item_id: str) -> str:
    """The scene or image of an item."""
    return item_id.partition("/")[0]


def of_whole(todo: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Items to do by command, parts as what they are parts of, each once."""
    return {command: list(dict.fromkeys(map(whole_id, ids))) for command, ids in todo.items()}


def scene_of(item: SceneItem) -> tuple[SceneConfig, Part | None]:
    """The scene of an item, and which part of it; None for all of it."""
    return (item.scene, item.part) if isinstance(item, ScenePartConfig) else (item, None)


def num_parts(size_px: tuple[int, int] | None, *, window_px: int, stride_px: int, max_windows: int) -> int:
    """How many parts of at most so many windows, but for a row of them, an image has; 1 where its size is not known.

    Args:
        size_px: rows and columns.
        window_px: side of a window.
        stride_px: step between windows.
        max_windows: the bound.
    """
    if size_px is None:
        return 1
    rows, cols = (-(-length // stride_px) for length in size_px)
    # At least so many rows of windows there are, whatever happens at the edge.
    least_rows = max(1, (size_px[0] - window_px) // stride_px + 1)
    return max(1, min(-(-rows * cols // max_windows), least_rows))


def ask_for_extents(scenes: Sequence[SceneConfig]) -> None:
    """Read what tells the sizes of remote scenes, of all at the same time.

    Raises:
        StorageError: if a store cannot be asked.
    """
    ask_for_sizes([_only_uri(scene) for scene in scenes if scene.raster.bbox is None and _only_uri(scene)])


def _only_uri(scene: SceneConfig) -> str:
    """The file of a scene of one file, else ""."""
    return scene.raster.uris[0] if len(scene.raster.uris) == 1 else ""


def _extent_px(scene: SceneConfig) -> tuple[int, int] | None:
    """Rows and columns of what is read of a scene, as far as it is known without opening it."""
    raster = scene.raster
    if raster.bbox is not None:
        return raster.bbox[2], raster.bbox[3]
    uri = _only_uri(scene)
    return raster_size(uri) if uri else None


def num_chip_parts(config: ChipClassificationConfig, scene: SceneConfig) -> int:
    """In how many parts a scene is chipped; windows that are drawn, or lie on features, are those of one item."""
    chip = config.chip
    if scene.labels is None or chip.sampling != "sliding":
        return 1
    stride_px = chip.stride_px or chip.chip_size_px
    return num_parts(
        _extent_px(scene),
        window_px=chip.chip_size_px,
        stride_px=stride_px,
        max_windows=chip.max_windows_per_item,
    )


def num_predict_parts(config: ChipClassificationConfig, scene: SceneConfig) -> int:
    """In how many parts a scene is predicted; where features are the cells, it is one."""
    if scene.labels is not None and not scene.labels.has_cell_grid():
        return 1
    size_px = cell_size_px(scene.labels, config.chip.chip_size_px)
    return num_parts(
        _extent_px(scene),
        window_px=size_px,
        stride_px=config.predict.stride_px or size_px,
        max_windows=config.predict.max_windows_per_item,
    )


def items_of(scene: SceneConfig, count: int) -> list[SceneItem]:
    """A scene as one item, or its parts."""
    if count == 1:
        return [scene]
    return [ScenePartConfig(scene=scene, number=number, count=count) for number in range(1, count + 1)]
