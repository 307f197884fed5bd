"""Which images are meant, and what the outputs of each are called. No library: a plan asks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from rv_core.errors import Finding, UsageError
from rv_core.files import uris

_MAX_LIST_BYTES = 64 * 1024**2


def expand_lists(words: Iterable[str]) -> list[str]:
    """The images of a command line, `@FILE` replaced by the lines of the file.

    Blank lines, `#` comments and quotes around a name are left out.

    Raises:
        UsageError: if a list cannot be read, or nothing is left, or an image is given twice.
    """
    images: list[str] = []
    for word in words:
        images += _lines_of(word[1:]) if word.startswith("@") else [word]
    if not images:
        raise UsageError("no image is given", fix="name at least one, or put one per line into the list")
    twice = sorted({image for image in images if images.count(image) > 1}) if len(set(images)) < len(images) else []
    if twice:
        raise UsageError(f"{twice[0]} is given more than once")
    return images


def _lines_of(path: str) -> list[str]:
    try:
        if os.path.getsize(path) > _MAX_LIST_BYTES:
            raise UsageError("the list of images is too large", where=path)
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError("the list of images cannot be read", where=path, why=str(err)) from err
    return [_unquoted(word) for word in map(str.strip, lines) if word and not word.startswith("#")]


def _unquoted(word: str) -> str:
    """A name as shells and spreadsheets quote it; what is a file with its quotes stays as it is."""
    is_quoted = len(word) > 2 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if is_quoted and not os.path.exists(word) else word


def stems_of(images: Sequence[str], output: str) -> list[str]:
    """What the outputs of each image are called.

    Raises:
        UsageError: if outputs of two images have one name (also without regard to case), or would replace an image.
    """
    stems = [_stem(image) for image in images]
    findings, owners = [], dict[str, str]()
    local_images = {os.path.realpath(uris.local_path(image)) for image in images if uris.is_local(image)}
    for image, stem in zip(images, stems, strict=True):
        for name in _output_names(stem):
            owner = owners.setdefault(name.casefold(), image)
            if owner != image:
                findings.append(Finding(image, f"its output {name} is also that of {owner}"))
            elif uris.is_local(output) and os.path.realpath(Path(uris.local_path(output)) / name) in local_images:
                findings.append(Finding(image, f"its output {name} would replace an image"))
    if findings:
        fix = "predict them into different folders, each with a command of its own"
        raise UsageError("outputs clash; nothing was done", where=output, findings=findings[:20], fix=fix)
    return stems


def _stem(image: str) -> str:
    stem = PurePosixPath(uris.name_of(image.replace("!", "/"))).stem
    if not stem or stem.startswith("."):
        raise UsageError("an image has no name to call its outputs by", where=image)
    return stem


def _output_names(stem: str) -> tuple[str, ...]:
    return tuple(f"{stem}.{ending}" for ending in ("geojson", "tif", "tif.aux.xml", "scores.tif", "qml"))
