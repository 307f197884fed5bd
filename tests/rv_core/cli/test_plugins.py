"""`rv plugins`: what is installed, what each plugin provides, and whether it can be imported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from rv_core.__main__ import main
from rv_core.plugins.installed import forget_plugins

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

HOOKS = """
@hookimpl
def rv_runners():
    return [RunnerSpec("mine", "rv_mine.parts:{runner}", "runs [it]", settings="rv_mine.parts:{settings}")]
@hookimpl
def rv_pipelines():
    return [PipelineSpec("pipe", "rv_mine.parts:{pipeline}")]
@hookimpl
def rv_commands():
    return [CommandSpec("extra", "rv_mine.parts:{verb}")]
@hookimpl
def rv_configs():
    return [ConfigSpec("mine", {{"part": "rv_mine.parts:{type}"}}, version=2, upgraders={upgraders})]
@hookimpl
def rv_task_started(run_id): pass
"""
PARTS = """
from dataclasses import dataclass
from rv_core import Config, PipelineConfig, Runner

class Mine(Runner):
    def run(self, plan, context): pass

@dataclass
class Settings:
    jobs: int = 1

@dataclass(kw_only=True)
class Pipe(PipelineConfig):
    x: int = 1

@dataclass
class Part(Config):
    y: int = 1

