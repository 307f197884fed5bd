"""A page as one HTML file: style, script and pictures are in it, and its own policy forbids every request.

Jinja2 escapes what is put in; before that every text loses secrets and control characters, in one place.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import count
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from rv_core import ReportPicture
from rv_core.errors import DataError
from rv_core.wording import cell_text, duration_text
from rv_report import charts
from rv_report.parts import Page
from rv_report.texts import clean

#: What the file begins with, by which one of ours is known.
MARK = '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="generator" content="rv-report">'
_KINDS: Mapping[bytes, str] = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


def render(page: Page) -> str:
    """The text of the HTML file.

    Raises:
        DataError: if a picture is no PNG, JPEG or WebP.
    """
    script = _source("page.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            mark=Markup(MARK),
            style=Markup(_source("page.css")),
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    environment.filters |= {"cell": cell_text, "duration": duration_text, "picture": _picture, "is_number": _is_number}
    environment.filters |= {"share": _share, "color": _color}
    environment.globals |= {
        "kind": lambda part: type(part).__name__,
        "line_chart": charts.line_chart,
        "timeline": charts.timeline,
        "new_id": _new_ids(),
        "columns_of_text": _columns_of_text,
    }
    return environment


def _finalized(value: Any) -> Any:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _source(name: str) -> str:
    return (files("rv_report") / "templates" / name).read_text(encoding="utf-8")


def _new_ids() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"n{next(numbers)}"


def _picture(picture: ReportPicture) -> str:
    """The picture as the address of itself."""
    kind = next((kind for begin, kind in _KINDS.items() if picture.data.startswith(begin)), None)
    if kind is None:
        raise DataError("a picture of a report is no PNG, JPEG or WebP", where=picture.caption or picture.alt)
    return Markup("data:image/{};base64,{}").format(kind, base64.b64encode(picture.data).decode())


def _color(text: str) -> str:
    """The colour, if it is `#rrggbb` and nothing else."""
    return text if re.fullmatch(r"#[0-9a-fA-F]{6}", text) else "transparent"


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _columns_of_text(rows: Sequence[Sequence[Any]], num_columns: int) -> list[bool]:
    """Which columns hold any text: these are aligned to the left."""
    return [any(not _is_number(row[index]) for row in rows) for index in range(num_columns)]


def _share(counts: Sequence[int]) -> Iterator[float]:
    """Each count as a share of all of them, in steps of a tenth: 0 to 10."""
    total = sum(counts)
    return (round(10 * number / total) if total else 0 for number in counts)
