"""Where cards and weights are kept on this machine: fetched once, checked by their digest, and needed from nowhere after.

Below `<cache>/weights/`: `cards/<name>.json`, the cards that `rv weights add` has taken in; `seen/<digest of URI>.json`,
the last text of each card that lies elsewhere; `files/<key>/<name>`, weights that are what a card says; `files/<key>.lock`,
held while one is fetched, so that of several processes one does it. A file is put in place whole, after it was checked.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rv_core.errors import ConfigError, DataError, StorageError, unknown_name
from rv_core.files import by_uri, uris
from rv_core.files.problems import MissingFileError
from rv_core.machine.folders import cache_subfolder, temporary_name, text_digest
from rv_pipeline_chip_classification.config_checks import is_card_name
from rv_pipeline_chip_classification.pretrained.card import (
    MAX_CARD_BYTES,
    MAX_FILE_BYTES,
    WeightCard,
    parse_card,
    shipped_card,
    shipped_names,
)

_log = logging.getLogger(__name__)

_FOLDER = "weights"


def find_card(named: str) -> WeightCard:
    """The card that a name or a URI means.

    A card that lies elsewhere is read there; where that cannot be asked, its last text is taken, and said.

    Raises:
        ConfigError: if there is no card of this name.
        DataError: if it is none.
        StorageError: if it cannot be read and never was.
    """
    if not is_card_name(named):
        return _card_at(named)
    if card := shipped_card(named):
        return card
    path = _added_path(named)
    if path.is_file():
        return parse_card(path.read_bytes(), where=str(path))
    what, fix = unknown_name("card of weights", named, [*shipped_names(), *added_names()])
    fix = " ".join(filter(None, (fix, "or take one in: rv weights add URI")))
    raise ConfigError(what, where="model.weights", fix=fix)


def added_names() -> list[str]:
    """The names of the cards that were taken in on this machine."""
    folder = cache_subfolder(_FOLDER, "cards")
    return sorted(path.name.removesuffix(".json") for path in folder.glob("*.json"))


def add_card(uri: str) -> WeightCard:
    """Take in a card by its URI, so that its name means it on this machine; its file is fetched and checked.

    Raises:
        DataError: if it is no card, its name is one of the package's, or its file is not what it says.
        StorageError: if something cannot be read or written.
    """
    card = _card_at(uri)
    if shipped_card(card.name) is not None:
        what = f"the name {card.name!r} is that of a card that comes with rv"
        raise DataError(what, where=uri, fix="give the card another name")
    fetch(card)
    text = _text_of(card)
    by_uri.write_bytes(str(_added_path(card.name)), text)
    return card


def _text_of(card: WeightCard) -> bytes:
    import json

    return (json.dumps(card.to_json(), indent=1) + "\n").encode()


def _added_path(name: str) -> Path:
    return cache_subfolder(_FOLDER, "cards") / f"{name}.json"


def _card_at(uri: str) -> WeightCard:
    uri = uris.absolute(uri, os.getcwd())
    if uris.is_local(uris.expand(uri)):
        return parse_card(by_uri.read_bytes(uri), where=uris.local_path(uris.expand(uri)))
    seen = cache_subfolder(_FOLDER, "seen") / f"{text_digest(uri)}.json"
    try:
        info = by_uri.stat(uri)
        if info is not None and info.size > MAX_CARD_BYTES:
            raise DataError("this is no card of weights", where=uri, why=f"it has {info.size} bytes")
        data = by_uri.read_bytes(uri)
    except MissingFileError:
        raise
    except StorageError as err:
        if not seen.is_file():
            raise
        _log.warning("card %s cannot be read (%s): its last text is taken", uri, err.block.why or err.block.what)
        return parse_card(seen.read_bytes(), where=uri)
    card = parse_card(data, where=uri)
    if not seen.is_file() or seen.read_bytes() != data:
        by_uri.write_bytes(str(seen), data, is_synced=False)
    return card


def fetch(card: WeightCard) -> Path:
    """A local path of a card's weights, which are what the card says; nothing is asked for once they are here.

    Raises:
        DataError: if the file is another one than the card says.
        StorageError: if it cannot be read, or there is no room.
    """
    if uris.is_local(card.file):
        path = by_uri.local_copy(card.file)
        _check(card, path)
        return path
    place = _place_of(card)
    with _locked(place.parent.with_suffix(".lock")):
        if not place.is_file():
            source = by_uri.local_copy(card.file)
            _check(card, source)
            _put(source, place)
    return place


def is_here(card: WeightCard) -> bool:
    """Whether a card's weights need not be fetched."""
    return Path(card.file).is_file() if uris.is_local(card.file) else _place_of(card).is_file()


def _place_of(card: WeightCard) -> Path:
    # Where a card knows some digits alone, another card's file with the same ones must not stand for it.
    key = card.sha256 if card.is_whole_digest else text_digest(f"{card.sha256} {card.file}", 40)
    ending = Path(uris.name_of(card.file)).suffix
    return cache_subfolder(_FOLDER, "files") / key / f"weights{ending if ending.isascii() else ''}"


def _check(card: WeightCard, path: Path) -> None:
    size = path.stat().st_size
    fix = "the file was changed or damaged, or the card is of another one: ask who made it"
    if size != (card.size_bytes or size) or size > MAX_FILE_BYTES:
        why = (
            f"it has {size} bytes, and the card says {card.size_bytes or f'nothing, and {MAX_FILE_BYTES} are the most'}"
        )
        raise DataError("these weights are not those of their card", where=card.file, why=why, fix=fix)
    found = sha256_of(path)
    if not found.startswith(card.sha256):
        why = f"the SHA-256 is {found[:16]}…, and card {card.name!r} says {card.sha256[:16]}…"
        raise DataError("these weights are not those of their card", where=card.file, why=why, fix=fix)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    return by_uri.digest(str(path))[1]


def _put(source: Path, place: Path) -> None:
    """Put checked weights in place, whole; the copy in the cache of inputs and this one are one file on the disk."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(temporary_name(place.name))
    try:
        try:
            os.link(source, temporary)
        except OSError:  # on another disk, or one without links
            shutil.copyfile(source, temporary)
        os.replace(temporary, place)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "ab") as file:
        with suppress(OSError):  # a disk without locks: two processes may both fetch, each puts the same file in place
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
