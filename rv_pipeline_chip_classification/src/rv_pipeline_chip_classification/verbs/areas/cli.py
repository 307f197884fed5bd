"""`rv areas MAP… --sample FILE`: accuracy and areas that may be published, or what is missing for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rv_core.cli.output import print_json, print_table, print_text
from rv_core.errors import UsageError
from rv_pipeline_chip_classification.config_parts import SUBSETS

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.sampling.area_estimates import Estimates
    from rv_pipeline_chip_classification.verbs.areas.map_files import MappedAreas
    from rv_pipeline_chip_classification.verbs.areas.samples import NamedSample

#: A standard error below this is one of rounding.
_NO_ERROR = 1e-9


def areas(
    maps: Annotated[
        list[str],
        typer.Argument(
            metavar="MAP…",
            help="The root of a run, vector files of predicted cells, or a .csv with class,area_ha.",
        ),
    ],
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A probability sample of this map: .csv or .geojson, mapped, reference[, weight]."
        ),
    ] = None,
    draw: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="Draw a sample of N cells instead, to be filled in.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where a drawn sample goes: .geojson or .csv.")
    ] = None,
    subset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Of a root, only scenes of train, validation or test. May be repeated."),
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Of a drawn sample.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate the accuracy of a map and the areas of its classes, with confidence intervals, from a random sample.

    The stratified estimator of Olofsson et al. (2014). Labelled test scenes are no probability sample of a map: from
    them no interval is claimed. Draw a sample, fill in the reference of every unit by looking, and give it back.

    Examples:
      rv areas out --subset test --draw 500 -o sample.geojson

      rv areas out --subset test --sample sample.geojson
    """
    from rv_pipeline_chip_classification.verbs.areas.samples import read_sample

    if sample is not None and draw is not None:
        raise UsageError("--sample and --draw exclude each other", fix="draw first, fill in, then estimate")
    mapped = _read(maps, subset)
    if draw is not None:
        _draw(mapped, draw, output, seed)
        return
    found = read_sample(sample, mapped) if sample is not None else None
    if found is None:
        _show_mapped(mapped, as_json=as_json)
    else:
        _show_estimates(mapped, found, confidence, as_json=as_json)


def _read(maps: list[str], subsets: list[str] | None) -> MappedAreas:
    from rv_pipeline_chip_classification.verbs.areas.map_files import is_root, read_area_table, read_predicted

    files: list[str] = []
    if subsets and not all(map(is_root, maps)):
        name = next(name for name in maps if not is_root(name))
        fix = "name the root of a run, or only the files of these scenes"
        raise UsageError(f"of {name} it is not known which subset its cells are of", where="--subset", fix=fix)
    tables = [name for name in maps if name.lower().endswith(".csv")]
    if tables and len(maps) > 1:
        raise UsageError("a table of areas is a whole map", where=tables[0], fix="name it alone")
    if tables:
        return read_area_table(tables[0])
    for name in maps:
        files += _predictions_of(name, subsets) if is_root(name) else [name]
    return read_predicted(files)


def _predictions_of(root: str, subsets: list[str] | None) -> list[str]:
    """The predictions of a run, of the scenes that its config has predicted."""
    from rv_core.errors import unknown_name
    from rv_core.files import uris
    from rv_pipeline_chip_classification.maps.formats import ENDINGS
    from rv_pipeline_chip_classification.prediction.cell_scores import prediction_names
    from rv_pipeline_chip_classification.verbs.experiment import load_experiment

    for subset in subsets or ():
        if subset not in SUBSETS:
            what, fix = unknown_name("subset", subset, SUBSETS)
            raise UsageError(what, fix=fix)
    config = load_experiment(root, None, None)
    if config.predict.vector == "none":
        what = "this run wrote no vector file of its cells, from which areas are worked out"
        fix = 'set predict.vector to "geojson", or to another format, and run predict again'
        raise UsageError(what, where=root, why="predict.vector is 'none'", fix=fix)
    wanted = [subset for subset in (subsets or config.predict.subsets) if subset in config.predict.subsets]
    found = [
        uris.join(root, prediction_names(scene.id).vector(ENDINGS[config.predict.vector]))
        for subset in wanted
        for scene in config.dataset.scenes_of(subset)
    ]
    if not found:
        raise UsageError("no scene of these subsets is predicted", where=root, fix="look at predict.subsets")
    return found


def _draw(mapped: MappedAreas, num_units: int, output: Path | None, seed: int) -> None:
    import numpy as np

    from rv_pipeline_chip_classification.verbs.areas.samples import draw, write_sample

    if output is None:
        raise UsageError("--draw needs a file", fix="add -o sample.geojson, or sample.csv")
    units = draw(mapped, num_units, seed)
    assert mapped.cells is not None
    write_sample(output, mapped, mapped.cells, units.tolist())
    counts = np.bincount(mapped.cells.classes[units], minlength=len(mapped.class_names)).tolist()
    rows = [
        [name, str(count), f"{area / 1e4:,.1f}"]
        for name, count, area in zip(mapped.class_names, counts, mapped.areas_m2.tolist(), strict=True)
    ]
    print_table(["class", "drawn", "mapped ha"], rows)
    _print_notes(mapped)
    print_text(
        f"{len(units)} cells, drawn at random in each class (seed {seed}) -> {output}. Fill in the reference of every one of them "
        "without looking at the map, then: rv areas … --sample FILE"
    )


