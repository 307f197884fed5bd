"""The command `bundle`: the trained model with all that is needed to use it elsewhere."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from rv_core import Storage
from rv_core.errors import DataError
from rv_pipeline_chip_classification.config import ChipClassificationConfig
from rv_pipeline_chip_classification.exports.stac_item import stac_item
from rv_pipeline_chip_classification.model.bundle_file import write_bundle
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.trained import load_model, read_trained

BUNDLE = "bundle/model-bundle.zip"
ONNX, STAC_ITEM = "bundle/model.onnx", "bundle/model.stac.json"
_METRICS = "train/metrics.json"
_DISTRIBUTIONS = ("rv-core", "rv-pipeline-chip-classification", "torch", "numpy", "safetensors")


def run_bundle(config: ChipClassificationConfig, storage: Storage) -> None:
    """Write `bundle/model-bundle.zip`, and beside it `model.onnx` and `model.stac.json` where the config asks for them.

    The same model and versions give the same bytes.

    Args:
        config: reads `name`, `classes`, `predict.stride_px` and `bundle_formats`.
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
    if "onnx" in config.bundle_formats:
        from rv_pipeline_chip_classification.exports.onnx_file import write_onnx

        with storage.output_file(ONNX) as path:
            write_onnx(path, load_model(contract, weights), contract)
    if "stac_mlm" in config.bundle_formats:
        _write_stac_item(config, storage, contract, weights)


def _write_stac_item(
    config: ChipClassificationConfig, storage: Storage, contract: ModelContract, weights: Path
) -> None:
    files = {"bundle": BUNDLE, **({"onnx": ONNX} if "onnx" in config.bundle_formats else {})}
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    item = stac_item(
        contract,
        name=config.name or "chip-classification",
        files={kind: PurePosixPath(name).name for kind, name in files.items()},
        versions=installed_versions(),
        sha256=digest,
    )
    storage.write_text(STAC_ITEM, json.dumps(item, indent=1, ensure_ascii=False) + "\n")


def installed_versions() -> dict[str, str]:
    """The versions of what decides what a model answers; what is not installed as a distribution is left out."""
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
