"""`rv predict BUNDLE IMAGE… -o DIR`: classify images with a model bundle."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rv_core.cli.state import GlobalOptions


class Augment(StrEnum):
    """How often a cell is scored."""

    none = "none"
    d4 = "d4"


class Overlap(StrEnum):
    """What becomes of cells that overlap."""

    separate = "separate"
    average = "average"


class Precision(StrEnum):
    """The numbers of a forward pass."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Vector(StrEnum):
    """The format of the file of cells."""

    none = "none"
    geojson = "geojson"
    geojsonseq = "geojsonseq"
    gpkg = "gpkg"
    fgb = "fgb"
    parquet = "parquet"


class OnDrift(StrEnum):
    """What happens where the values of an image are not those of the training images."""

    warn = "warn"
    refuse = "refuse"
    ignore = "ignore"


def predict(
    ctx: typer.Context,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A model-bundle.zip, or its URI.")],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE…", help="Images that GDAL reads, or @FILE with one per line.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Where the predictions go.")],
    channel_order: Annotated[
        str | None,
        typer.Option(
            metavar="2,1,0",
            help="0-based channels of the images in the model's order (default: by band names, else as in training).",
        ),
    ] = None,
    nodata: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help='The pixel value that means "no data", or "none" for what a file declares (default: as in training).',
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Windows per forward pass at most.")] = 256,
    stride_px: Annotated[
        int | None,
        typer.Option("--stride-px", min=1, metavar="N", help="Step between cells (default: that of the bundle)."),
    ] = None,
    vector: Annotated[
        Vector, typer.Option(help="The file of cells; gpkg, fgb and parquet need the extra vector.")
    ] = Vector.geojson,
    geotiff: Annotated[bool, typer.Option("--geotiff/--no-geotiff", help="Write GeoTIFFs beside it.")] = True,
    on_drift: Annotated[
        OnDrift,
        typer.Option(
            help="Where values of an image are not those of the training images: tell, refuse it, or not look."
        ),
    ] = OnDrift.warn,
    update_stats: Annotated[
        bool, typer.Option("--update-stats", help="Normalise each image by the statistics of its own pixels.")
    ] = False,
    abstain_below: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, metavar="P", help="No class for a cell whose best one has a lower probability."),
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Write logits, not the probabilities of classes.")] = False,
    augment: Annotated[
        Augment, typer.Option(help="d4: score each cell in the eight symmetries of the square, and take the mean.")
    ] = Augment.none,
    overlap: Annotated[
        Overlap,
        typer.Option(
            help="Where cells overlap (--stride-px): average their scores onto cells as wide as the step, or keep each."
        ),
    ] = Overlap.separate,
    smooth: Annotated[
        int,
        typer.Option(min=1, max=99, metavar="N", help="Average the scores of each cell over N x N cells (N is odd)."),
    ] = 1,
    precision: Annotated[
        Precision,
        typer.Option(
            help="Of the forward pass: auto is float32 on a CPU and bfloat16 or float16 on a GPU. bfloat16 gains on a CPU "
            "only where it has instructions for it."
        ),
    ] = Precision.float32,
    runner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Map the images as a run of this runner, with DIR as its root: they go to DIR/predict, what is done is "
            "skipped, rv status shows it.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            metavar="N",
            help="Tasks of that run (default: the cores); alone: of the runner local.",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CALLABLE",
            help="The network of your own that the bundle may call (default: none, no code but that of rv runs).",
        ),
    ] = None,
) -> None:
    """Classify images with a model bundle.

    For each image: NAME.geojson (cells with their class and scores), NAME.tif (class ids) and NAME.scores.tif.

    Examples:
      rv predict out/bundle/model-bundle.zip scenes/*.tif -o predicted

      rv predict model-bundle.zip @images.txt -o predicted --channel-order 2,1,0

      rv predict model-bundle.zip scenes/*.tif -o maps --jobs 8
    """
    from rv_core.errors import UsageError
    from rv_pipeline_chip_classification.config_parts import check_smooth
    from rv_pipeline_chip_classification.maps.formats import INSTALL, missing_modules
    from rv_pipeline_chip_classification.prediction.cell_scores import Answers
    from rv_pipeline_chip_classification.verbs.image_prediction import PredictionRequest, predict_images

    if missing := missing_modules(vector):
        what = f"--vector {vector.value} needs {' and '.join(missing)}, which cannot be imported"
        raise UsageError(what, fix=INSTALL)
    for found in check_smooth(smooth):
        raise UsageError(f"--smooth: {found.what}", fix=found.fix)
    request = PredictionRequest(
        bundle=bundle,
        images=tuple(images),
        output=output,
        channel_order=channel_order,
        nodata=nodata,
        batch_size=batch_size,
        stride_px=stride_px,
        write_geotiff=geotiff,
        vector=vector.value,
        on_drift=on_drift.value,
        updates_stats=update_stats,
        backbone=backbone,
        answers=Answers(abstain_below, logits, augment == "d4", overlap == "average", smooth, precision.value),
    )
    if runner is not None or jobs is not None:
        from rv_pipeline_chip_classification.verbs.runner_prediction import predict_on_runner

        state: GlobalOptions = ctx.obj
        quiet = state.verbosity < 0
        code = predict_on_runner(request, runner or "local", jobs, profile=state.profile, is_quiet=quiet)
    else:
        code = predict_images(request)
    if code:
        raise typer.Exit(code)
