"""`rv split scenes.csv --blocks 5km --buffer 200m`: subsets that lie apart, with equal shares of every class."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_json, print_table, print_text
from rv_core.errors import UsageError

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.sampling.blocks import Split
    from rv_pipeline_chip_classification.verbs.splitting.scene_table import SceneFacts, SceneTable

SUBSETS = ("train", "val", "test")
_LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(m|km)?", re.IGNORECASE)
#: A share of a class that is further off than this is told.
_TOLERATED = 0.10
#: Distances in a projection are off by a few parts in ten thousand.
_BUFFER_MARGIN = 1.001
_NAMED = 10


def split(
    scenes: Annotated[Path, typer.Argument(metavar="SCENES.CSV", help="A table: scene_id, image, labels.")],
    blocks: Annotated[
        str, typer.Option(metavar="LENGTH", help="Side of a block, such as 5km: its scenes stay together.")
    ],
    buffer: Annotated[
        str, typer.Option(metavar="LENGTH", help="No scenes of two subsets lie nearer than this, such as 200m.")
    ] = "0m",
    shares: Annotated[
        str, typer.Option(metavar="TRAIN,VAL,TEST", help="What of every class each subset gets.")
    ] = "0.6,0.2,0.2",
    seed: Annotated[int, typer.Option(min=0, help="Of the search for a good way.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where the table goes (default: NAME.split.csv beside it)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The shares as JSON.")] = False,
) -> None:
    """Split scenes into train, val and test by spatial blocks, so that every subset has its share of every class.

    The table is written again with a column `split`. Scenes nearer than the buffer to one of another subset are left
    out (`split` is empty), those of the subset with the larger share first. Class values get names from a classes.json
    beside the table.

    Example:
      rv split scenes.csv --blocks 5km --buffer 200m --shares 0.6,0.2,0.2
    """
    from rv_pipeline_chip_classification.verbs.splitting.scene_table import (
        look_at_scenes,
        read_scene_table,
        write_scene_table,
    )

    block_m, buffer_m = length_m(blocks, "--blocks"), length_m(buffer, "--buffer")
    if block_m <= 0:
        raise UsageError("--blocks is 0", fix="write a length such as 5km")
    wanted = parse_shares(shares)
    target = output or scenes.with_name(f"{scenes.stem}.split.csv")
    if target.exists() and target.samefile(scenes):
        raise UsageError("the table would replace the one that it is made of", where=str(target), fix="name another -o")
    table = read_scene_table(scenes)
    facts = look_at_scenes(table)
    classes = sorted({name for its in facts for name in its.areas_m2})
    found, num_blocks = split_scenes(facts, classes, wanted, block_m=block_m, buffer_m=buffer_m, seed=seed)
    names = ["" if subset < 0 else SUBSETS[subset] for subset in found.subsets.tolist()]
    write_scene_table(table, target, names)
    if as_json:
        print_json(_report(table, names, found, classes, str(target)))
    else:
        _tell(table, names, found, classes, wanted, f"{num_blocks} blocks of {blocks}", str(target))


def length_m(text: str, option: str) -> float:
    """A length such as `5km`, `200m` or `200`, in metres.

    Raises:
        UsageError: if it is none.
    """
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text!r} is no length", fix="write metres or kilometres, such as 200m or 5km")
    return float(match[1]) * (1000.0 if (match[2] or "m").lower() == "km" else 1.0)


def parse_shares(text: str) -> tuple[float, ...]:
    """Shares of train, val and test.

    Raises:
        UsageError: if these are not three numbers that add up to 1.
    """
    fix = "write three numbers that add up to 1, such as 0.6,0.2,0.2; 0 leaves a subset empty"
    try:
        shares = tuple(float(word) for word in text.split(","))
    except ValueError as err:
        raise UsageError(f"--shares {text!r} are no numbers", fix=fix) from err
    if len(shares) != len(SUBSETS) or not all(0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1):
        raise UsageError(f"--shares {text!r} are no shares of {', '.join(SUBSETS)}", fix=fix)
    return shares


def split_scenes(
    facts: Sequence[SceneFacts],
    classes: Sequence[str],
    shares: Sequence[float],
    *,
    block_m: float,
    buffer_m: float,
    seed: int,
) -> tuple[Split, int]:
    """Subsets of scenes, and how many blocks they lie in; a scene lies in the block of its middle.

    Args:
        facts: of the scenes.
        classes: every class in them.
        shares: wanted shares of the subsets.
        block_m: side of a block.
        buffer_m: scenes of two subsets lie further apart than this; of 0, they share no ground.
        seed: of the search.
    """
    import numpy as np
    import shapely

    from rv_pipeline_chip_classification.ground.equal_area import middle_of, projected
    from rv_pipeline_chip_classification.ground.footprints import near_pairs
    from rv_pipeline_chip_classification.sampling.blocks import block_numbers, split_blocks

    outlines = np.array([its.footprint.outline for its in facts], object)
    flat = projected(outlines, middle_of(shapely.get_coordinates(outlines)))
    middles = shapely.get_coordinates(shapely.centroid(flat))
    numbers = block_numbers(middles, block_m)
    amounts = np.array([[its.areas_m2.get(name, 0.0) for name in classes] for its in facts])
    pairs = near_pairs([its.footprint for its in facts], within_m=buffer_m * _BUFFER_MARGIN)
    too_near = [(pair.one, pair.other) for pair in pairs if buffer_m > 0 or pair.shared_m2 > 1e-3]
    near = np.array(too_near, np.int64).reshape(-1, 2)
    return split_blocks(numbers, amounts, near, shares, seed=seed), int(numbers.max()) + 1


def _tell(
    table: SceneTable,
    names: Sequence[str],
    found: Split,
    classes: Sequence[str],
    wanted: Sequence[float],
    blocks: str,
    target: str,
) -> None:
    counts = [names.count(subset) for subset in SUBSETS]
    rows = [("scenes", *map(str, counts))]
    for number, name in enumerate(classes):
        rows.append((name, *(_percent(found.shares[subset, number]) for subset in range(len(SUBSETS)))))
    print_table(("", *(f"{name} ({share:.0%})" for name, share in zip(SUBSETS, wanted, strict=True))), rows)
    left_out = [row["scene_id"] for row, name in zip(table.rows, names, strict=True) if not name]
    if left_out:
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        print_text(
            f"{len(left_out)} of {len(names)} scenes are left out, for they lie inside the buffer of another subset: "
            f"{', '.join(left_out[:_NAMED])}{more}"
        )
    for text in _misses(found, classes, wanted):
        print_text(text)
    print_text(f"{len(names)} scenes in {blocks} -> {target}")


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{share:.1%}"


def _misses(found: Split, classes: Sequence[str], wanted: Sequence[float]) -> list[str]:
    """Which shares could not be had."""
    off = [
        name
        for number, name in enumerate(classes)
        if any(abs(found.shares[subset, number] - share) > _TOLERATED for subset, share in enumerate(wanted))
    ]
    empty = [
        SUBSETS[number] for number, share in enumerate(wanted) if share > 0 and not (found.subsets == number).any()
    ]
    texts = [f"There is no scene for {', '.join(empty)}: choose smaller blocks or a smaller buffer."] if empty else []
    if off:
        more = f", and {len(off) - _NAMED} more" if len(off) > _NAMED else ""
        texts.append(
            f"Shares are off by more than 10 points of {', '.join(off[:_NAMED])}{more}: so few blocks hold it. Smaller "
            "blocks, a smaller buffer or another --seed may help."
        )
    return texts


def _report(
    table: SceneTable, names: Sequence[str], found: Split, classes: Sequence[str], target: str
) -> dict[str, object]:
    shares = {
        name: {
            subset: None if math.isnan(found.shares[number, column]) else float(found.shares[number, column])
            for number, subset in enumerate(SUBSETS)
        }
        for column, name in enumerate(classes)
    }
    by_scene = {row["scene_id"]: name or None for row, name in zip(table.rows, names, strict=True)}
    return {"table": target, "subsets": by_scene, "shares": shares}
