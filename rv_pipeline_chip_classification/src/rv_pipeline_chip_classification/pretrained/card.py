"""Cards of weights: what a file of weights is, where it lies, and what the network in it was fed with. No torch.

    {"format": 1, "kind": "rv weights card", "name", "summary", "architecture", "file", "sha256" | "sha256_prefix",
     "size", "licence", "source", "bands": ["red", ["green", "B03"], …], "mean", "std", "unit", "tensors_key",
     "name_prefix"}

`size` (bytes), `summary`, `tensors_key` and `name_prefix` may be left out. A card may come from anybody: every field is
typed and bounded, what is not known is refused, and a card from elsewhere names no file of this machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from rv_core.errors import ConfigError, DataError
from rv_core.files import uris
from rv_pipeline_chip_classification.config_checks import check_backbone, is_card_name
from rv_pipeline_chip_classification.model.plain_fields import integer_of, list_of, numbers_of, text_of

FORMAT, KIND = 1, "rv weights card"
MAX_CARD_BYTES = 1 << 20
#: The largest weights that are read; those of networks for chips have some hundred megabytes at most.
MAX_FILE_BYTES = 1 << 35
MAX_BANDS = 1024
#: What the largest ordinary number is in the unit that `mean` and `std` are given in.
UNITS = {"0-1": 1.0, "0-255": 255.0, "0-10000": 10_000.0}
#: Fields that are told to people, or say where the file lies.
_ABOUT = frozenset({"format", "kind", "name", "summary", "file", "size", "licence", "source"})
#: Far below any; 1 / std must be a number for the network.
_MIN_STD = 1e-9
#: Schemes of fsspec that lead to this machine, or into something that does.
_OF_THIS_MACHINE = frozenset(
    {"local", "memory", "reference", "dir", "simplecache", "filecache", "blockcache", "cached", "git", "generic"}
)
_HEX = re.compile(r"[0-9a-f]+")
_FIX = "correct the card (docs/pretrained-weights.md says what it holds), or take another one"
_SHIPPED = "rv_pipeline_chip_classification.pretrained"


@dataclass(frozen=True)
class WeightCard:
    """One card.

    Args:
        name: what it is called.
        summary: one line for lists.
        backbone: the network, as `model.backbone` names it (`architecture` in the JSON).
        file: URI of the weights, absolute.
        sha256: of the file in hexadecimal, all of it or its first digits.
        size_bytes: of the file, or None where it is not known.
        licence: of the weights.
        source: who made them, from what.
        bands: the names of each band that the network was fed with, in order; the first one is the usual one.
        mean: that was subtracted from each band, in `unit`.
        std: that each band was divided by then.
        unit: one of `UNITS`.
        tensors_key: where the tensors are in a file that holds more ("state_dict"); "" for the top.
        name_prefix: what names of tensors begin with in the file and not in the network ("module.").
    """

    name: str
    summary: str
    backbone: str
    file: str
    sha256: str
    size_bytes: int | None
    licence: str
    source: str
    bands: tuple[tuple[str, ...], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    unit: str
    tensors_key: str = ""
    name_prefix: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what a training makes of the card, in hexadecimal; where it lies does not."""
        plain = self.to_json()
        decides = {name: plain[name] for name in sorted(plain) if name not in _ABOUT}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def band_names(self) -> tuple[str, ...]:
        """The usual name of each band."""
        return tuple(names[0] for names in self.bands)

    @property
    def is_whole_digest(self) -> bool:
        """Whether the card knows all digits of the file's SHA-256."""
        return len(self.sha256) == 64

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a card is written."""
        return {
            "format": FORMAT,
            "kind": KIND,
            "name": self.name,
            "summary": self.summary,
            "architecture": self.backbone,
            "file": self.file,
            "sha256" if self.is_whole_digest else "sha256_prefix": self.sha256,
            **({} if self.size_bytes is None else {"size": self.size_bytes}),
            "licence": self.licence,
            "source": self.source,
            "bands": [list(names) for names in self.bands],
            "mean": list(self.mean),
            "std": list(self.std),
            "unit": self.unit,
            **({"tensors_key": self.tensors_key} if self.tensors_key else {}),
            **({"name_prefix": self.name_prefix} if self.name_prefix else {}),
        }


def check_architecture(card: WeightCard, backbone: str) -> None:
    """Refuse a card of another network than the config's.

    Raises:
        ConfigError: saying which backbone it is for.
    """
    if card.backbone != backbone:
        what = f"card {card.name!r} holds weights of {card.backbone}, and the backbone is {backbone}"
        raise ConfigError(
            what, where="model.backbone", fix=f'set model.backbone to "{card.backbone}", or take another card'
        )


def shipped_card(name: str) -> WeightCard | None:
    """The card of this name that comes with the package, or None."""
    path = files(_SHIPPED) / "cards" / f"{name}.json"
    return parse_card(path.read_bytes(), where=name) if is_card_name(name) and path.is_file() else None


def shipped_names() -> list[str]:
    """The names of the cards that come with the package, in order."""
    folder = files(_SHIPPED) / "cards"
    return sorted(path.name.removesuffix(".json") for path in folder.iterdir() if path.name.endswith(".json"))


def parse_card(data: bytes, *, where: str) -> WeightCard:
    """The card in some bytes.

    Args:
        data: its JSON.
        where: its URI, which its file may be relative to.

    Raises:
        DataError: naming the first field that is wrong.
    """
    try:
        if len(data) > MAX_CARD_BYTES:
            raise ValueError(f"it has {len(data)} bytes, and a card has at most {MAX_CARD_BYTES}")
        plain = json.loads(data)
        if not isinstance(plain, dict) or plain.get("kind") != KIND:
            raise ValueError(f'it is no object with "kind": {KIND!r}')
        return _card_of(plain, where)
    except KeyError as err:
        raise DataError("this is no card of weights", where=where, why=f"it has no {err}", fix=_FIX) from err
    except (TypeError, ValueError, RecursionError) as err:
        raise DataError("this is no card of weights", where=where, why=str(err)[:500], fix=_FIX) from err


def _card_of(plain: Mapping[str, Any], where: str) -> WeightCard:
    if type(plain["format"]) is not int or plain["format"] != FORMAT:
        raise ValueError(f"its format is {plain['format']!r:.60}; this version of rv knows {FORMAT}")
    unknown = sorted(set(plain) - {"format", "kind", "sha256", "sha256_prefix", *_FIELDS})
    if unknown:
        raise ValueError(f"it has a field {unknown[0]!r:.60}, which no card has")
    values = {name: read(plain) for name, read in _FIELDS.items()}
    bands = values.pop("bands")
    for name in ("mean", "std"):
        if len(values[name]) != len(bands):
            raise ValueError(f"{name} has {len(values[name])} numbers for {len(bands)} bands")
    if not all(value >= _MIN_STD for value in values["std"]):
        raise ValueError(f"std holds a number below {_MIN_STD:g}")
    size, backbone, file = (values.pop(name) for name in ("size", "architecture", "file"))
    return WeightCard(
        **values,
        bands=bands,
        size_bytes=size,
        backbone=backbone,
        sha256=_digits_of(plain),
        file=_placed(file, where),
    )


def _name_of(plain: Mapping[str, Any]) -> str:
    name = text_of(plain, "name")
    if not is_card_name(name):
        raise ValueError(
            f"name is {name!r:.60}; it starts with a letter or digit, and goes on with these, '.', '_', '-'"
        )
    return name


def _backbone_of(plain: Mapping[str, Any]) -> str:
    backbone = text_of(plain, "architecture")
    for finding in check_backbone(backbone):
        raise ValueError(f"architecture: {finding.what}")
    return backbone


def _bands_of(plain: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    bands = []
    for entry in list_of(plain, "bands", MAX_BANDS):
        names = list_of({"a band": entry}, "a band", 32) if isinstance(entry, list) else [entry]
        bands.append(tuple(text_of({"a band": name}, "a band") for name in names))
    plain_names = [name.strip().casefold() for names in bands for name in names]
    if not bands or not all(bands) or not all(plain_names) or len(set(plain_names)) < len(plain_names):
        raise ValueError("bands must be a list of names (or lists of names), none of them empty or there twice")
    return tuple(bands)


def _unit_of(plain: Mapping[str, Any]) -> str:
    unit = text_of(plain, "unit")
    if unit not in UNITS:
        raise ValueError(f"unit is {unit!r:.60} and must be one of {', '.join(UNITS)}")
    return unit


def _optional_text(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda plain: text_of(plain, name) if name in plain else ""


def _text(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda plain: text_of(plain, name)


def _digits_of(plain: Mapping[str, Any]) -> str:
    """The file's SHA-256, or the first digits of it where no more is known."""
    if ("sha256" in plain) == ("sha256_prefix" in plain):
        raise ValueError("it needs sha256, or sha256_prefix where no more digits are known")
    name = "sha256" if "sha256" in plain else "sha256_prefix"
    digits = text_of(plain, name).lower()
    low, high = (64, 64) if name == "sha256" else (8, 63)
    if not low <= len(digits) <= high or not _HEX.fullmatch(digits):
        raise ValueError(
            f"{name} is {digits!r:.80} and must be {low if low == high else f'{low} to {high}'} digits 0-9 a-f"
        )
    return digits


