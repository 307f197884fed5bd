"""What this plugin declares to rv."""

from rv_core import CommandSpec, ConfigSpec, PipelineSpec, ReportSectionsSpec, hookimpl

_PACKAGE = "rv_pipeline_chip_classification"


@hookimpl
def rv_pipelines() -> list[PipelineSpec]:
    """The chip classification pipeline."""
    return [
        PipelineSpec(
            name="chip_classification",
            target=f"{_PACKAGE}.config:ChipClassificationConfig",
            summary="scenes and labels → chips, a trained classifier, predicted maps, metrics and a bundle",
        )
    ]


@hookimpl
def rv_commands() -> list[CommandSpec]:
    """The verbs of this plugin."""
    return [
        CommandSpec(
            name="demo",
            target=f"{_PACKAGE}.verbs.demo.cli:demo",
            summary="Write an example experiment, run it, and show what came out.",
            panel="Run",
        ),
        CommandSpec(
            name="predict",
            target=f"{_PACKAGE}.verbs.predict:predict",
            summary="Classify images with a model bundle.",
            panel="Run",
        ),
        CommandSpec(
            name="areas",
            target=f"{_PACKAGE}.verbs.areas.cli:areas",
            summary="Estimate accuracy and areas of a map from a random sample.",
            panel="Look",
        ),
        CommandSpec(
            name="export",
            target=f"{_PACKAGE}.verbs.exporting.cli:export",
            summary="Merge the maps of a run into one layer or one mosaic.",
            panel="Look",
        ),
        CommandSpec(
            name="labels",
            target=f"{_PACKAGE}.verbs.labels.cli:app",
            summary="Show what cells are labelled with, and why.",
            panel="Look",
            takes_arguments=True,
        ),
        CommandSpec(
            name="split",
            target=f"{_PACKAGE}.verbs.splitting.cli:split",
            summary="Split scenes into subsets that lie apart and have equal shares of every class.",
            panel="Run",
        ),
        CommandSpec(
            name="weights",
            target=f"{_PACKAGE}.verbs.weights:app",
            summary="List, show and take in cards of pretrained weights.",
            panel="Run",
        ),
    ]


@hookimpl
def rv_report_sections() -> list[ReportSectionsSpec]:
    """What the report of a chip classification shows."""
    return [
        ReportSectionsSpec(
            name="chip_classification",
            target=f"{_PACKAGE}.reporting.sections:sections",
            config="chip_classification",
            summary="figures, maps and errors",
            outcomes=f"{_PACKAGE}.reporting.outcomes:outcomes",
        )
    ]


@hookimpl
def rv_configs() -> list[ConfigSpec]:
    """The config classes and their version."""
    names = {
        "chip_classification": "ChipClassificationConfig",
        "classes": "ClassConfig",
        "dataset": "DatasetConfig",
        "scene": "SceneConfig",
        "raster_source": "RasterSourceConfig",
        "raster_stack": "RasterStackConfig",
        "mask": "MaskConfig",
        "geojson_labels": "GeoJsonLabelsConfig",
        "vector_labels": "VectorLabelsConfig",
        "vector_area": "VectorAreaConfig",
        "class_raster_labels": "ClassRasterLabelsConfig",
        "analyze": "AnalyzeConfig",
        "chip": "ChipConfig",
        "model": "ModelConfig",
        "train": "TrainConfig",
        "predict": "PredictConfig",
        "eval": "EvalConfig",
    }
    types = {hint: f"{_PACKAGE}.config:{name}" for hint, name in names.items()}
    types |= {
        "apply_bundle": f"{_PACKAGE}.applying.config:ApplyConfig",
        "image": f"{_PACKAGE}.applying.config:ImageConfig",
    }
    return [ConfigSpec(plugin="rv-pipeline-chip-classification", types=types, version=1)]
