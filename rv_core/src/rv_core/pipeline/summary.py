"""What a pipeline says of its results: a few numbers, small tables, files worth opening. Plain values, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: One value: text, a number, or None for one that is not defined. The scalars of numpy and torch become numbers.
Value = str | int | float | None


@dataclass(frozen=True)
class SummaryTable:
    """A small table.

    Args:
        columns: the headings.
        rows: as many values each as there are columns.
        title: what stands above it; "" for nothing.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    title: str = ""


@dataclass(frozen=True)
class Summary:
    """The results of a pipeline in a few lines; what `Pipeline.summary` returns.

    Args:
        numbers: the few that tell how good it is, the most important first: name -> value.
        tables: small ones, shown in this order.
        warnings: what a user must know before using the results, a sentence each.
        notes: what else is to be said.
        files: name relative to the root -> what it shows; those worth opening.
        commands: what for -> a command line to type next, in which `{root}` stands for the root.
    """

    numbers: Mapping[str, Value] = field(default_factory=dict)
    tables: Sequence[SummaryTable] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; a number that JSON cannot hold (NaN, infinity) is null.

        Raises:
            ValueError: if the values are not what this class says.
        """
        tables = [
            {"title": t.title, "columns": list(t.columns), "rows": [[_plain(v) for v in row] for row in t.rows]}
            for t in self.tables
        ]
        plain = {
            "numbers": {name: _plain(value) for name, value in self.numbers.items()},
            "tables": tables,
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "files": dict(self.files),
            "commands": dict(self.commands),
        }
        checked: dict[str, Any] = _checked(json.loads(json.dumps(plain, allow_nan=False)))
        return checked

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Summary:
        """Read one back.

        Raises:
            ValueError: if it is none.
        """
        checked = _checked(plain)
        known = {name: checked[name] for name in cls.__dataclass_fields__}
        tables = [SummaryTable(table["columns"], table["rows"], table["title"]) for table in known.pop("tables")]
        return cls(tables=tables, **known)


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _checked(plain: Any) -> Any:
    from rv_core import state_json

    value = (str, int, float, type(None))
    table = {"title": str, "columns": [str], "rows": [[value]]}
    texts = {str: str}
    shape = {"numbers": {str: value}, "tables": [table], "warnings": [str], "notes": [str], "files": texts}
    state_json.typed(plain, {**shape, "commands": texts})
    for index, found in enumerate(plain["tables"]):
        if any(len(row) != len(found["columns"]) for row in found["rows"]):
            raise ValueError(f"a row of tables[{index}] has not one value for each of its columns")
    return plain