def _placed(file: str, where: str) -> str:
    """The URI of the file, made absolute beside the card.

    Raises:
        ValueError: for what a card from elsewhere must not name: variables of this machine, files of this machine.
    """
    if "${" in file:
        raise ValueError("file holds ${…}: a card must not ask for variables of the machine that it is read on")
    if problem := uris.problem_with(file):
        raise ValueError(f"file {problem}")
    if uris.container_of(file) != file:
        raise ValueError(f"file is {file!r:.200}, which lies in an archive: unpack it")
    is_local_card = uris.is_local(where)
    if not is_local_card and (uris.is_local(file) or uris.scheme_of(file) in _OF_THIS_MACHINE):
        if not uris.is_relative(file) or ".." in file.split("/"):
            raise ValueError(f"file is {file!r:.200}: a card that lies elsewhere names no file of this machine")
        return f"{where.partition('?')[0].rpartition('/')[0]}/{file}"
    return uris.absolute(file, where.rpartition("/")[0] or "/") if is_local_card else file


_FIELDS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "name": _name_of,
    "summary": _optional_text("summary"),
    "architecture": _backbone_of,
    "file": _text("file"),
    "size": lambda plain: integer_of(plain, "size", 1, MAX_FILE_BYTES) if "size" in plain else None,
    "licence": _text("licence"),
    "source": _text("source"),
    "bands": _bands_of,
    "mean": lambda plain: numbers_of(plain, "mean", MAX_BANDS),
    "std": lambda plain: numbers_of(plain, "std", MAX_BANDS),
    "unit": _unit_of,
    "tensors_key": _optional_text("tensors_key"),
    "name_prefix": _optional_text("name_prefix"),
}
