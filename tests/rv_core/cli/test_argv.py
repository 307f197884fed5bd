"""What users may type becomes what Typer takes."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.main import get_command

from rv_core.cli.argv import SHIP_CODE, VALUE_OPTIONS, normalise, split_at_verb
from rv_core.cli.verbs import BUILTIN_VERBS, command_of
from rv_core.errors import UsageError


def lines(text: str) -> list[tuple[str, str]]:
    """The pairs `typed → taken` of a table."""
    pairs = [line.split("→") for line in text.strip().splitlines()]
    return [(typed.strip(), taken.strip()) for typed, taken in pairs]


@pytest.mark.parametrize(
    ("typed", "taken"),
    lines(
        """
        run local m.py -a k v → run local m.py -a k=v
        run local m.py -a k=v → run local m.py -a k=v
        run local m.py -ak v → run local m.py -a k=v
        run local m.py -ak=v → run local m.py -a k=v
        run local m.py --arg k v → run local m.py -a k=v
        run local m.py --arg=k=v → run local m.py -a k=v
        run local m.py --arg=k v → run local m.py -a k=v
        run local m.py -a k a=b → run local m.py -a k=a=b
        run local m.py -a k -3 → run local m.py -a k=-3
        run local m.py -a k -.5 → run local m.py -a k=-.5
        run local m.py -a k - → run local m.py -a k=-
        run local m.py -a k=-v → run local m.py -a k=-v
        run -a k v local -a l w m.py chip → run -a k=v local -a l=w m.py chip
        check m.py -a k v → check m.py -a k=v
        predict b.zip -a k v → predict b.zip -a k v
        run local m.py --profile x → --profile x run local m.py
        run local m.py --profile=x → --profile=x run local m.py
        run local m.py -p x -vv -q → -p x -vv -q run local m.py
        run local m.py -px → -px run local m.py
        run local m.py --traceback --verbose --quiet → --traceback --verbose --quiet run local m.py
        -v run local m.py -v → -v -v run local m.py
        -p run status out → -p run status out
        status out -p run → -p run status out
        run local m.py --set -v → run local m.py --set -v
        run local m.py --split 4 → run local m.py --splits 4
        run local m.py --split=4 → run local m.py --splits=4
        run local m.py -s 4 → run local m.py -s 4
        run local m.py --splits -q → run local m.py --splits -q
        other --split 4 → other --split 4
        run local m.py -- -a k v -v --split 3 → run local m.py -- -a k v -v --split 3
        run_command c.json chip → run-command c.json chip
        -v run_command c.json chip → -v run-command c.json chip
        run local m.py run_command → run local m.py run_command
        --help → --help
        --version → --version
        plugins -v list → -v plugins list
        -- run -v → -- run -v
        """
    ),
)
def test_words_are_rewritten(typed: str, taken: str) -> None:
    assert normalise(typed.split()) == taken.split()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("run local m.py -a", "-a has no value"),
        ("run local m.py -a --splits 4", "-a has no value"),
        ("run local m.py --arg k", "--arg k has no value"),
        ("run local m.py -a k --splits 4", "a value that begins with '-' is written -a k=VALUE"),
        ("run local m.py -a k -v", "-a k has no value"),
        ("run local m.py -p", "-p has no value"),
        ("run local m.py --profile", "--profile has no value"),
        ("run local m.py -p -v", "-p has no value"),
        ("run local m.py -p --", "-p has no value"),
    ],
)
def test_a_missing_value_is_a_usage_error_that_says_how_to_write_it(typed: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise(typed.split())
    assert message in str(caught.value)


def test_no_words_are_no_words() -> None:
    assert normalise([]) == []


def test_an_empty_value_is_a_value() -> None:
    assert normalise(["run", "local", "m.py", "-a", "k", ""]) == ["run", "local", "m.py", "-a", "k="]


WORDS = st.one_of(
    st.sampled_from(
        [
            "run",
            "check",
            "status",
            "plugins",
            "run_command",
            "-v",
            "-vv",
            "-q",
            "--quiet",
            "--traceback",
            "-p",
            "--profile",
            "--profile=x",
            "-a",
            "--arg",
            "--arg=k",
            "-ak",
            "k=v",
            "--split",
            "--splits",
            "-s",
            "--set",
            "--json",
            "--",
            "--unknown",
            "-x",
            "-3",
            "chip",
            "m.py",
        ]
    ),
    st.text(max_size=4),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, max_size=9))
def test_normalising_twice_changes_nothing_more(argv: list[str]) -> None:
    before = list(argv)
    try:
        once = normalise(argv)
    except UsageError:
        return
    assert argv == before
    assert normalise(once) == once
    assert split_at_verb(once)[1] == split_at_verb(argv)[1]


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=9))
def test_words_of_other_verbs_are_moved_and_never_changed(argv: list[str]) -> None:
    try:
        assert sorted(normalise(["predict", *argv])) == sorted(["predict", *argv])
    except UsageError:
        assert {"-p", "--profile"} & set(argv)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6))
def test_nothing_changes_after_two_dashes(before: list[str], after: list[str]) -> None:
    argv = ["run", *(word for word in before if word != "--"), "m.py", "--", *after]
    try:
        taken = normalise(argv)
    except UsageError:
        return
    assert taken[len(taken) - len(after) :] == after


@settings(max_examples=200, deadline=None)
@given(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text(max_size=12).filter(lambda text: text[:1] != "-"))
def test_a_key_and_a_value_are_the_same_in_one_word_and_in_two(key: str, value: str) -> None:
    two = normalise(["run", "local", "m.py", "-a", key, value])
    one = normalise(["run", "local", "m.py", "-a", f"{key}={value}"])
    assert two == one == ["run", "local", "m.py", "-a", f"{key}={value}"]


@settings(max_examples=200, deadline=None)
@given(st.permutations(["-v", "-q", "--traceback", "--profile=x"]), st.integers(0, 4))
def test_global_options_mean_the_same_before_and_after_the_verb(options: list[str], count: int) -> None:
    typed = normalise([*options[:count], "status", "out", *options[count:]])
    assert typed == [*options, "status", "out"]


def options_that_take_a_value(command: object) -> tuple[set[str], set[str]]:
    """(options with a value, flags) of a command and its sub-commands."""
    values: set[str] = set()
    flags: set[str] = set()
    for parameter in command.params:  # type: ignore[attr-defined]
        if parameter.param_type_name == "option":
            is_flag = parameter.is_flag or parameter.count
            (flags if is_flag else values).update(parameter.opts, parameter.secondary_opts)
    for child in getattr(command, "commands", {}).values():
        child_values, child_flags = options_that_take_a_value(child)
        values, flags = values | child_values, flags | child_flags
    return values, flags


def test_the_table_of_options_with_a_value_is_that_of_the_verbs() -> None:
    values: set[str] = set()
    flags: set[str] = set()
    for spec in BUILTIN_VERBS.values():
        own_values, own_flags = options_that_take_a_value(command_of(spec))
        values, flags = values | own_values, flags | own_flags
    assert values - {"-a", "--arg", SHIP_CODE} == VALUE_OPTIONS
    assert not VALUE_OPTIONS & flags


def test_typer_takes_what_comes_out() -> None:
    app = typer.Typer(add_completion=False)
    seen = {}

    @app.command()
    def run(
        arg: Annotated[list[str], typer.Option("-a")], splits: Annotated[int, typer.Option("--splits", "-s")]
    ) -> None:
        seen.update(arg=arg, splits=splits)

    words = normalise(["run", "-a", "k", "v w", "--split", "3", "-a", "l=1"])
    get_command(app).main(words[1:], standalone_mode=False)
    assert seen == {"arg": ["k=v w", "l=1"], "splits": 3}
