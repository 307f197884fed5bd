"""Chip classification: a pipeline that gives each cell of a georeferenced image one class.

The config classes are all that a user's module needs; they import neither torch nor rasterio nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rv_pipeline_chip_classification.applying.config import ApplyConfig as ApplyConfig
    from rv_pipeline_chip_classification.applying.config import ImageConfig as ImageConfig
    from rv_pipeline_chip_classification.catalogs.scene_table import scenes_from_table as scenes_from_table
    from rv_pipeline_chip_classification.catalogs.stac_items import scenes_from_stac as scenes_from_stac
    from rv_pipeline_chip_classification.catalogs.stac_search import search_stac as search_stac
    from rv_pipeline_chip_classification.config import AnalyzeConfig as AnalyzeConfig
    from rv_pipeline_chip_classification.config import ChipClassificationConfig as ChipClassificationConfig
    from rv_pipeline_chip_classification.config import ChipConfig as ChipConfig
    from rv_pipeline_chip_classification.config import ClassConfig as ClassConfig
    from rv_pipeline_chip_classification.config import ClassRasterLabelsConfig as ClassRasterLabelsConfig
    from rv_pipeline_chip_classification.config import DatasetConfig as DatasetConfig
    from rv_pipeline_chip_classification.config import EvalConfig as EvalConfig
    from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig as GeoJsonLabelsConfig
    from rv_pipeline_chip_classification.config import MaskConfig as MaskConfig
    from rv_pipeline_chip_classification.config import ModelConfig as ModelConfig
    from rv_pipeline_chip_classification.config import PredictConfig as PredictConfig
    from rv_pipeline_chip_classification.config import RasterConfig as RasterConfig
    from rv_pipeline_chip_classification.config import RasterSourceConfig as RasterSourceConfig
    from rv_pipeline_chip_classification.config import RasterStackConfig as RasterStackConfig
    from rv_pipeline_chip_classification.config import SceneConfig as SceneConfig
    from rv_pipeline_chip_classification.config import TrainConfig as TrainConfig
    from rv_pipeline_chip_classification.config import VectorAreaConfig as VectorAreaConfig
    from rv_pipeline_chip_classification.config import VectorLabelsConfig as VectorLabelsConfig
    from rv_pipeline_chip_classification.config_parts import LabelsConfig as LabelsConfig
    from rv_pipeline_chip_classification.folds import leave_one_scene_out as leave_one_scene_out
    from rv_pipeline_chip_classification.from_python.bundle import load_bundle as load_bundle
    from rv_pipeline_chip_classification.from_python.results import results as results

_CONFIGS = (
    "AnalyzeConfig",
    "ChipClassificationConfig",
    "ChipConfig",
    "ClassConfig",
    "ClassRasterLabelsConfig",
    "DatasetConfig",
    "EvalConfig",
    "GeoJsonLabelsConfig",
    "LabelsConfig",
    "MaskConfig",
    "ModelConfig",
    "PredictConfig",
    "RasterConfig",
    "RasterSourceConfig",
    "RasterStackConfig",
    "SceneConfig",
    "TrainConfig",
    "VectorAreaConfig",
    "VectorLabelsConfig",
)

_HOMES = {
    **dict.fromkeys(_CONFIGS, "config"),
    **dict.fromkeys(("ApplyConfig", "ImageConfig"), "applying.config"),
    "leave_one_scene_out": "folds",
    "load_bundle": "from_python.bundle",
    "results": "from_python.results",
    "scenes_from_stac": "catalogs.stac_items",
    "scenes_from_table": "catalogs.scene_table",
    "search_stac": "catalogs.stac_search",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
