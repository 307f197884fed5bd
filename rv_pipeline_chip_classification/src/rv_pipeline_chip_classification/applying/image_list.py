"""Which images are meant, and what the outputs of each are called. No library: a plan asks."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
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
    pairs = list(zip(images, stems, strict=True))
    if findings := [Finding(images[index], what) for index, what in output_clashes(pairs, output)]:
        fix = "predict them into different folders, each with a command of its own"
        raise UsageError("outputs clash; nothing was done", where=output, findings=findings[:20], fix=fix)
    return stems


def output_clashes(images: Sequence[tuple[str, str]], output: str) -> Iterator[tuple[int, str]]:
    """Images with an output of the same name as one of another, also without regard to case, or that would replace one.

    Args:
        images: (image, what its outputs are called).
        output: folder or URI of the outputs.

    Yields:
        (index of the image, what is wrong).
    """
    owners = dict[str, int]()
    is_local = uris.is_local(output)
    folder = os.path.realpath(uris.local_path(output)) if is_local else ""
    local_images = {os.path.realpath(uris.local_path(image)) for image, _ in images if uris.is_local(image)}
    for index, (_, stem) in enumerate(images):
        for name in _output_names(stem):
            owner = owners.setdefault(name.casefold(), index)
            if owner != index:
                yield index, f"its output {name} is also that of {images[owner][0]}"
            elif is_local and os.path.join(folder, name) in local_images:
                yield index, f"its output {name} would replace an image"


def stem_of(image: str) -> str:
    """What the outputs of an image are called; "" where it has no name.

    Args:
        image: path or URI.
    """
    return PurePosixPath(uris.name_of(image.replace("!", "/"))).stem


def name_problems(name: str) -> str:
    """Why outputs cannot be called so; "" where they can."""
    if not name:
        return "it is empty"
    if name.startswith("."):
        return f"{name!r} begins with a dot"
    return f"{name!r} holds a slash" if "/" in name or "\\" in name else ""


def _stem(image: str) -> str:
    stem = stem_of(image)
    if not stem or stem.startswith("."):
        raise UsageError("an image has no name to call its outputs by", where=image)
    return stem


def _output_names(stem: str) -> tuple[str, ...]:
    return tuple(f"{stem}.{ending}" for ending in ("geojson", "tif", "tif.aux.xml", "scores.tif", "qml"))


def find_images(words: Sequence[str]) -> list[tuple[str, str]]:
    """Images and what their outputs are called, from patterns, lists, tables and names.

    Args:
        words: patterns (`*.tif`), `@FILE` with one of these per line, a `.csv` with a column `image`, paths and URIs.

    Raises:
        UsageError: if a list or table cannot be read, a pattern matches nothing, or an image has no name.
    """
    found: list[tuple[str, str]] = []
    for word in expand_lists(words):
        if word.lower().endswith(".csv"):
            found += _rows_of(word)
        else:
            found += [(image, _stem(image)) for image in _matches(word)]
    return found


def _matches(word: str) -> list[str]:
    """The files that a pattern means, in the order of their names; what is no pattern is itself."""
    if not uris.is_local(word) or not glob.has_magic(word) or os.path.exists(word):
        return [word]
    matches = sorted(path for path in glob.glob(word, recursive=True) if os.path.isfile(path))
    if not matches:
        raise UsageError(
            f"no file matches {word!r}", where=os.getcwd(), fix="quote the pattern, and look at the folder"
        )
    return matches


def _rows_of(path: str) -> list[tuple[str, str]]:
    """The images of a table; files are named from its folder on."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise UsageError("the table of images cannot be read", where=path, why=str(err)) from err
    if "image" not in columns or not rows:
        why = "it has no row" if "image" in columns else "it has no column image"
        raise UsageError("this is no table of images", where=path, why=why, fix="write image, and a row per image")
    folder = os.path.dirname(os.path.abspath(path))
    found = []
    for number, row in enumerate(rows, 2):
        if not (image := row["image"].strip()):
            raise UsageError("a row of the table has no image", where=f"{path}, row {number}")
        uri = uris.absolute(image, folder)
        found.append((uri, (row.get("scene_id") or "").strip() or _stem(uri)))
    return found
