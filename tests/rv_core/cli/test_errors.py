"""Whose mistake an unexpected exception is, and what is left of its traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rv_core.cli import output
from rv_core.cli.errors import exit_code_of
from rv_core.errors import ConfigError
from rv_core.plugins.installed import forget_plugins

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)


@pytest.fixture(autouse=True)
def plugins(own_site: Site) -> Iterator[None]:
    own_site.install("rv-mine", "@hookimpl\ndef rv_runners(): return []\n", package="mine", version="3.1")
    forget_plugins()
    yield
    forget_plugins()


def function_of(module: str, path: str, body: str, **names: Any) -> Callable[[], None]:
    """A function that seems to be written in a module and a file of these names."""
    space = {"__name__": module, **names}
    exec(compile(f"def function():\n    {body}\n", path, "exec"), space)
    return space["function"]  # type: ignore[return-value]


def printed(function: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    try:
        function()
    except (KeyError, ValueError, ZeroDivisionError) as error:
        return exit_code_of(error, []), capsys.readouterr().err
    raise AssertionError("nothing was raised")


def test_a_bug_of_rv_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = printed(function_of("rv_core.plan.decisions", "/x/rv_core/plan.py", "raise KeyError(1)"), capsys)
    assert code == 1
    assert err.endswith("KeyError: 1\nthis is a bug in rv 0.1.0; please report it with the lines above\n")


def test_an_exception_in_a_library_belongs_to_the_plugin_that_called_it(capsys: pytest.CaptureFixture[str]) -> None:
    function = function_of("mine.runner", "/x/mine/runner.py", "json.loads('{')", json=__import__("json"))
    assert "this is a bug in plugin 'mine' (rv-mine 3.1)" in printed(function, capsys)[1]


def test_an_exception_in_code_of_the_user_names_the_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = function_of("experiment", f"{tmp_path}/experiment.py", "1 / 0")
    through_rv = function_of("rv_core.launch.execute", "/x/rv_core/run.py", "own()", own=own)
    _, err = printed(through_rv, capsys)
    assert err.endswith(f"raised by {tmp_path}/experiment.py, line 2, which is not part of rv\n")
    assert "bug" not in err


def test_the_cause_of_an_expected_error_is_shown_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError("no such field")
    error.__cause__ = ValueError("deep down")
    assert exit_code_of(error, ["--traceback"]) == 2
    assert "deep down" in capsys.readouterr().err
    assert exit_code_of(error, ["run"]) == 2
    assert capsys.readouterr().err == "config error: no such field\n"


def test_a_headline_is_red_on_a_terminal_and_foreign_text_is_not_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rv_core.wording.is_plain", lambda stream: False)
    output.print_error("config error: [red]x[/red]: y\n  where: z")
    assert capsys.readouterr().err == "\x1b[1;31mconfig error:\x1b[0m [red]x[/red]: y\n  where: z\n"


@pytest.mark.parametrize("is_plain", [True, False])
def test_cells_of_a_table_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_plain: bool
) -> None:
    monkeypatch.setattr(output, "is_plain", lambda: is_plain)
    output.print_table(("a", "b"), [("[bold]x[/bold]", ":smile:"), ("y\x1b[2J", "https://u:secretpw@h/")])
    out = capsys.readouterr().out
    assert "[bold]x[/bold]" in out
    assert ":smile:" in out
    assert "\x1b[2J" not in out
    assert "secretpw" not in out


def test_plain_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "value"), [("a", "1"), ("longer", "22")])
    assert capsys.readouterr().out == "name    value\na       1\nlonger  22\n"


def test_a_table_without_rows_is_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "value"), [])
    assert capsys.readouterr().out == "name  value\n"
