"""What of other people's text reaches a terminal or the JSON that rv prints."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import RvCli

import rv_core
from rv_core.terminal import json_text, shown

ESCAPES = "\x1b]0;PWN\x07\x1b[2J\x9b31m\u202eRTL\r\x00"

PIPELINE = """
import sys
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command

EVIL = "\\x1b]0;PWN\\x07\\x1b[2J\\x9b31m\\u202eRTL"

@dataclass
class EvilConfig(PipelineConfig):
    names: list[str]
    def build(self): return Evil(self)

class Evil(Pipeline):
    @command(items="names")
    def work(self, names: Items[str]) -> None:
        for name in names:
            raise ValueError("a name of the data: " + EVIL)

def get_config(runner: str, root_uri: str) -> EvilConfig:
    return EvilConfig(root_uri=root_uri, names=["a"])
"""


def is_clean(text: str) -> bool:
    return all(character in "\n\t" or character.isprintable() for character in text)


def test_control_characters_are_shown_and_not_obeyed() -> None:
    text = shown(f"what: {ESCAPES}\n  where: \tx")
    assert is_clean(text)
    assert text.startswith(r"what: \x1b]0;PWN\x07\x1b[2J\x9b31m\u202eRTL") and text.endswith("\n  where: \tx")


def test_a_line_without_an_end_is_cut() -> None:
    assert len(shown("x" * 500_000)) == 20_000
    assert len(shown("x" * 500_000, limit=None)) == 500_000


@given(st.text())
def test_whatever_is_shown_is_clean(text: str) -> None:
    assert is_clean(shown(text))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_json_is_valid_clean_and_says_the_same(value: Any) -> None:
    from rv_core.redaction import redact_values

    text = json_text(value)
    assert is_clean(text)
    assert json.loads(text) == redact_values(value)


def test_json_hides_what_stands_under_the_name_of_a_secret() -> None:
    text = json_text({"password": 'a"b', "note": 'password="x", y', "key": "0f3a", "n": {"api_token": "t" * 9}})
    assert json.loads(text) == {
        "password": "***",
        "note": 'password="***", y',
        "key": "0f3a",
        "n": {"api_token": "***"},
    }


@pytest.mark.parametrize("runner", ["local", "inprocess"])
def test_no_escape_of_an_exception_reaches_the_terminal(rv: RvCli, tmp_path: Path, runner: str) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    (tmp_path / "evil.py").write_text(PIPELINE)
    done = rv("run", runner, "evil.py", "-a", "root_uri=out")
    assert done.returncode == 1
    assert r"a name of the data: \x1b]0;PWN" in done.stderr
    assert is_clean(done.stdout + done.stderr)
    for words in (["status", "out"], ["status", "out", "--json"], ["logs", "out"], ["logs", "out", "work"]):
        shown_later = rv(*words)
        assert is_clean(shown_later.stdout + shown_later.stderr), words
    logs = [path.read_text() for path in (tmp_path / "out").glob(".rv/runs/*/logs/*.work.1.log")]
    assert len(logs) == 1 and is_clean(logs[0])


def test_no_escape_of_a_file_of_the_state_reaches_the_terminal(rv: RvCli, tmp_path: Path) -> None:
    assert rv("run", "inprocess", "rv_core.hello", "-a", "root_uri=out").returncode == 0
    run = next((tmp_path / "out/.rv/runs").iterdir())
    record = json.loads((run / "run.json").read_text())
    record |= {"user": ESCAPES, "host": ESCAPES, "argv": [ESCAPES], "runner": f"x{ESCAPES}"}
    (run / "run.json").write_text(json.dumps(record))
    for words in (["status", "out"], ["status", "out", "--json"], ["status", "out", "--all"], ["cancel", "out"]):
        done = rv(*words)
        assert is_clean(done.stdout + done.stderr), words


def test_the_command_line_prints_text_through_one_place_alone() -> None:
    """A `print` of its own would go round redaction and the rule for control characters."""
    package = Path(rv_core.__file__).parent
    # Help, JSON, usage, and the last words of a process that is being ended: words of rv's own alone.
    allowed = {"cli/app.py", "cli/output.py", "launch/deep_check.py", "task/process.py", "task/watchdog.py"}
    found = []
    for path in [p for folder in ("cli", "launch", "status", "task") for p in (package / folder).rglob("*.py")]:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        if any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
            found.append(path.relative_to(package).as_posix())
    assert set(found) <= allowed
