"""`rv demo DIR`: write an experiment, run it with the real CLI, and show what came out."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rv_core.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    from rv_core.cli.state import GlobalOptions

NUM_EPOCHS = 20


def demo(
    ctx: typer.Context,
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
    no_run: Annotated[bool, typer.Option("--no-run", help="Write scenes and experiment.py, and run nothing.")] = False,
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

    state: GlobalOptions = ctx.obj
    is_quiet = state.verbosity < 0
    folder = folder.absolute()
    _make_folder(folder)
    if data is None:
        synthetic.write_scenes(folder / "data")
    data_set = read_data_set((data or folder / "data").absolute(), is_synthetic=data is None)
    module = folder / "experiment.py"
    root = folder / "results"
    _write_module(module, data_set, root, num_epochs, is_quiet=is_quiet)
    command = ["rv", *_global_words(state), "run", runner, str(module), "--splits", str(splits)]
    if runner not in ("inprocess", "local"):
        command.append("--wait")  # others may only submit, and the results are to be shown
    if not is_quiet:
        typer.echo(f"{'to run it:' if no_run else '$'} {shlex.join(command)}", color=None)
    if no_run:
        return
    sys.stdout.flush()
    code = subprocess.run([sys.executable, "-P", "-m", "rv_core", *command[1:]], check=False).returncode
    if code != EXIT_DONE:
        raise typer.Exit(code)
    if is_quiet:
        return
    label = " (synthetic scenes: these figures say nothing about real ones)" if data_set.is_synthetic else ""
    typer.echo(f"\nResults are in {root}{label}")


def _global_words(state: GlobalOptions) -> list[str]:
    """The options that every verb has, as they were given here."""
    words = ["--profile", state.profile] if state.profile else []
    words += ["-q"] if state.verbosity < 0 else ["-v"] * state.verbosity
    return [*words, "--traceback"] if state.traceback else words


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"the demo cannot be written to {folder}", why=str(error.strerror), fix="name another folder"
        ) from error


def _write_module(module: Path, data_set: Any, root: Path, num_epochs: int, *, is_quiet: bool) -> None:
    """Write experiment.py, unless there is one already: what the user made of it is kept."""
    from rv_pipeline_chip_classification.verbs.demo.experiment import render

    said = f"using {module} as it is (delete it to get a new one)"
    if not module.exists():
        module.write_text(render(data_set, root, num_epochs=num_epochs), encoding="utf-8")
        said = f"wrote {module}"
    if not is_quiet:
        typer.echo(said)
