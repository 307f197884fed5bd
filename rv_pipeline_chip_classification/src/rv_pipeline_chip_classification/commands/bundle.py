"""The command `bundle`: the trained model with all that is needed to use it elsewhere."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.model.bundle_file import write_bundle
from rv_pipeline_chip_classification.model.trained import read_trained

BUNDLE = "bundle/model-bundle.zip"
_METRICS = "train/metrics.json"
_DISTRIBUTIONS = ("rv-core", "rv-pipeline-chip-classification", "torch", "numpy", "safetensors")


def run_bundle(config: ChipClassificationConfig, storage: Storage) -> None:
    """Write `bundle/model-bundle.zip`; the same model and versions give the same bytes.

    Args:
        config: reads `classes` and `predict.stride_px`.
        storage: the root, where `train` left its files.

    Raises:
        DataError: if the files of the model are damaged.
        StorageError: if they are not there.
    """
    contract, weights = read_trained(storage, config.classes)
    try:
        metrics = json.loads(storage.read_text(_METRICS))
    except ValueError as err:
        fix = 'run the command "train" again (--rerun)'
        raise DataError(
            "the metrics of the model are damaged", where=storage.uri(_METRICS), why=str(err), fix=fix
        ) from err
    with storage.output_file(BUNDLE) as path:
        write_bundle(
            path, contract, weights, metrics, stride_px=config.predict.stride_px, versions=installed_versions()
        )


def installed_versions() -> dict[str, str]:
    """The versions of what decides what a model answers; what is not installed as a distribution is left out."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