def _show_mapped(mapped: MappedAreas, *, as_json: bool) -> None:
    why = (
        "No interval is claimed: there is no probability sample. Labelled scenes that somebody chose, such as test "
        "scenes, are none, and areas of a map are off by its errors."
    )
    if as_json:
        classes = [
            {"class_name": name, "mapped_ha": area / 1e4}
            for name, area in zip(mapped.class_names, mapped.areas_m2.tolist(), strict=True)
        ]
        print_json({"classes": classes, "is_probability_sample": False, "notes": [*mapped.notes, why]})
        return
    total = float(mapped.areas_m2.sum())
    rows = [
        [name, f"{area / 1e4:,.1f}", f"{area / total:.1%}"]
        for name, area in zip(mapped.class_names, mapped.areas_m2.tolist(), strict=True)
    ]
    print_table(["class", "mapped ha", "share"], rows)
    _print_notes(mapped)
    print_text(f"{why} Draw one with --draw N -o sample.geojson, and give it back with --sample.")


def _print_notes(mapped: MappedAreas) -> None:
    for note in mapped.notes:
        print_text(f"  {note}")


def _show_estimates(mapped: MappedAreas, found: NamedSample, confidence: float, *, as_json: bool) -> None:
    from rv_pipeline_chip_classification.sampling.area_estimates import estimate, half_width, unsampled_strata

    lacking = [found.class_names[number] for number in unsampled_strata(found.areas_m2, found.sample)]
    if lacking:
        why = f"fewer than two units were drawn in {', '.join(lacking)}"
        fix = "draw at least two, better 50, in every class of the map"
        raise UsageError("the sample does not cover the map", why=why, fix=fix)
    its = estimate(found.areas_m2, found.sample)
    width = half_width(confidence)
    if as_json:
        print_json(_report(mapped, found, its, confidence, width))
        return
    rows = [_row(found, its, number, width) for number in range(len(found.class_names))]
    print_table(["class", "units", "mapped ha", "area ha", "user's accuracy", "producer's accuracy"], rows)
    print_text(
        f"overall accuracy {its.overall:.2f} ± {width * its.overall_error:.2f}; intervals of {confidence:.0%}, stratified "
        "estimator of Olofsson et al. (2014), for units drawn at random in each class of this map"
    )
    for note in [*mapped.notes, *_doubts(found, its)]:
        print_text(f"  {note}")


def _row(found: NamedSample, its: Estimates, number: int, width: float) -> list[str]:
    total_ha = float(found.areas_m2.sum()) / 1e4
    return [
        found.class_names[number],
        str(int(its.counts[number].sum())),
        f"{found.areas_m2[number] / 1e4:,.0f}",
        f"{its.shares[number] * total_ha:,.0f} ± {width * its.share_errors[number] * total_ha:,.0f}",
        _accuracy(its.users[number], width * its.user_errors[number]),
        _accuracy(its.producers[number], width * its.producer_errors[number]),
    ]


def _accuracy(value: float, half: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f} ± {half:.2f}"


def _doubts(found: NamedSample, its: Estimates) -> list[str]:
    from rv_pipeline_chip_classification.sampling.area_estimates import FEW_UNITS

    counts = its.counts.sum(axis=1).tolist()
    few = [
        f"{name} ({count})"
        for name, count, area in zip(found.class_names, counts, found.areas_m2.tolist(), strict=True)
        if area > 0 and count < FEW_UNITS
    ]
    sure = [name for name, error in zip(found.class_names, its.user_errors.tolist(), strict=True) if error < _NO_ERROR]
    notes = [f"fewer than {FEW_UNITS} units in {', '.join(few)}: these intervals are rough"] if few else []
    if sure:
        notes.append(
            f"all units of {', '.join(sure)} agree: an interval of 0 says that the sample is small, not that all is right"
        )
    return notes


def _report(mapped: MappedAreas, found: NamedSample, its: Estimates, confidence: float, width: float) -> dict[str, Any]:
    total_ha = float(found.areas_m2.sum()) / 1e4

    def pair(value: float, error: float, factor: float = 1.0) -> dict[str, float] | None:
        return (
            None if math.isnan(value) else {"value": float(value * factor), "half_width": float(width * error * factor)}
        )

    classes = [
        {
            "class_name": name,
            "units": int(its.counts[number].sum()),
            "mapped_ha": float(found.areas_m2[number]) / 1e4,
            "area_ha": pair(its.shares[number], its.share_errors[number], total_ha),
            "users_accuracy": pair(its.users[number], its.user_errors[number]),
            "producers_accuracy": pair(its.producers[number], its.producer_errors[number]),
        }
        for number, name in enumerate(found.class_names)
    ]
    return {
        "classes": classes,
        "overall_accuracy": pair(its.overall, its.overall_error),
        "confidence": confidence,
        "is_probability_sample": True,
        "error_matrix": its.counts.tolist(),
        "notes": [*mapped.notes, *_doubts(found, its)],
    }