def extra(word: str, port: int = 1): pass
def greedy(quiet: bool = False): pass
def bad(word: "Nowhere"): pass
def up(plain): return plain
NUMBER = 7
"""
GOOD = {
    "runner": "Mine",
    "settings": "Settings",
    "pipeline": "Pipe",
    "verb": "extra",
    "type": "Part",
    "upgraders": "{1: 'rv_mine.parts:up'}",
}


@pytest.fixture(autouse=True)
def fresh_plugins() -> Iterator[None]:
    forget_plugins()
    yield
    forget_plugins()


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["plugins", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


Call = Callable[..., tuple[int, str, str]]


def install(site: Site, **changes: str) -> None:
    site.install("rv-mine", HOOKS.format(**{**GOOD, **changes}), files={"parts.py": PARTS}, version="1.2")


@pytest.mark.parametrize("words", [(), ("list",)])
def test_the_list_says_package_version_status_and_what_is_provided(
    call: Call, own_site: Site, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    install(own_site)
    own_site.install("rv-bad", "import nothing_of_nobody\n", version="0.3")
    own_site.install("rv-off", "x = 1\n")
    monkeypatch.setenv("RV_DISABLE_PLUGINS", "rv-off")
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["plugin"] == ["plugin", "package", "version", "status", "provides"]
    assert rows["core"][1:4] == ["rv-core", "0.1.0", "ok"]
    assert " ".join(rows["rv_mine"][1:]) == "rv-mine 1.2 ok runner: mine; pipeline: pipe; verb: extra"
    assert rows["rv_bad"][1:] == ["rv-bad", "0.3", "broken"]
    assert rows["rv_off"][3] == "disabled"
    assert "problem: plugin 'rv_bad' (rv-bad 0.3): cannot be loaded: No module named 'nothing_of_nobody'" in out


@pytest.mark.parametrize("words", [("--json",), ("list", "--json")])
def test_the_list_as_json_holds_everything(call: Call, own_site: Site, words: tuple[str, ...]) -> None:
    install(own_site)
    own_site.install("rv-bad", "raise ValueError('password=hunter22')\n")
    code, out, _ = call(*words)
    found = json.loads(out)
    by_name = {record["name"]: record for record in found["plugins"]}
    assert code == 0
    assert by_name["rv_mine"]["provides"][0] == {
        "kind": "command",
        "name": "extra",
        "target": "rv_mine.parts:extra",
        "summary": "",
    }
    assert by_name["rv_mine"]["hooks"] == [
        "rv_commands", "rv_configs", "rv_pipelines", "rv_runners", "rv_task_started"
    ]  # fmt: skip
    assert by_name["rv_bad"]["status"] == "broken"
    assert "Traceback" in by_name["rv_bad"]["traceback"]
    assert [problem["severity"] for problem in found["problems"]] == ["error"]
    assert "hunter22" not in out


@pytest.mark.parametrize("name", ["rv_mine", "rv-mine", "RV.Mine"])
def test_one_plugin_is_shown_by_its_name_or_its_package(call: Call, own_site: Site, name: str) -> None:
    install(own_site)
    code, out, _ = call("show", name)
    assert code == 0
    assert out.splitlines()[0] == "rv_mine: rv-mine 1.2, ok"
    assert "  provides  runner mine → rv_mine.parts:Mine – runs [it]" in out
    assert "  provides  config mine – config version 2" in out
    assert "  hook      rv_task_started" in out


def test_a_broken_plugin_is_shown_with_its_traceback(call: Call, own_site: Site) -> None:
    own_site.install("rv-bad", "raise ValueError('no licence')\n")
    code, out, _ = call("show", "rv-bad")
    assert code == 0
    assert "  error     ValueError: no licence" in out
    assert "  |     raise ValueError('no licence')" in out
    assert json.loads(call("show", "rv-bad", "--json")[1])[0]["status"] == "broken"


def test_a_clash_is_shown_with_the_plugin(call: Call, own_site: Site) -> None:
    own_site.install("rv-bold", "@hookimpl\ndef rv_runners(): return [RunnerSpec('inprocess', 'x:y')]\n")
    assert "  problem   the runner 'inprocess' of plugin 'rv_bold'" in call("show", "rv-bold")[1]


def test_an_unknown_plugin_names_the_near_miss(call: Call, own_site: Site) -> None:
    install(own_site)
    code, _, err = call("show", "rv-mien")
    assert code == 2
    assert "no plugin named 'rv-mien'" in err
    assert "did you mean 'rv-mine'?" in err


# --- check ------------------------------------------------------------------------------------------------------------


def problems(call: Call) -> tuple[int, list[str]]:
    code, out, _ = call("check", "--json")
    found = json.loads(out)
    assert found["ok"] == (code == 0)
    own = [target for target in found["targets"] if target["distribution"] == "rv-mine"]
    return code, [f"{target['declaration']}: {target['problem']}" for target in own]


def test_a_plugin_whose_targets_can_all_be_used_passes(call: Call, own_site: Site) -> None:
    install(own_site)
    assert problems(call)[1] == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"runner": "Missing"}, "runner mine: AttributeError: module 'rv_mine.parts' has no attribute 'Missing'"),
        ({"runner": "Part"}, "runner mine: is not a subclass of rv_core.Runner"),
        ({"settings": "up"}, "settings of runner mine: is not a dataclass"),
        ({"pipeline": "Part"}, "pipeline pipe: is not a subclass of rv_core.PipelineConfig"),
        ({"type": "Mine"}, "type part: is not a subclass of rv_core.Config"),
        ({"type": "NUMBER"}, "type part: is not a subclass of rv_core.Config"),
        ({"upgraders": "{1: 'rv_mine.parts:NUMBER'}"}, "upgrader of mine from version 1: is not a function"),
        ({"upgraders": "{}"}, "config mine: there is no upgrader from version 1"),
        ({"verb": "NUMBER"}, "verb extra: rv_mine.parts:NUMBER, the verb 'extra', is a int"),
        ({"verb": "bad"}, "verb extra: NameError: name 'Nowhere' is not defined"),
        ({"verb": "greedy"}, "verb extra: rv itself takes --quiet: these options never reach a verb"),
    ],
)
def test_every_declaration_that_does_not_keep_its_promise_is_found(
    call: Call, own_site: Site, changes: dict[str, str], expected: str
) -> None:
    install(own_site, **changes)
    code, found = problems(call)
    assert code == 3
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_all_problems_are_found_at_once_and_printed(call: Call, own_site: Site) -> None:
    install(own_site, runner="Part", pipeline="Gone")
    own_site.install("rv-bad", "x = 1\n")
    code, out, err = call("check")
    assert (code, err) == (3, "")
    lines = [line for line in out.splitlines() if "rv_mine" in line or "rv_bad" in line]
    assert [line.strip().partition(": ")[2][:42] for line in lines] == [
        "plugin 'rv_bad' (rv-bad 1.0): cannot be loaded"[:42],
        "rv_mine (rv-mine): pipeline pipe → rv_mine.parts"[:42],
        "rv_mine (rv-mine): runner mine → rv_mine.p",
    ]
    assert out.endswith("not everything works; see above\n")


def test_the_core_alone_passes(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rv_core.plugins.installed.candidates", lambda environ: [])
    code, out, err = call("check")
    assert (code, out, err) == (0, "1 of 1 plugins work\n", "")
