"""Checks of the configuration that go beyond types and ranges; pure functions of config values.

Each yields findings whose `where` is relative to the object that is checked. Nothing here opens a file.
"""

from __future__ import annotations

import colorsys
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from rv_core.errors import Finding, unknown_name
from rv_core.files import uris
from rv_pipeline_chip_classification.config_parts import MAX_SIDE_PX, LabelsConfig, cell_size_px

SCENE_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
#: Of cards of weights; what is none of these is a URI.
_CARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_OWN_BACKBONE = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)", re.ASCII)
BACKBONES = ("small_cnn", "resnet18", "resnet34", "resnet50")

#: Kept apart by people with colour-blindness as far as ten colours can be (Okabe-Ito, then Tableau's).
_PALETTE = [
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#7f7f7f",
    "#8c564b",
    "#17becf",
    "#aec7e8",
    "#ffbb78",
    "#98df8a",
    "#ff9896",
    "#c5b0d5",
    "#c49c94",
    "#f7b6d2",
    "#dbdb8d",
    "#9edae5",
    "#393b79",
]


def palette_color(class_id: int) -> str:
    """The fixed colour of a class id as `#rrggbb`; it does not depend on the other classes."""
    if class_id < len(_PALETTE):
        return _PALETTE[class_id]
    # The golden angle never comes back to a hue, so any number of classes keep different colours.
    red, green, blue = colorsys.hsv_to_rgb((class_id * 0.618033988749895) % 1.0, 0.65, 0.85)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def repeated(values: Iterable[str]) -> list[str]:
    """The values that occur more than once, each once, in order."""
    seen: dict[str, int] = {}
    for value in values:
        seen[value] = seen.get(value, 0) + 1
    return [value for value, count in seen.items() if count > 1]


def check_classes(names: Sequence[str], colors: Sequence[str]) -> Iterator[Finding]:
    """Names are unique and not empty; colours are `#rrggbb`, one per class."""
    if not names:
        yield Finding("names", "no class is named", "name at least two classes")
    elif len(names) == 1:
        only = f"{names[0]!r} is the only class, so every answer is right"
        yield Finding("names", only, 'name another one, for instance "background"', severity="warning")
    for index, name in enumerate(names):
        if not name.strip():
            yield Finding(f"names[{index}]", "a class name is empty")
    for name in repeated(names):
        yield Finding("names", f"class name {name!r} is given more than once", "class names must be unique")
    if colors and len(colors) != len(names):
        yield Finding(
            "colors", f"{len(colors)} colours for {len(names)} classes", "give one per class, or none for the palette"
        )
    for index, color in enumerate(colors):
        if not re.fullmatch(r"#[0-9A-Fa-f]{6}", color):
            yield Finding(f"colors[{index}]", f"{color!r} is no colour", 'write it as "#rrggbb"')


def check_scene_id(scene_id: str) -> Iterator[Finding]:
    """A scene id is safe as a file name on every file system."""
    if not re.fullmatch(SCENE_ID_PATTERN, scene_id):
        yield Finding(
            "id",
            f"{scene_id!r} cannot be a scene id",
            "start with a letter or digit; then letters, digits, '.', '_' and '-'; at most 100 characters",
        )


def check_raster_source(
    uris: Sequence[str], channel_order: Sequence[int] | None, bbox: Sequence[int] | None
) -> Iterator[Finding]:
    """There is an image, channels count from 0, and the crop is a box."""
    if not uris:
        yield Finding("uris", "no image is given")
    for uri in repeated(uris):
        yield Finding("uris", f"{uri} is given more than once")
    if channel_order is not None and not channel_order:
        yield Finding("channel_order", "no channel is chosen", "leave it out to take all bands but alpha")
    for index, channel in enumerate(channel_order or ()):
        if channel < 0:
            yield Finding(
                f"channel_order[{index}]",
                f"channel {channel} is negative",
                "channels count from 0, as the file's bands do from 1",
            )
    if bbox is not None:
        yield from _check_bbox(bbox)


def _check_bbox(bbox: Sequence[int]) -> Iterator[Finding]:
    fix = "write [row_off, col_off, height, width] in pixels"
    if len(bbox) != 4:
        yield Finding("bbox", f"{list(bbox)} has {len(bbox)} numbers instead of 4", fix)
        return
    row_off, col_off, height, width = bbox
    if row_off < 0 or col_off < 0:
        yield Finding("bbox", f"{list(bbox)} begins before the first pixel", fix)
    if height < 1 or width < 1:
        yield Finding("bbox", f"{list(bbox)} holds no pixel", fix)


def check_geojson_labels(class_property: str | None) -> Iterator[Finding]:
    """A property that is named has a name."""
    if class_property is not None and not class_property:
        yield Finding(
            "class_property", "the property's name is empty", "leave it out to use class_id, class_name, label"
        )


