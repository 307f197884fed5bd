"""Model bundles: one zip with all that is needed to use a trained model elsewhere, and nothing that is run.

    bundle.json          {"format": 1, "kind", "contract": {…}, "stride_px", "versions": {…}, "members": {name: {bytes, sha256}}}
    model.safetensors    the weights
    metrics.json         metrics of the training and validation chips

The same model gives the same bytes: fixed order, fixed times, nothing compressed (weights do not compress). A bundle
holds no code and no pickle; one that does is refused, as is one whose content is not what its checksums say.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rv_core.errors import DataError
from rv_core.files.zips import ZipLimits, check_zip
from rv_pipeline_chip_classification.config_parts import MAX_SIDE_PX
from rv_pipeline_chip_classification.model.contract import ModelContract
from rv_pipeline_chip_classification.model.plain_fields import integer_of, mapping_of, text_of, texts_by_name

FORMAT = 1
KIND = "rv chip-classification model bundle"
DESCRIPTION, WEIGHTS, METRICS = "bundle.json", "model.safetensors", "metrics.json"
_MEMBERS = (DESCRIPTION, WEIGHTS, METRICS)
_FIX = 'take the file "bundle/model-bundle.zip" that the command "bundle" wrote (rv run … --to bundle)'
_LIMITS = ZipLimits(max_files=16)
_MAX_JSON_BYTES = 16 * 1024**2
_CONVERT = (
    "where you trust it, convert the weights once: safetensors.torch.save_file("
    "torch.load('weights.pth', weights_only=True), 'weights.safetensors')"
)
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; of the weights only the checksum has been read.

    Args:
        path: the zip, on this machine.
        shown: what to call it in messages.
        contract: what the model expects and answers.
        stride_px: step between predicted cells; None is the cell size.
        metrics: of the training and validation chips.
        versions: distribution -> version that wrote it.
        weights_sha256: of the weights, in hexadecimal.
    """

    path: Path
    shown: str
    contract: ModelContract
    stride_px: int | None
    metrics: Mapping[str, Any]
    versions: Mapping[str, str]
    weights_sha256: str

    def read(self, name: str) -> bytes:
        """The weights or the metrics as bytes, checked.

        Raises:
            DataError: if they are not those that were put in.
        """
        if name == METRICS:
            return _json_text(self.metrics)
        with self.weights_file() as path:
            return path.read_bytes()

    @contextmanager
    def weights_file(self) -> Iterator[Path]:
        """The weights as a file of their own, checked; it is removed at the end of the block.

        Raises:
            DataError: if they are not those that were put in.
        """
        with tempfile.TemporaryDirectory(prefix="rv-bundle-") as folder:
            path = Path(folder) / WEIGHTS
            with _opened_member(self.path, WEIGHTS, self.shown) as source, path.open("wb") as target:
                digest = _copy(source, target)
            _check_digest(WEIGHTS, digest, self.weights_sha256, self.shown)
            yield path


