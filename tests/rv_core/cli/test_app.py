"""The command line: verbs and where they come from, global options, warnings, errors and exit codes."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rv_core.__main__ import main
from rv_core.plugins.installed import forget_plugins

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

VERB_HOOKS = """
@hookimpl
def rv_commands():
    return [
        CommandSpec("say", "rv_extra.verbs:say", "Say [red]something[/red].", "Extra"),
        CommandSpec("group", "rv_extra.verbs:app", "Many things", "Look"),
        CommandSpec("fail", "rv_extra.verbs:fail", "Fail in many ways"),
        CommandSpec("gone", "rv_extra.gone:app", "Not there"),
        CommandSpec("number", "rv_extra.verbs:NUMBER", "Not a verb"),
        CommandSpec("odd", "rv_extra.verbs:odd", "Not to be converted"),
        CommandSpec("pairs", "rv_extra.verbs:pairs", "Takes arguments", takes_arguments=True),
        CommandSpec("words", "rv_extra.verbs:pairs", "Takes words"),
    ]
"""
VERBS = """
import sys
from typing import Annotated
import typer
from rv_core import ConfigError, DataError, PluginError, RunnerError, UsageError

NUMBER = 7
app = typer.Typer()

def say(ctx: typer.Context, word: str, times: int = 1, loud: bool = False) -> None:
    '''Say a word.

    This text is wrapped,
    and this too.

    Examples:
      rv say hello
      rv say hello --times 2
    '''
    print(word * times, ctx.obj)

@app.command()
def first(name: str) -> None:
    print("first", name)

@app.command()
def second(profile: Annotated[str, typer.Option("-p", "--profile")] = "") -> None:
    print("second")

def odd(value: "Nowhere") -> None:
    pass

def pairs(module: str, arg: Annotated[list[str], typer.Option("-a", "--arg")] = []) -> None:
    print(module, arg)

def fail(how: str, text: str = "oh [bold]no[/bold]") -> None:
    errors = {"config": ConfigError, "data": DataError, "plugin": PluginError, "runner": RunnerError, "usage": UsageError}
    if how in errors:
        raise errors[how](text, where="here")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "abort":
        raise typer.Abort
    if how == "exit":
        raise typer.Exit(7)
    if how == "system exit":
        sys.exit(5)
    if how == "bad parameter":
        raise typer.BadParameter("it is odd", param_hint="HOW")
    if how == "pipe":
        raise BrokenPipeError
    if how == "wait":
        import time
        print("ready", flush=True)
        time.sleep(60)
    if how == "print":
        print(text)
        return
    raise ValueError(text)