def check_class_values(class_values: dict[int, str]) -> Iterator[Finding]:
    """At least one raster value has a class."""
    if not class_values:
        yield Finding("class_values", "no raster value has a class", 'write for instance {1: "forest", 2: "shrub"}')


def check_chip(sampling: str, *, stride_px: int | None, windows_per_scene: int | None) -> Iterator[Finding]:
    """The options of the ways of sampling are not mixed."""
    if sampling == "random" and windows_per_scene is None:
        yield Finding("windows_per_scene", 'sampling is "random" but not how many windows to draw')
    if sampling != "sliding" and stride_px is not None:
        yield Finding("stride_px", f'is not used where sampling is "{sampling}"', "leave it out")
    if sampling != "random" and windows_per_scene is not None:
        what = f'is not used where sampling is "{sampling}"'
        yield Finding("windows_per_scene", what, 'leave it out, or set sampling to "random"')


def check_context(chip_size_px: int, context_px: int) -> Iterator[Finding]:
    """A chip with its surroundings can be held in memory."""
    side_px = chip_size_px + 2 * context_px
    if side_px > MAX_SIDE_PX:
        what = f"a chip of {chip_size_px} px with {context_px} px on every side is {side_px} px wide"
        yield Finding("context_px", what, f"chip_size_px + 2 * context_px is at most {MAX_SIDE_PX}")


def check_milestones(schedule: str, milestones: Sequence[int], num_epochs: int) -> Iterator[Finding]:
    """Milestones are given where they are used, in order, and lie within the training."""
    if schedule != "multi_step":
        if milestones:
            what = f"is not used where the schedule is {schedule!r}"
            yield Finding("milestones", what, 'leave it out, or set schedule to "multi_step"')
    elif not milestones:
        what = 'the schedule is "multi_step" but not after which epochs the learning rate drops'
        yield Finding("milestones", what, f"write for instance [{max(1, num_epochs // 2)}]")
    for index, (before, milestone) in enumerate(pairwise([0, *milestones])):
        if not before < milestone < num_epochs:
            what = f"{milestone} is not between {before} and the {num_epochs} epochs of the training"
            yield Finding(f"milestones[{index}]", what, "give numbers of epochs that grow")


def is_card_name(text: str) -> bool:
    """Whether a text is the name of a card of weights; else it is the URI of one."""
    return bool(_CARD_NAME.fullmatch(text)) and not text.endswith(".json")


def own_backbone(backbone: str) -> tuple[str, str] | None:
    """(module, callable) of a backbone that is the user's own, `package.module:callable`; None for any other."""
    match = None if backbone.startswith("timm:") else _OWN_BACKBONE.fullmatch(backbone)
    return (match["module"], match["name"]) if match else None


def check_backbone(backbone: str) -> Iterator[Finding]:
    """The backbone is one of ours, one of timm's or the user's own."""
    own = own_backbone(backbone)
    if own is not None and own[0].partition(".")[0] in sys.stdlib_module_names:
        yield Finding("backbone", f"{own[0]!r} is part of Python, and makes no network", "name a module of your own")
    if backbone not in BACKBONES and own is None and not re.fullmatch(r"timm:.+", backbone):
        known = [*BACKBONES, "timm:<name>", "<module>:<callable>"]
        yield Finding("backbone", *unknown_name("backbone", backbone, known))


def check_weights(weights: str | None, init_weights: str | None) -> Iterator[Finding]:
    """Weights come from one place, and a card is named or has a URI that may be saved."""
    if weights is None:
        return
    if init_weights is not None:
        yield Finding(
            "weights", "goes without init_weights", "take the card, or the bare file, and leave out the other"
        )
    if not is_card_name(weights) and (problem := uris.problem_with(weights)):
        yield Finding("weights", f"the URI {problem}")


def check_normalize(normalize: str, weights: str | None) -> Iterator[Finding]:
    """What a card says of pixel values needs a card."""
    if normalize == "weights" and weights is None:
        fix = 'set model.weights, or normalize to "stats"'
        yield Finding("normalize", '"weights" takes mean and standard deviation of a card, and there is none', fix)


def check_subsets(subsets: Sequence[str]) -> Iterator[Finding]:
    """Each subset is named once."""
    for subset in repeated(subsets):
        yield Finding("subsets", f"{subset!r} is given more than once")


def check_dataset(ids: Iterable[tuple[str, str]], *, has_training: bool) -> Iterator[Finding]:
    """There are training scenes, and ids are unique without regard to case over all subsets.

    Args:
        ids: (dotted path, id) of every scene.
        has_training: whether there is a training scene.
    """
    if not has_training:
        yield Finding("train_scenes", "there is no training scene")
    first: dict[str, str] = {}
    for path, scene_id in ids:
        where = first.setdefault(scene_id.casefold(), path)
        if where != path:
            yield Finding(
                f"{path}.id",
                f"scene id {scene_id!r} is also that of {where}",
                "ids name files: make them unique over all subsets, without regard to case",
            )


