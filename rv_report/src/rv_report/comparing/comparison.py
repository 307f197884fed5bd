"""What differs between roots, as values. The first root is what the others are compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core import ReportOutcomes
from rv_core.wording import count_text
from rv_report.comparing.differences import Difference, config_differences, mapping_differences
from rv_report.comparing.roots import ComparedRoot

if TYPE_CHECKING:
    from rv_report.comparing.bootstrap import Interval

#: Figures of files are rounded in the last digits where scores are; those of counts are not.
_SAME = 1e-9


@dataclass(frozen=True)
class MetricRow:
    """A metric of one subset.

    Args:
        subset: its name; "" where the pipeline has none.
        metric: its name.
        values: by root, as its files tell it; None where they do not.
        intervals: by root after the first: the difference to the first; None where there is none to be told.
    """

    subset: str
    metric: str
    values: tuple[Any, ...]
    intervals: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Comparison:
    """What differs between roots.

    Args:
        roots: the roots, the first being what the others are compared with.
        config, data, code, versions: where they differ.
        metrics: of each subset.
        notes: how the differences were found, and what cannot be told, a sentence each.
    """

    roots: tuple[ComparedRoot, ...]
    config: tuple[Difference, ...]
    data: tuple[Difference, ...]
    code: tuple[Difference, ...]
    versions: tuple[Difference, ...]
    metrics: tuple[MetricRow, ...]
    notes: tuple[str, ...]


def compared(roots: Sequence[ComparedRoot], *, block_m: float | None = None) -> Comparison:
    """What differs between two roots or more.

    Args:
        roots: the first one is what the others are compared with.
        block_m: side of the blocks of the bootstrap in metres; None to choose it.
    """
    notes = [f"{root.label}: {problem}." for root in roots for problem in root.problems]
    metrics: list[MetricRow] = []
    subsets = dict.fromkeys(subset for root in roots for subset in root.outcomes)
    for subset in subsets:
        rows, said = _metrics(roots, subset, block_m)
        metrics += rows
        notes += said
    if not subsets:
        names = dict.fromkeys(name for root in roots for name in root.numbers)
        nothing = (None,) * (len(roots) - 1)
        metrics += [MetricRow("", name, tuple(root.numbers.get(name) for root in roots), nothing) for name in names]
        notes += _why_no_metrics(roots, bool(names))
    return Comparison(
        roots=tuple(roots),
        config=tuple(config_differences([root.config for root in roots])),
        data=tuple(mapping_differences([root.fingerprints for root in roots])),
        code=tuple(mapping_differences([{"the user's module": root.code} if root.code else {} for root in roots])),
        versions=tuple(mapping_differences([root.versions for root in roots])),
        metrics=tuple(metrics),
        notes=tuple(notes),
    )


def _why_no_metrics(roots: Sequence[ComparedRoot], has_numbers: bool) -> Iterator[str]:
    if has_numbers:
        yield "Numbers are those that the pipelines sum up; no cells are told, so that no interval is claimed."
    else:
        yield "No metrics are compared: no root has an evaluation that an installed plugin tells of."


def _metrics(roots: Sequence[ComparedRoot], subset: str, block_m: float | None) -> tuple[list[MetricRow], list[str]]:
    """The metrics of a subset, and what is to be said of them."""
    found = [root.outcomes.get(subset) for root in roots]
    first, notes = found[0], list[str]()
    intervals: list[Mapping[str, Interval]] = []
    alike: dict[str, list[str]] = {}
    for root, other in zip(roots[1:], found[1:], strict=True):
        if first is None or other is None:
            lacking = roots[0] if first is None else root
            intervals.append({})
            notes.append(f"{subset}: {root.label} is not compared: {lacking.label} has no evaluation of {subset}.")
            continue
        own, said = _paired(first, other, block_m)
        intervals.append(own)
        alike.setdefault(said, []).append(root.label)
    notes += [f"{subset}: {_with_first(labels, roots[0].label)} {said}" for said, labels in alike.items()]
    for root, outcomes in zip(roots, found, strict=True):
        if outcomes is not None and not _is_as_told(outcomes):
            notes.append(
                f"{subset}: the cells of {root.label} give other figures than its files: run eval again (--rerun)."
            )
    names = dict.fromkeys(name for outcomes in found if outcomes is not None for name in outcomes.metrics)
    rows = [
        MetricRow(
            subset,
            name,
            tuple(None if outcomes is None else outcomes.metrics.get(name) for outcomes in found),
            tuple(own.get(name) for own in intervals),
        )
        for name in names
    ]
    return rows, notes


def _with_first(labels: Sequence[str], first: str) -> str:
    """Who has something in common with the first root, each for itself."""
    *most, last = labels
    return f"{', '.join(most)} and {last}, each with {first}," if most else f"{last} and {first}"


def _paired(first: ReportOutcomes, other: ReportOutcomes, block_m: float | None) -> tuple[Mapping[str, Interval], str]:
    """The differences of metrics on the cells that both have, and in words what these are."""
    import numpy as np

    from rv_report.comparing.bootstrap import MIN_BLOCKS, Counts, blocks_of, paired_intervals

    place_of = {cell: place for place, cell in enumerate(other.cells)}
    pairs = [(place, place_of[cell]) for place, cell in enumerate(first.cells) if cell in place_of]
    if not pairs:
        return {}, f"have no cell of {first.subset} in common: scenes or sizes of cells differ."
    here, there = np.array(pairs, np.int64).T
    names = list(dict.fromkeys([*first.classes, *other.classes]))
    truth, predicted = _in_classes(first, here, names)
    other_truth, other_predicted = _in_classes(other, there, names)
    lonlat = np.asarray(first.places, np.float64).reshape(-1, 2)[here]
    blocks = blocks_of(lonlat, np.asarray(first.groups, np.int64)[here], block_m)
    intervals = paired_intervals(
        Counts.of(truth, predicted, blocks, len(names)),
        Counts.of(other_truth, other_predicted, blocks, len(names)),
        names,
    )
    size = f" of {blocks.side_m:,.0f} m" if blocks.side_m else ""
    said = f"have {count_text(len(pairs), 'cell')} in common, in {count_text(blocks.count, 'block')}{size}"
    if blocks.count < MIN_BLOCKS:
        said += f": with fewer than {MIN_BLOCKS} no interval is claimed"
    alone = len(first.cells) + len(other.cells) - 2 * len(pairs)
    said += f"; {count_text(alone, 'cell')} of one alone {'is' if alone == 1 else 'are'} left out" if alone else ""
    relabelled = int((truth != other_truth).sum())
    said += (
        f"; {count_text(relabelled, 'cell')} {'has' if relabelled == 1 else 'have'} another label" if relabelled else ""
    )
    return intervals, f"{said}."


def _in_classes(outcomes: ReportOutcomes, places: Any, names: Sequence[str]) -> tuple[Any, Any]:
    """Truth and prediction of some cells, as numbers of these names."""
    import numpy as np

    numbers = np.array([names.index(name) for name in outcomes.classes], np.int64)
    truth, predicted = (np.asarray(column, np.int64)[places] for column in (outcomes.truth, outcomes.predicted))
    return numbers[truth], numbers[predicted]


def _is_as_told(outcomes: ReportOutcomes) -> bool:
    """Whether the cells give the figures that the files tell."""
    import numpy as np

    from rv_report.comparing.bootstrap import Blocks, Counts, metrics_of

    if not outcomes.cells:
        return True
    truth, predicted = np.asarray(outcomes.truth, np.int64), np.asarray(outcomes.predicted, np.int64)
    one = Blocks(np.zeros(len(truth), np.int64), 0.0)
    own = metrics_of(Counts.of(truth, predicted, one, len(outcomes.classes)), list(outcomes.classes))
    told = [(own[name][0], value) for name, value in outcomes.metrics.items() if name in own and value is not None]
    return all(abs(mine - value) <= _SAME for mine, value in told)
