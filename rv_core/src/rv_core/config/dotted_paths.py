"""Dotted paths into a config: `dataset.train_scenes[3].raster.uris`, `labels.class_mapping["dry grass"]`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

Step = str | int

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_STEP = re.compile(
    r"""(?P<dot>\.)?(?P<word>[A-Za-z0-9_][A-Za-z0-9_-]*)     # a field, or the key of a dict
    |\[(?P<index>-?\d+)\]                                    # an index, or an int key of a dict
    |\[(?P<quote>["'])(?P<key>.*?)(?P=quote)\]               # any other key of a dict
    """,
    re.VERBOSE,
)


def join(path: str, step: Step) -> str:
    """The path of what is one step below `path`: a field or key (text) or an index (integer)."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if _WORD.match(step):
        return f"{path}.{step}" if path else step
    return f'{path}["{step}"]'


def join_paths(path: str, relative: str) -> str:
    """The path of `relative`, a path itself, below `path`."""
    if not path or not relative:
        return path or relative
    return path + relative if relative.startswith("[") else f"{path}.{relative}"


def parse(text: str) -> list[Step]:
    """The steps of a path: text for fields and keys, integers for what stands in brackets without quotes.

    Raises:
        ValueError: if the text is not a path; the message says where it stops being one.
    """
    if "[" not in text and "-" not in text and all(word.isidentifier() for word in text.split(".")):
        return list(text.split("."))
    steps: list[Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None or (match["word"] is not None and bool(match["dot"]) != bool(steps)):
            raise ValueError(f"{text!r} is not a path: cannot read {text[position:]!r}")
        steps.append(_step_of(match))
        position = match.end()
    if not steps:
        raise ValueError("the path is empty")
    return steps


def _step_of(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    return match["key"] if match["key"] is not None else match["word"]


def outward(path: str) -> Iterator[str]:
    """The path itself and everything that it lies in, innermost first; "" is the whole."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    yield ""
