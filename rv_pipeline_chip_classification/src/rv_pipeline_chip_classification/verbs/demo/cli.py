"""`rv demo DIR`: write an experiment, run it with the real CLI, and show what came out."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from rv_core.errors import EXIT_DONE, UsageError

NUM_EPOCHS = 20


def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where experiment.py and its results go.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Real scenes: a folder with scenes.csv and classes.json (default: generated ones)."),
    ] = None,
    runner: Annotated[str, typer.Option(help="The runner to use.")] = "local",
    splits: Annotated[int, typer.Option("--splits", "--split", "-s", help="Tasks per splittable command.")] = 2,
    num_epochs: Annotated[
        int, typer.Option(help="Passes over the training chips, written into experiment.py.")
    ] = NUM_EPOCHS,
) -> None:
    """Write an example experiment, run it, and show what came out.

    Without --data the scenes are synthetic, generated on the spot. The folder is yours: change experiment.py and run
    the same command again; only what must be done again is.

    Examples:
      rv demo out

      rv demo out --data my-scenes --splits 4
    """
    from rv_pipeline_chip_classification.verbs.demo import synthetic
    from rv_pipeline_chip_classification.verbs.demo.experiment import read_data_set

    folder = folder.absolute()
    _make_folder(folder)
    if data is None:
        synthetic.write_scenes(folder / "data")
    data_set = read_data_set((data or folder / "data").absolute(), is_synthetic=data is None)
    module = folder / "experiment.py"
    root = folder / "results"
    _write_module(module, data_set, root, num_epochs)
    command = ["rv", "run", runner, str(module), "--splits", str(splits)]
    if runner not in ("inprocess", "local"):
        command.append("--wait")  # others may only submit, and the results are to be shown
    typer.echo(f"$ {shlex.join(command)}", color=None)
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-P", "-m", "rv_core", *command[1:]], check=False).returncode
    if code != EXIT_DONE:
        raise typer.Exit(code)
    _show_results(root, data_set.is_synthetic)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"the demo cannot be written to {folder}", why=str(error.strerror), fix="name another folder"
        ) from error


def _write_module(module: Path, data_set: Any, root: Path, num_epochs: int) -> None:
    """Write experiment.py, unless there is one already: what the user made of it is kept."""
    from rv_pipeline_chip_classification.verbs.demo.experiment import render

    if module.exists():
        typer.echo(f"using {module} as it is (delete it to get a new one)")
        return
    module.write_text(render(data_set, root, num_epochs=num_epochs), encoding="utf-8")
    typer.echo(f"wrote {module}")


def _show_results(root: Path, is_synthetic: bool) -> None:
    config = json.loads((root / "pipeline-config.json").read_text(encoding="utf-8"))["config"]
    test_scenes = config["dataset"]["test_scenes"]
    pictures = _write_pictures(root, config, is_synthetic)
    label = " (synthetic scenes: these figures say nothing about real ones)" if is_synthetic else ""
    typer.echo(f"\nResults are in {root}{label}")
    for line in score_lines(root, config["classes"]["names"], [s["id"] for s in config["dataset"]["train_scenes"]]):
        typer.echo(f"  {line}")
    for picture in pictures:
        typer.echo(f"  image | truth | prediction: {picture}")
    typer.echo(f"  map of {test_scenes[0]['id']}: {root / 'predict' / (test_scenes[0]['id'] + '.tif')} (or .geojson)")
    bundle, image = root / "bundle" / "model-bundle.zip", test_scenes[0]["raster"]["uris"][0]
    typer.echo("\nClassify a new image of the same sensor:")
    typer.echo(f"  rv predict {shlex.quote(str(bundle))} {shlex.quote(image)} -o {shlex.quote(str(root / 'new'))}")


def score_lines(root: Path, class_names: list[str], train_ids: list[str]) -> list[str]:
    """Test accuracy beside that of the constant answer (the commonest training class), and F1 per class."""
    overall = json.loads((root / "eval" / "test" / "eval.json").read_text(encoding="utf-8"))["overall"]
    support = {entry["class_id"]: entry["support"] for entry in overall["classes"]}
    counts = _class_counts(root, train_ids, len(class_names))
    commonest = max(range(len(class_names)), key=lambda class_id: (counts[class_id], -class_id))
    constant = support.get(commonest, 0) / max(1, sum(support.values()))
    lines = [
        (
            f"test accuracy {overall['accuracy']:.3f} on {sum(support.values())} cells"
            f" (always {class_names[commonest]!r}: {constant:.3f}); macro F1 {overall['macro']['f1']:.3f}"
        )
    ]
    width = max(len(name) for name in class_names)
    for entry in overall["classes"]:
        f1 = "  –  " if entry["f1"] is None else f"{entry['f1']:.3f}"
        lines.append(f"  {entry['class_name']:<{width}}  F1 {f1}  ({entry['support']} cells)")
    return lines


def _class_counts(root: Path, train_ids: list[str], num_classes: int) -> list[int]:
    """Number of training chips per class."""
    counts = [0] * num_classes
    for scene_id in train_ids:
        with open(root / "chip" / f"{scene_id}.jsonl", encoding="utf-8") as file:
            for line in file:
                counts[json.loads(line)["class_id"]] += 1
    return counts


def _write_pictures(root: Path, config: dict[str, Any], is_synthetic: bool) -> list[Path]:
    """A quicklook per test scene; one that is newer than its prediction is left alone."""
    pictures = []
    for scene in config["dataset"]["test_scenes"]:
        prediction = root / "predict" / f"{scene['id']}.geojson"
        picture = root / "quicklook" / f"{scene['id']}.png"
        if not picture.exists() or picture.stat().st_mtime < prediction.stat().st_mtime:
            _write_picture(root, config, scene["id"], picture, is_synthetic)
        pictures.append(picture)
    return pictures


def _write_picture(root: Path, config: dict[str, Any], scene_id: str, picture: Path, is_synthetic: bool) -> None:
    """Image, truth and prediction of one scene as a PNG."""
    from rv_core.config.saved import parse
    from rv_pipeline_chip_classification.commands.quicklook import write_quicklook
    from rv_pipeline_chip_classification.config import ChipClassificationConfig

    saved = root / "pipeline-config.json"
    loaded: Any = parse(saved.read_text(encoding="utf-8"), source=str(saved), expected=ChipClassificationConfig).config
    write_quicklook(
        next(scene for scene in loaded.dataset.test_scenes if scene.id == scene_id),
        loaded.classes,
        loaded.chip,
        predictions=root / "predict" / f"{scene_id}.geojson",
        target=picture,
        title=f"{config['name']}: {scene_id}" if config.get("name") else scene_id,
        note="synthetic" if is_synthetic else "",
    )