"""


@pytest.fixture(autouse=True)
def fresh_plugins() -> Iterator[None]:
    """Plugins of this process are found anew."""
    forget_plugins()
    yield
    forget_plugins()


@pytest.fixture
def extra(own_site: Site) -> Site:
    """A plugin with verbs."""
    own_site.install("rv-extra", VERB_HOOKS, files={"verbs.py": VERBS}, version="0.4")
    return own_site


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`call("plugins", "list")` returns exit code, stdout and stderr; runs in this process."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


Call = Callable[..., tuple[int, str, str]]


# --- help and version -------------------------------------------------------------------------------------------------


def test_version_is_one_line(call: Call) -> None:
    assert call("--version") == (0, "rv 0.1.0\n", "")
    assert call("-v", "--version", "run") == (0, "rv 0.1.0\n", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_the_verbs_under_their_headings(call: Call, extra: Site, option: str) -> None:
    code, out, err = call(option)
    assert (code, err) == (0, "")
    headings = [line for line in out.splitlines() if line in ("Run:", "Look:", "Extend:", "Extra:", "Plugins:")]
    assert headings == ["Run:", "Look:", "Extend:", "Extra:", "Plugins:"]
    look = out.split("Look:\n")[1].split("\n\n")[0].split("\n")
    verbs = [line.split()[0] for line in look if line.startswith("  ") and line[2] != " "]
    assert verbs[:3] == ["status", "logs", "cancel"]
    assert "group" in verbs[3:]  # beside those of other plugins that are installed
    assert "Say [red]something[/red]" in out
    assert "  rv run local experiment.py -a root_uri out --splits 4\n" in out


def test_a_verb_that_cannot_be_imported_stays_in_the_help_and_explains_itself(call: Call, extra: Site) -> None:
    assert "Not there" in call("--help")[1]
    code, out, err = call("gone", "x")
    assert (code, out) == (3, "")
    assert "rv_extra.gone:app, declared by plugin 'rv_extra' (rv-extra 0.4), cannot be imported" in err
    assert "its module rv_extra.gone does not exist" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("number", "is a int, neither a typer.Typer nor a function"), ("odd", "cannot be made a command")],
)
def test_a_target_that_is_no_verb_is_an_error_of_the_plugin(call: Call, extra: Site, verb: str, expected: str) -> None:
    code, _, err = call(verb)
    assert code == 3
    assert expected in err


def test_no_verb_is_a_usage_error_that_shows_the_help(call: Call) -> None:
    code, out, err = call()
    assert (code, out) == (2, "")
    assert "Run:\n" in err


def test_a_group_without_a_word_shows_its_help_as_it_is(call: Call) -> None:
    code, out, err = call("config")
    assert (code, out) == (2, "")
    assert err.startswith("Usage: rv config ")


def test_lines_that_are_indented_in_a_docstring_are_kept_in_the_help(call: Call, extra: Site) -> None:
    code, out, _ = call("say", "--help")
    assert code == 0
    assert "  Examples:\n    rv say hello\n    rv say hello --times 2\n" in out
    assert "This text is wrapped, and this too." in out


def test_the_help_of_a_plugin_is_plain_and_offers_no_completion_of_its_own(call: Call, extra: Site) -> None:
    _, out, _ = call("group", "--help")
    assert "Commands:\n  first" in out
    assert "completion" not in out
    assert "╭" not in out


# --- verbs of plugins -------------------------------------------------------------------------------------------------


def test_a_verb_of_a_plugin_gets_its_arguments_and_the_global_options(call: Call, extra: Site) -> None:
    code, out, err = call("-v", "say", "ab", "--times", "2", "-v", "--profile", "x", "--traceback")
    assert (code, err) == (0, "")
    assert out == "abab GlobalOptions(profile='x', verbosity=2, traceback=True)\n"


def test_quiet_is_a_verbosity_of_minus_one(call: Call, extra: Site) -> None:
    assert call("say", "a", "-q")[1] == "a GlobalOptions(profile=None, verbosity=-1, traceback=False)\n"


def test_a_typer_application_of_a_plugin_is_a_verb(call: Call, extra: Site) -> None:
    assert call("group", "first", "x") == (0, "first x\n", "")


def test_a_verb_never_replaces_a_built_in_one_and_a_line_says_so(call: Call, own_site: Site) -> None:
    own_site.install("rv-bold", "@hookimpl\ndef rv_commands(): return [CommandSpec('config', 'x:y', 'Mine')]\n")
    code, out, err = call("config", "schema")
    assert code == 0
    assert "rv_core.hello:HelloConfig" in out
    assert err == (
        "warning: the verb 'config' of plugin 'rv_bold' (rv-bold 1.0) is left out: the built-in one is never replaced\n"
    )
    assert "Mine" not in call("--help")[1]


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_a_broken_plugin_is_one_line_on_stderr_where_it_matters(call: Call, extra: Site) -> None:
    extra.install("rv-bad", "import nothing_of_nobody\n", version="0.3")
    line = "warning: plugin 'rv_bad' (rv-bad 0.3): cannot be loaded: No module named 'nothing_of_nobody'; "
    for words in (["say", "a"], ["--help"], ["config", "schema"]):
        forget_plugins()
        code, _, err = call(*words)
        assert code == 0
        assert err == f"{line}rv plugins show rv_bad\n"
    for words in (["plugins", "list"], ["--version"], ["-q", "config", "schema"]):
        assert call(*words)[2] == ""


def test_several_problems_are_a_headline_and_a_line_each(call: Call, extra: Site) -> None:
    for name in ("rv-bad", "rv-worse"):
        extra.install(name, "raise ValueError('a\\nb')\n")
    _, _, err = call("say", "a")
    headline, first, second = err.splitlines()
    assert headline == "warning: 2 problems with plugins; see rv plugins list"
    assert first.startswith("  plugin 'rv_bad' (rv-bad 1.0): cannot be loaded: ValueError")
    assert second.startswith("  plugin 'rv_worse' (rv-worse 1.0): cannot be loaded: ValueError")


@pytest.mark.parametrize("words", [["status", "out"], ["--help"], ["-q", "say", "a"]])
def test_strict_makes_a_broken_plugin_fatal_for_every_verb_but_the_one_that_shows_it(
    call: Call, extra: Site, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("RV_STRICT_PLUGINS", "1")
    extra.install("rv-bad", "x = 1\n")
    code, out, err = call(*words)
    assert (code, out) == (3, "")
    assert "plugin error: RV_STRICT_PLUGINS is set and not every plugin works" in err
    assert "implements no hook" in err
    assert call("--version")[0] == 0
    code, out, _ = call("plugins", "list")
    assert code == 3
    assert "rv-bad" in out
    assert call(*words)[0] == 3  # what was looked at is fatal again afterwards


# --- mistakes on the command line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["stauts"], "no verb named 'stauts'"),
        (["stauts"], "next: did you mean 'status'?"),
        (["config", "schema", "--jsn"], "did you mean --json? rv config schema --help tells more"),
        (["plugins", "lst"], "Did you mean 'list'?"),
        (["plugins", "show"], "where: rv plugins show [OPTIONS]"),
        (["--profil", "x", "status"], "did you mean --profile? rv --help tells more"),
        (["say", "a", "--times", "many"], "--times"),
        (["say", "a", "--times", "many"], "'many'"),
        (["say", "a", "--times=many"], "'many'"),
        (["run", "inprocess", "m.py", "-a", "k"], "usage error: -a k has no value"),
        (["fail", "bad parameter"], "Invalid value for HOW: it is odd"),
    ],
)
def test_a_mistake_on_the_command_line_ends_with_2_and_a_hint(
    call: Call, extra: Site, words: list[str], expected: str
) -> None:
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert err.startswith("usage error: ")
    assert expected in err
    assert "Traceback" not in err


def test_an_unknown_verb_names_plugins_that_could_not_be_loaded(call: Call, own_site: Site) -> None:
    own_site.install("rv-bad", "x = 1\n")
    _, _, err = call("forecast")
    assert "not loaded: plugin 'rv_bad' (rv-bad 1.0); see rv plugins list" in err


# --- errors and exit codes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "code"),
    [("config", 2), ("usage", 2), ("data", 1), ("plugin", 3), ("runner", 3)],
)
def test_an_expected_error_is_one_block_and_its_exit_code(call: Call, extra: Site, how: str, code: int) -> None:
    got, out, err = call("fail", how)
    assert (got, out) == (code, "")
    headline = {"config": "config error", "usage": "usage error", "data": "data error"}.get(how, f"{how} error")
    assert err == f"{headline}: oh [bold]no[/bold]\n  where: here\n"


@pytest.mark.parametrize(("how", "code"), [("interrupt", 130), ("abort", 130), ("exit", 7), ("pipe", 1)])
def test_other_ends_are_quiet(call: Call, extra: Site, how: str, code: int) -> None:
    assert call("fail", how) == (code, "", "")


def test_an_exit_of_a_verb_is_the_exit_of_the_process(call: Call, extra: Site) -> None:
    with pytest.raises(SystemExit) as caught:
        call("fail", "system exit")
    assert caught.value.code == 5


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_traceback_shows_where_an_expected_error_was_raised(call: Call, extra: Site, place: int) -> None:
    words = ["fail", "config"]
    words.insert(min(place, 2), "--traceback")
    code, _, err = call(*words)
    assert code == 2
    assert "rv_extra/verbs.py" in err
    assert err.endswith("config error: oh [bold]no[/bold]\n  where: here\n")


def test_any_other_exception_shows_the_frames_of_the_plugin_and_names_it(call: Call, extra: Site) -> None:
    code, out, err = call("fail", "otherwise")
    assert (code, out) == (1, "")
    frames = [line for line in err.splitlines() if line.startswith('  File "')]
    assert len(frames) == 1
    assert "rv_extra/verbs.py" in frames[0]
    assert err.splitlines()[-2:] == [
        "ValueError: oh [bold]no[/bold]",
        "this is a bug in plugin 'rv_extra' (rv-extra 0.4); please report it to its authors with the lines above",
    ]


@pytest.mark.parametrize("how", ["config", "otherwise"])
def test_secrets_are_hidden_in_errors(call: Call, extra: Site, how: str) -> None:
    _, _, err = call("fail", how, "--text", "cannot open https://ada:hunter22@example.org/x", "--traceback")
    assert "hunter22" not in err
    assert "https://***@example.org/x" in err


# --- fresh processes --------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(rv: Any, site: Site) -> tuple[Any, dict[str, str]]:
    """The command line in a fresh process that has a plugin with verbs: (rv, environment)."""
    site.install("rv-extra", VERB_HOOKS, files={"verbs.py": VERBS})
    return rv, site.environ(PYTHONIOENCODING="ascii")


def test_an_interrupt_ends_with_130_and_no_traceback(fresh: tuple[Any, dict[str, str]]) -> None:
    rv, environ = fresh
    process = rv.start("fail", "wait", env=environ)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


def test_an_interrupt_while_modules_are_imported_is_no_traceback(rv: Any, tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    done = rv("status", tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (130, "")


def test_a_reader_that_went_away_is_no_reason_for_a_traceback(fresh: tuple[Any, dict[str, str]]) -> None:
    rv, environ = fresh
    process = rv.start("config", "schema", "hello", env=environ)
    process.stdout.close()
    err = process.stderr.read()
    assert (process.wait(30), err) == (1, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_whose_standard_streams_are_closed_does_its_work(tmp_path: Path, closed: str) -> None:
    words = [sys.executable, "-m", "rv_core", "run", "inprocess", "rv_core.hello", "-a", "root_uri", str(tmp_path)]
    command = f"exec {shlex.join(words)} {closed}"
    done = subprocess.run(command, shell=True, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "gpu_task" / "summary.txt").is_file()


def test_text_that_the_terminal_cannot_show_does_not_end_a_verb(fresh: tuple[Any, dict[str, str]]) -> None:
    rv, environ = fresh
    done = rv("fail", "print", "--text", "Zürich \udcff", env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Z\\xfcrich \\udcff\n", "")


@pytest.mark.parametrize("name", ["run-command", "run_command"])
def test_run_command_is_taken_under_both_names_and_with_options_before_it(rv: Any, name: str) -> None:
    done = rv("-v", name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: rv run-command CONFIG_URI COMMAND")
    assert rv("--traceback", name).returncode == 2


@pytest.mark.parametrize(
    ("words", "index", "expected"),
    [("rv st", 1, "status"), ("rv plugins sh", 2, "show"), ("rv sa", 1, "say"), ("rv config schema --js", 3, "--json")],
)
def test_the_shell_completes_verbs_and_options(
    fresh: tuple[Any, dict[str, str]], words: str, index: int, expected: str
) -> None:
    rv, environ = fresh
    more = {"_RV_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(index)}
    done = rv(env={**environ, **more})
    assert done.stdout.split() == [expected]


def test_a_verb_that_declares_it_takes_arguments_as_run_does(
    extra: Site, call: Callable[..., tuple[int, str, str]]
) -> None:
    assert call("pairs", "m.py", "-a", "key", "value", "-a", "k=v")[1] == "m.py ['key=value', 'k=v']\n"
    assert call("words", "m.py", "-a", "key", "-a", "k=v")[1] == "m.py ['key', 'k=v']\n"
    code, _, err = call("pairs", "m.py", "-a", "key")
    assert (code, "-a key has no value" in err) == (2, True)
