"""Values that pydantic is spared are those that it would have made."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command

from rv_core.cli.verbs import spare_pydantic


class Kind(Enum):
    LIST = "list"


def _taken(words: list[str], *, is_spared: bool) -> Any:
    taken = {}
    app = typer.Typer(add_completion=False)

    @app.command()
    def verb(
        name: str,
        rest: Annotated[list[str] | None, typer.Argument()] = None,
        count: int = 3,
        atmost: Annotated[int, typer.Option(max=5)] = 1,
        share: float = 0.5,
        folder: Path | None = None,
        kind: Kind = Kind.LIST,
        word: Annotated[list[str] | None, typer.Option()] = None,
        length: Annotated[str, typer.Option(parser=len)] = "four",
        fast: bool = False,
        nothing: str | None = None,
    ) -> None:
        taken.update(locals())

    command: Any = get_command(app)
    if is_spared:
        spare_pydantic(command)
    with command.make_context("verb", [*words]) as context:
        command.invoke(context)
    return {name: (value, type(value)) for name, value in taken.items() if name != "taken"}


@pytest.mark.parametrize(
    "words",
    [
        ["x"],
        ["x", "a", "b", "--count", "4", "--word", "1", "--word", "2", "--fast"],
        ["", "--count", "-4", "--nothing", "7", "--share", "0.25", "--atmost", "5"],
        ["x", "--count", " 12 ", "--folder", "/tmp", "--kind", "list", "--length", "abc"],
        ["x", "--count", "1_000", "--nothing", ""],
    ],
)
def test_every_value_is_the_one_of_typer(words: list[str]) -> None:
    assert _taken(words, is_spared=True) == _taken(words, is_spared=False)


@pytest.mark.parametrize("words", [["--count", "four"], ["--atmost", "6"], ["--count", "²"], ["--kind", "lists"]])
def test_what_typer_refuses_is_refused_in_its_words(words: list[str]) -> None:
    messages = []
    for is_spared in (False, True):
        with pytest.raises(typer.BadParameter) as caught:
            _taken(["x", *words], is_spared=is_spared)
        messages.append(caught.value.format_message())
    assert messages[0] == messages[1]
