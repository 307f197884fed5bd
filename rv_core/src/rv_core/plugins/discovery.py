"""Which plugins are installed and which of them are switched off: entry points of the group `rv`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import NamedTuple

from rv_core.plugins.installed_versions import headers

GROUP = "rv"


class Candidate(NamedTuple):
    """An entry point that has not been loaded.

    Args:
        entry_point: name and module.
        distribution: the name of the installed package.
        version: its version.
        is_disabled: whether `RV_DISABLE_PLUGINS` names it.
    """

    entry_point: EntryPoint
    distribution: str
    version: str
    is_disabled: bool = False


def candidates(environ: Mapping[str, str]) -> list[Candidate]:
    """All entry points of the group, sorted by distribution and name, so that every process sees one order."""
    disabled = disabled_names(environ)
    found: dict[tuple[str, str], Candidate] = {}
    for distribution in _with_entry_points():
        name, version = (next(iter(values), "") or "unknown" for values in headers(distribution, "Name", "Version"))
        for entry_point in distribution.entry_points.select(group=GROUP):
            is_disabled = bool({normalised(name), normalised(entry_point.name)} & disabled)
            candidate = Candidate(entry_point, name, version, is_disabled)
            # A distribution that is there twice counts as Python imports it: the first on the path.
            found.setdefault((normalised(name), entry_point.name), candidate)
    return [found[key] for key in sorted(found)]


def _with_entry_points() -> Iterator[Distribution]:
    """The distributions that may have an entry point of ours; reading the text first keeps the start fast."""
    for distribution in distributions():
        text = distribution.read_text("entry_points.txt")
        if text and _SECTION in text:
            yield distribution


_SECTION = f"[{GROUP}]"


def disabled_names(environ: Mapping[str, str]) -> set[str]:
    """The names in `RV_DISABLE_PLUGINS`: entry points or distributions, separated by commas."""
    names = environ.get("RV_DISABLE_PLUGINS", "").split(",")
    return {normalised(name) for name in names if name.strip()}


def unknown_disabled_names(environ: Mapping[str, str], known: list[Candidate]) -> list[str]:
    """The names in `RV_DISABLE_PLUGINS` that fit no installed plugin."""
    there = {normalised(name) for candidate in known for name in (candidate.distribution, candidate.entry_point.name)}
    return sorted(disabled_names(environ) - there)


def is_strict(environ: Mapping[str, str]) -> bool:
    """Whether `RV_STRICT_PLUGINS` asks for a broken plugin to be fatal."""
    return environ.get("RV_STRICT_PLUGINS", "").strip().lower() not in ("", "0", "false", "no", "off")


def normalised(name: str) -> str:
    """A name without regard to case and to `-`, `_` and `.`, as package installers compare them."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
