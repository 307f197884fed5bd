"""The command line of `rv labels`; the modules that do the work are imported when a sub-command runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rv_core.cli.output import print_json, print_table, print_text
from rv_core.errors import UsageError

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.verbs.labels.explanation import Explanation

app = typer.Typer(name="labels", help="Look at the labels of an experiment.", rich_markup_mode=None)

Module = Annotated[
    str,
    typer.Argument(metavar="MODULE", help="As for rv run, or a saved pipeline-config.json, or the folder of a root."),
]
Arguments = Annotated[
    list[str] | None,
    typer.Option(
        "-a", "--arg", metavar="KEY VALUE", help="An argument of get_config; also KEY=VALUE. May be repeated."
    ),
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the config.")]
Scenes = Annotated[list[str] | None, typer.Option("--scene", metavar="ID", help="Only this scene. May be repeated.")]
Subsets = Annotated[
    list[str] | None,
    typer.Option("--subset", metavar="NAME", help="Only scenes of train, validation or test. May be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _labels() -> None:
    """Look at the labels of an experiment: histograms, the cells as a layer, why a cell has its class, what to mend."""


@app.command()
def report(
    module: Module,
    arg: Arguments = None,
    sets: Sets = None,
    scene: Scenes = None,
    subset: Subsets = None,
    as_json: AsJson = False,
) -> None:
    """Print the cells of each class per scene and subset, what is not used and why, and what other settings change.

    Of images only headers are read: cells and chips without valid pixels are counted too.

    Example:
      rv labels report experiment.py -a data my-data
    """
    from rv_pipeline_chip_classification.verbs.experiment import labelled_scenes, load_experiment
    from rv_pipeline_chip_classification.verbs.labels.report import labels_of, report_json, report_lines, report_rows

    config = load_experiment(module, arg, sets)
    found = [labels_of(entry) for entry in labelled_scenes(config, scene, subset)]
    if as_json:
        print_json(report_json(found, config))
        return
    print_table(*report_rows(found, config.classes.names))
    for line in report_lines(found):
        print_text(line)


@app.command()
def export(
    module: Module,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where SCENE.geojson go.")],
    arg: Arguments = None,
    sets: Sets = None,
    scene: Scenes = None,
    subset: Subsets = None,
) -> None:
    """Write every cell as a GeoJSON layer: its class, how it came to it, or why it has none.

    Change class_name in a GIS program and use the file as labels: GeoJsonLabelsConfig(uri=…).

    Example:
      rv labels export experiment.py -o cells --subset train
    """
    from rv_pipeline_chip_classification.verbs.experiment import boundary_of, labelled_scenes, load_experiment
    from rv_pipeline_chip_classification.verbs.labels.cell_table import cell_table, open_scene
    from rv_pipeline_chip_classification.verbs.labels.layer import layer_lines, refuse_to_replace_inputs, write_layer

    config = load_experiment(module, arg, sets)
    entries = labelled_scenes(config, scene, subset)
    refuse_to_replace_inputs(output, entries)
    for entry in entries:
        with boundary_of(entry), open_scene(entry.scene, config.classes, config.chip) as opened:
            table = cell_table(opened, config.chip)
            target = output / f"{entry.scene.id}.geojson"
            write_layer(target, layer_lines(opened, table, entry.subset))
        print_text(f"{target}: {len(table.windows)} cells, {int(table.is_used.sum())} with a class")


@app.command()
def explain(
    module: Module,
    cell: Annotated[
        str | None, typer.Option(metavar="ROW,COL", help="The cell in this row and column of the grid, from 0.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="LON,LAT", help="The cells at this place (x,y in pixels without a CRS).")
    ] = None,
    arg: Arguments = None,
    sets: Sets = None,
    scene: Scenes = None,
    subset: Subsets = None,
    as_json: AsJson = False,
) -> None:
    """Say why a cell has its class: each polygon that meets it with its intersection over area, and which one won.

    Examples:
      rv labels explain experiment.py --scene a --cell 3,7

      rv labels explain experiment.py --at=-113.02,37.21
    """
    from rv_pipeline_chip_classification.verbs.experiment import boundary_of, labelled_scenes, load_experiment
    from rv_pipeline_chip_classification.verbs.labels.cell_table import cell_table, open_scene
    from rv_pipeline_chip_classification.verbs.labels.explanation import explain as explain_cell
    from rv_pipeline_chip_classification.verbs.labels.explanation import find_cell, find_place

    if (cell is None) == (at is None):
        raise UsageError("name one cell", fix="write --cell ROW,COL or --at LON,LAT")
    first, second = _pair(cell if cell is not None else str(at), "--cell" if cell is not None else "--at")
    config = load_experiment(module, arg, sets)
    entries = labelled_scenes(config, scene, subset)
    if cell is not None and len(entries) > 1:
        names = ", ".join(entry.scene.id for entry in entries[:10])
        raise UsageError("--cell needs one scene", why=f"there are {names}", fix="add --scene ID")
    found = []
    for entry in entries:
        with boundary_of(entry), open_scene(entry.scene, config.classes, config.chip) as opened:
            table = cell_table(opened, config.chip)
            number = find_place(opened, table, first, second) if at else find_cell(table, int(first), int(second))
            if number is not None:
                found.append(explain_cell(opened, table, number))
    if not found:
        raise UsageError(f"no cell of a scene with labels lies at {at}", fix="write longitude, then latitude")
    if as_json:
        print_json([asdict(its) for its in found])
        return
    for its in found:
        _print(its)


@app.command()
def review(
    module: Module,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where SCENE.geojson go.")],
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROOT",
            help="A root whose model has not seen the scenes (a fold), or a folder of SCENE.geojson (default: the config's root).",
        ),
    ] = None,
    doubtful: Annotated[
        str, typer.Option(metavar="N", help="Labels to look at again, a number or a share of those with scores.")
    ] = "5%",
    num_next: Annotated[
        int, typer.Option("--next", min=0, metavar="N", help="Cells without a label to label next.")
    ] = 50,
    arg: Arguments = None,
    sets: Sets = None,
    scene: Scenes = None,
) -> None:
    """Write the cells as layers with a rank for labels that scores contradict, and for cells to label next.

    Scores of scenes that the model was trained on say nothing of their labels: these are left out. Name the roots of
    folds to have scores of all scenes. In a GIS program sort by doubt_rank or next_rank, change class_name, and use the
    file as labels: GeoJsonLabelsConfig(uri=…, use_intersection_over_cell=True).

    Example:
      rv labels review experiment.py -o review --predictions fold-1 --predictions fold-2
    """
    from rv_pipeline_chip_classification.verbs.experiment import all_scenes, load_experiment
    from rv_pipeline_chip_classification.verbs.labels.layer import refuse_to_replace_inputs
    from rv_pipeline_chip_classification.verbs.labels.review import find_scores, write_review

    config = load_experiment(module, arg, sets)
    entries = all_scenes(config, scene)
    refuse_to_replace_inputs(output, entries)
    scores, in_training = find_scores(entries, predictions or [config.root_uri])
    if in_training:
        shown = ", ".join(in_training[:10]) + (", …" if len(in_training) > 10 else "")
        print_text(f"left out, for the model was trained on them: {shown} (--predictions with roots of folds)")
    if not scores:
        raise UsageError("no scene has scores of a model that was not trained on it", fix="run predict first")
    for its in write_review(config, entries, scores, output, doubtful=doubtful, num_next=num_next):
        print_text(
            f"{its.target}: {its.num_scored} of {its.num_cells} cells have scores; {its.num_doubtful} doubtful labels, "
            f"{its.num_next} to label next"
        )


def _pair(text: str, option: str) -> tuple[float, float]:
    words = text.split(",")
    try:
        first, second = (int(word) if option == "--cell" else float(word) for word in words)
    except ValueError as err:
        shown = "ROW,COL, two whole numbers" if option == "--cell" else "LON,LAT, two numbers"
        raise UsageError(f"{option} {text!r} is no place", fix=f"write {option}={shown}") from err
    return float(first), float(second)


def _print(its: Explanation) -> None:
    from rv_pipeline_chip_classification.verbs.labels.explanation import table_of

    place = f"cell {its.row},{its.col}" if its.row >= 0 else "the cell"
    top, left, height, width = its.window
    box = f"pixels {top}:{top + height}, {left}:{left + width}"
    name = repr(its.class_name) if its.class_name is not None else "no class"
    outside = "" if its.in_aoi else ", and is not used: it is outside the AOI"
    print_text(f"scene {its.scene_id!r}, {place} ({box}) has {name} ({its.reason}){outside}")
    print_text(f"  {its.settings}")
    if its.rows:
        print_table(*table_of(its.rows))
    else:
        print_text("  nothing of the labels lies in it")