class SceneFacts(NamedTuple):
    """What the checks of a whole pipeline have to know of a scene.

    Args:
        path: dotted path of the scene in the config.
        subset: "train", "validation" or "test".
        id: of the scene.
        labels: its labels, if it has any.
        channel_order: the channels that are read; None is all of them.
    """

    path: str
    subset: str
    id: str
    labels: LabelsConfig | None
    channel_order: Sequence[int] | None


def check_scenes(scenes: Sequence[SceneFacts], class_names: Sequence[str]) -> Iterator[Finding]:
    """Labels name classes there are, scenes to learn from have labels, and all have as many channels."""
    yield from _check_class_names(scenes, class_names)
    yield from _check_labels_present(scenes)
    yield from _check_channel_counts(scenes)


def _check_class_names(scenes: Sequence[SceneFacts], class_names: Sequence[str]) -> Iterator[Finding]:
    for scene in scenes:
        for place, name in scene.labels.class_names_used() if scene.labels is not None else ():
            if name not in class_names:
                yield Finding(f"{scene.path}.labels.{place}", *unknown_name("class", name, class_names))


def _check_labels_present(scenes: Sequence[SceneFacts]) -> Iterator[Finding]:
    for scene in scenes:
        if scene.labels is None and scene.subset == "train":
            yield Finding(f"{scene.path}.labels", f"training scene {scene.id!r} has no labels")
        if scene.labels is None and scene.subset == "validation":
            what = f"validation scene {scene.id!r} has no labels: it is predicted, and not used for validation"
            yield Finding(f"{scene.path}.labels", what, severity="warning")


def _check_channel_counts(scenes: Sequence[SceneFacts]) -> Iterator[Finding]:
    first: tuple[str, int] | None = None
    for scene in scenes:
        if scene.channel_order is None:
            continue
        count = len(scene.channel_order)
        first = first or (scene.path, count)
        if count != first[1]:
            yield Finding(
                f"{scene.path}.raster.channel_order",
                f"{count} channels, but {first[1]} in {first[0]}",
                "every scene must give the model the same channels",
            )


def check_evaluation(evaluated: Sequence[str], predicted: Sequence[str]) -> Iterator[Finding]:
    """Subsets that are evaluated are predicted."""
    for index, subset in enumerate(evaluated):
        if subset not in predicted:
            yield Finding(
                f"eval.subsets[{index}]", f"{subset!r} is evaluated but not predicted", "add it to predict.subsets"
            )


def check_cell_sizes(scenes: Sequence[SceneFacts], chip_size_px: int, stride_px: int | None) -> Iterator[Finding]:
    """Every scene has cells of one size, that of the model, and predictions can match them."""
    first: tuple[str, int] | None = None
    for scene in scenes:
        path, cell_px = f"{scene.path}.labels", cell_size_px(scene.labels, chip_size_px)
        if first is None:
            first = (path, cell_px)
            yield from _check_cell_against_chip(path, cell_px, chip_size_px, stride_px or cell_px)
        elif cell_px != first[1]:
            what = f"cells of {cell_px} px, but of {first[1]} px in {first[0]}"
            fix = "one model has one cell size; where none is given it is chip.chip_size_px"
            yield Finding(f"{path}.cell_size_px" if scene.labels else path, what, fix)


def _check_cell_against_chip(path: str, cell_px: int, chip_size_px: int, stride_px: int) -> Iterator[Finding]:
    if cell_px % stride_px:
        yield Finding(
            "predict.stride_px",
            f"windows every {stride_px} px can never match all the cells of {cell_px} px of {path}",
            "leave it out, or set it to the cell size or a divisor of it",
        )
    if cell_px != chip_size_px:
        what = f"the model learns from chips of {chip_size_px} px and classifies cells of {cell_px} px"
        yield Finding(f"{path}.cell_size_px", what, "best give both the same size", severity="warning")


def check_class_weights(weights: str | Sequence[float], num_classes: int) -> Iterator[Finding]:
    """Weights that are given are one per class and not negative, and some class counts."""
    if isinstance(weights, str):
        return
    if len(weights) != num_classes:
        what = f"{len(weights)} weights for {num_classes} classes"
        yield Finding("train.class_weights", what, 'give one per class, or "adaptive", "sqrt", "balanced" or "none"')
    elif any(weight < 0 for weight in weights) or not any(weights):
        yield Finding("train.class_weights", f"{weights} are no weights", "give numbers from 0, not all of them 0")
