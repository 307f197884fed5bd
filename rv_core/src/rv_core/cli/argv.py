"""Rewrites what users may type into what Typer can take. Pure.

Typer knows neither an option with a value of two words (`-a KEY VALUE`) nor options of the group after the verb.
`rv --version` goes through this module, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

#: Options of built-in verbs that take the next word, whatever it looks like; a test compares them with the verbs.
VALUE_OPTIONS = frozenset(
    [
        "--set",
        "--splits",
        "--split",
        "-s",
        "--jobs",
        "-j",
        "--from",
        "--to",
        "--pipeline-run-name",
        "--reuse",
        "--runner",
        "--run",
        "--attempt",
        "--kind",
        "--into",
    ]
)
#: Verbs of the core whose `-a` takes a key and a value; those of plugins declare it.
ARGUMENT_VERBS = frozenset(("run", "check"))
#: An option of these verbs that may have a value, but only behind `=`; what stands alone is given the value ".".
SHIP_CODE = "--ship-code"
RUN_COMMAND = "run-command"
_ALIASES = {"run_command": RUN_COMMAND}
_FLAGS = frozenset(("--verbose", "-q", "--quiet", "--traceback"))


class _Words:
    """Words that are sorted into those before the verb and those after it."""

    def __init__(self, rest: list[str]) -> None:
        self.rest = rest
        self.global_words: list[str] = []
        self.verb_words: list[str] = []

    def take(self, count: int) -> list[str]:
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


def normalise(argv: Sequence[str], argument_verbs: Collection[str] = ARGUMENT_VERBS) -> list[str]:
    """The words of a command line as Typer takes them.

    Global options (`-p/--profile X`, `-v`, `-q`, `--traceback`) move before the verb; for `run` and `check`
    `-a KEY VALUE` becomes `-a KEY=VALUE`, `--ship-code` becomes `--ship-code=.`; `--split` becomes `--splits`; nothing
    changes from `--` on.

    Args:
        argv: the words without the program's name.
        argument_verbs: verbs whose `-a` takes a key and a value.

    Raises:
        UsageError: for `-a` or `--profile` without a value.
    """
    leading, verb, rest = split_at_verb(argv)
    if verb is None:
        return leading
    words = _Words(rest)
    while words.rest:
        if words.rest[0] == "--":
            words.verb_words += words.take(len(words.rest))
        elif not _take_global(words) and not (verb in argument_verbs and _take_argument(words)):
            _take_plain(words, verb)
    return [*leading, *words.global_words, verb, *words.verb_words]


def split_at_verb(argv: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Split into the words before the verb, the verb (None if there is none) and the words after it."""
    leading: list[str] = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "--":
        count = 2 if rest[0] in ("-p", "--profile") else 1
        leading, rest = leading + rest[:count], rest[count:]
    if not rest or rest[0] == "--":
        return leading + rest, None, []
    return leading, _ALIASES.get(rest[0], rest[0]), rest[1:]


def is_global_option(word: str) -> bool:
    """Whether a word is an option of `rv` itself, wherever it stands."""
    return _is_flag(word) or _is_profile(word)


def _is_flag(word: str) -> bool:
    return word in _FLAGS or (word.startswith("-v") and not word[1:].strip("v"))


def _is_profile(word: str) -> bool:
    return word.startswith(("-p", "--profile=")) or word == "--profile"


def _take_global(words: _Words) -> bool:
    word = words.rest[0]
    if _is_flag(word):
        words.global_words += words.take(1)
        return True
    if not _is_profile(word):
        return False
    if word not in ("-p", "--profile"):
        words.global_words += words.take(1)
        return True
    if len(words.rest) < 2 or words.rest[1].startswith("-"):
        raise _usage_error(f"{word} has no value", f"write {word} NAME")
    words.global_words += words.take(2)
    return True


def _take_argument(words: _Words) -> bool:
    option, attached = _argument_option(words.rest[0])
    if not option:
        return False
    words.take(1)
    pair = attached or next(iter(words.take(1)), None)
    if pair is None or _looks_like_an_option(pair):
        raise _usage_error(f"{option} has no value", f"write {option} KEY VALUE or {option} KEY=VALUE")
    if "=" not in pair:
        value = next(iter(words.take(1)), None)
        if value is None or _looks_like_an_option(value):
            fix = f"write {option} {pair} VALUE; a value that begins with '-' is written {option} {pair}=VALUE"
            raise _usage_error(f"{option} {pair} has no value", fix)
        pair = f"{pair}={value}"
    words.verb_words += ["-a", pair]
    return True


def _usage_error(what: str, fix: str) -> Exception:
    from rv_core.errors import UsageError

    return UsageError(what, fix=fix)


def _argument_option(word: str) -> tuple[str, str]:
    """(the option as typed, what is attached to it), or ("", "") for another word."""
    if word in ("-a", "--arg"):
        return word, ""
    if word.startswith("--arg="):
        return "--arg", word.removeprefix("--arg=")
    return ("-a", word[2:]) if word.startswith("-a") else ("", "")


def _looks_like_an_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not (word[1].isdecimal() or word[1] == ".")


def _take_plain(words: _Words, verb: str) -> None:
    word = words.rest[0]
    taken = words.take(2 if word in VALUE_OPTIONS else 1)
    if verb == "run" and word.partition("=")[0] == "--split":
        taken[0] = word.replace("--split", "--splits", 1)
    if verb in ARGUMENT_VERBS and word == SHIP_CODE:
        taken[0] = f"{SHIP_CODE}=."
    words.verb_words += taken


def shipped(values: list[str] | None) -> tuple[str, ...] | None:
    """The packages named by `--ship-code`; it may stand alone (the value ".") and be repeated."""
    if not values:
        return None
    names = [name.strip() for value in values for name in value.split(",")]
    return tuple(dict.fromkeys(name for name in names if name not in ("", ".")))
