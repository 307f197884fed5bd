"""The history of a training as a table for spreadsheets and trackers: the entries of `history.jsonl`, a row each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def history_csv(history: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> str:
    """The text of the file: a header and one row per epoch, numbers as JSON writes them, nothing where there is none.

    Args:
        history: the entries; what an entry has per class becomes a column per class, `name:class`.
        class_names: by class id.
    """
    rows = [dict(_cells_of(entry, class_names)) for entry in history]
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _cells_of(entry: Mapping[str, Any], class_names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name, value in entry.items():
        if isinstance(value, list):
            yield from (
                (f"{name}:{of_class}", json.dumps(one)) for of_class, one in zip(class_names, value, strict=True)
            )
        else:
            yield name, "" if value is None else json.dumps(value)
