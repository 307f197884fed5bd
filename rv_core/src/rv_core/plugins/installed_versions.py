"""Names and versions of installed distributions, without reading the description that follows them.

`importlib.metadata` parses the whole file with the package `email`, pages of README included, and anew for each question.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution


def header(found: Distribution, name: str) -> str:
    """The first value of a header of the metadata of a distribution, "" where there is none."""
    return next(iter(headers(found, name)[0]), "")


def headers(found: Distribution, *names: str) -> tuple[list[str], ...]:
    """All values of headers of the metadata of a distribution, whose file is read once.

    Args:
        found: the distribution.
        names: of headers that take one line, as `Name`, `Version` and `Requires-Dist` do.
    """
    text = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    values: dict[str, list[str]] = {name.lower(): [] for name in names}
    for line in text.splitlines():
        if not line:  # one of blanks alone goes on with a long licence
            break
        name, _, value = line.partition(":")
        if name.lower() in values:
            values[name.lower()].append(value.strip())
    return tuple(values.values())


def version_of(name: str) -> str:
    """The version of a distribution, "" if it is not installed."""
    try:
        return header(distribution(name), "Version")
    except PackageNotFoundError:
        return ""


def needs_of(name: str) -> list[str]:
    """What a distribution requires, extras included, as its metadata have it; nothing if it is not installed."""
    try:
        return headers(distribution(name), "Requires-Dist")[0]
    except PackageNotFoundError:
        return []