def write_bundle(
    path: Path,
    contract: ModelContract,
    weights: Path,
    metrics: Mapping[str, Any],
    *,
    stride_px: int | None,
    versions: Mapping[str, str],
) -> None:
    """Write a bundle; the same arguments give the same bytes.

    Args:
        path: where to.
        contract: of the model.
        weights: its safetensors file.
        metrics: plain JSON values.
        stride_px: step between predicted cells; None is the cell size.
        versions: distribution -> version that writes it.
    """
    metrics_text = _json_text(metrics)
    with weights.open("rb") as file:
        weights_digest = hashlib.file_digest(file, "sha256").hexdigest()
    members = {
        WEIGHTS: {"bytes": weights.stat().st_size, "sha256": weights_digest},
        METRICS: {"bytes": len(metrics_text), "sha256": hashlib.sha256(metrics_text).hexdigest()},
    }
    description = {
        "format": FORMAT,
        "kind": KIND,
        "contract": contract.to_json(),
        "stride_px": stride_px,
        "versions": dict(sorted(versions.items())),
        "members": members,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_entry(DESCRIPTION), _json_text(description))
        with weights.open("rb") as source, archive.open(_entry(WEIGHTS), "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        archive.writestr(_entry(METRICS), metrics_text)


def _json_text(plain: Any) -> bytes:
    return (json.dumps(plain, indent=1, allow_nan=False) + "\n").encode()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o100644 << 16
    return entry


def open_bundle(path: Path, *, shown: str = "") -> Bundle:
    """Look at a bundle; the weights stay in it until they are asked for.

    Args:
        path: the zip, on this machine.
        shown: what to call it in messages; its path when "".

    Raises:
        DataError: if it is no bundle, a hostile zip, damaged, of a newer format, or holds anything but the three members.
    """
    shown = shown or str(path)
    refuse_pickle(path, shown=shown, fix=_FIX)
    if not zipfile.is_zipfile(path):
        raise DataError("this is no model bundle", where=shown, why="it is no zip", fix=_FIX)
    _check_members(check_zip(path, _LIMITS, source=shown), shown)
    plain = _read_json(path, DESCRIPTION, shown)
    _check_format(plain, shown)
    try:
        members = mapping_of(plain, "members")
        digests = {name: text_of(mapping_of(members, name), "sha256") for name in (WEIGHTS, METRICS)}
        stride_px = None if plain["stride_px"] is None else integer_of(plain, "stride_px", 1, MAX_SIDE_PX)
        versions = texts_by_name(plain, "versions")
        contract_plain = mapping_of(plain, "contract")
    except KeyError as err:
        raise _damaged(shown, f"{DESCRIPTION} has no {err}") from err
    except ValueError as err:
        raise _damaged(shown, f"{DESCRIPTION}: {err}") from err
    contract = ModelContract.from_json(contract_plain, where=f"{shown}, {DESCRIPTION}")
    metrics = _read_json(path, METRICS, shown, digests[METRICS])
    if not isinstance(metrics, dict):
        raise _damaged(shown, f"{METRICS} is no object")
    return Bundle(path, shown, contract, stride_px, metrics, versions, digests[WEIGHTS])


def refuse_pickle(path: Path, *, shown: str, fix: str = "") -> None:
    """Refuse a file that is a pickle, bare or in a zip as torch.save writes it.

    Args:
        path: the file.
        shown: what to call it in messages.
        fix: what to do about it; how to convert weights when "".

    Raises:
        DataError: if it is one, or cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
        names: list[str] = []
        if start == b"PK" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as err:
        raise DataError("this file cannot be opened", where=shown, why=str(err)) from err
    pickles = [name for name in names if name.lower().endswith(_PICKLES)]
    is_pickle = len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5
    if pickles or is_pickle:
        raise DataError(
            "this file is refused: it may run code when it is opened",
            where=shown,
            why=(f"it holds {pickles[0]!r}" if pickles else "it is a pickle") + ", and rv never opens pickles",
            fix=fix or _CONVERT,
        )


def _check_members(names: list[str], shown: str) -> None:
    missing = [name for name in _MEMBERS if name not in names]
    if missing:
        raise DataError("this is no model bundle", where=shown, why=f"{missing[0]} is not in it", fix=_FIX)
    others = [name for name in names if name not in _MEMBERS]
    if others:
        why = f"it holds {others[0]!r} and should hold {', '.join(_MEMBERS)} alone"
        raise DataError("this model bundle was changed", where=shown, why=why, fix=_FIX)


def _check_format(plain: Any, shown: str) -> None:
    if not isinstance(plain, dict) or plain.get("kind") != KIND or not _is_format(plain.get("format")):
        raise _damaged(shown, f"{DESCRIPTION} does not describe a {KIND}")
    if plain["format"] > FORMAT:
        versions = plain.get("versions")
        name = "rv-pipeline-chip-classification"
        newer = versions.get(name, "a newer version") if isinstance(versions, dict) else "a newer version"
        raise DataError(
            f"this bundle has the format {plain['format']}, and this version of rv knows {FORMAT}",
            where=shown,
            fix=f"upgrade {name} (it was written by {newer})",
        )


def _is_format(value: Any) -> bool:
    return type(value) is int and value >= FORMAT


def _read_json(path: Path, name: str, shown: str, sha256: str | None = None) -> Any:
    with _opened_member(path, name, shown) as file:
        data = file.read(_MAX_JSON_BYTES + 1)
    if len(data) > _MAX_JSON_BYTES:
        raise _damaged(shown, f"{name} is larger than {_MAX_JSON_BYTES} bytes")
    if sha256 is not None:
        _check_digest(name, hashlib.sha256(data).hexdigest(), sha256, shown)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as err:
        raise _damaged(shown, f"{name} is no JSON: {err}") from err


@contextmanager
def _opened_member(path: Path, name: str, shown: str) -> Iterator[IO[bytes]]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            yield file
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as err:
        raise _damaged(shown, f"{name}: {err}") from err


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(1 << 20):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _check_digest(name: str, actual: str, expected: str, shown: str) -> None:
    if actual != expected:
        raise _damaged(shown, f"{name} has the checksum {actual[:12]}…, and {DESCRIPTION} says {expected[:12]}…")


def _damaged(shown: str, why: str) -> DataError:
    return DataError("this model bundle is damaged", where=shown, why=why, fix="copy it again, or " + _FIX)
