"""`rv config`: saved configs, schemas, settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rv_core.__main__ import main
from rv_core.cli.config import leaves
from rv_core.config import saved as config_file
from rv_core.hello import HelloConfig


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        code = main(["config", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A root with a saved config."""
    root = tmp_path / "root"
    root.mkdir()
    config = HelloConfig(root_uri=str(root), name="hello", num_items=3, greeting="grüezi")
    (root / "pipeline-config.json").write_text(config_file.dump(config))
    return root


def test_a_saved_config_is_shown_with_one_line_per_field(call: Call, saved: Path) -> None:
    code, out, err = call("show", str(saved))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"# {saved}/pipeline-config.json",
        "# rv-core: config version 1",
        'type_hint = "hello"',
        f'root_uri = "{saved}"',
        'name = "hello"',
        "num_items = 3",
        "sleep_s = 0.0",
        'greeting = "grüezi"',
        'fail_on = ""',
    ]


def test_a_file_is_shown_like_the_root_that_it_is_under(
    call: Call, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved)
    assert call("show", "pipeline-config.json")[1] == call("show", ".")[1] == call("show", str(saved))[1]


def test_a_saved_config_as_json(call: Call, saved: Path) -> None:
    code, out, _ = call("show", str(saved), "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["versions"] == {"rv-core": 1}
    assert shown["config"]["num_items"] == 3


def test_no_code_that_a_config_names_is_imported(call: Call, saved: Path, tmp_path: Path) -> None:
    path = saved / "pipeline-config.json"
    data = json.loads(path.read_text())
    data["config"]["type_hint"] = "code_under_the_root:Config"
    data["rv"]["types"] = {"code_under_the_root:Config": "code_under_the_root:Config"}
    path.write_text(json.dumps(data))
    (saved / "code_under_the_root.py").write_text("raise SystemExit(9)\n")
    assert call("show", str(saved))[0] == 0
    assert "code_under_the_root" not in sys.modules


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere", "there is no pipeline-config.json under "),
        ("nowhere.json", "there is no file "),
        ("broken.json", "config error: this is not valid JSON"),
        ("other.json", "config error: this is not a saved pipeline config"),
    ],
)
def test_what_is_no_saved_config_is_refused(call: Call, tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text("{}")
    code, out, err = call("show", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert expected in err


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"b": [1, {"c": None}]}}, [("a.b[0]", "1"), ("a.b[1].c", "null")]),
        ({"a": [], "b": {}}, [("a", "[]"), ("b", "{}")]),
    ],
)
def test_leaves_are_what_holds_nothing_itself(value: object, expected: list[tuple[str, str]]) -> None:
    assert list(leaves(value)) == expected


def test_the_registered_types_are_listed(call: Call) -> None:
    code, out, err = call("schema")
    assert (code, err) == (0, "")
    assert ["hello", "rv_core.hello:HelloConfig", "rv-core", "1"] in [line.split() for line in out.splitlines()]
    entry = {"type": "hello", "target": "rv_core.hello:HelloConfig", "plugin": "rv-core", "version": 1}
    assert entry in json.loads(call("schema", "--json")[1])


@pytest.mark.parametrize("name", ["hello", "rv_core.hello:HelloConfig", "HelloConfig", "rv_core.hello.HelloConfig"])
def test_the_schema_of_a_type_is_json(call: Call, name: str) -> None:
    code, out, _ = call("schema", name)
    assert code == 0
    assert json.loads(out)["$defs"]["hello"]["properties"]["num_items"]["minimum"] == 1


def test_the_fields_of_a_type_are_a_table(call: Call) -> None:
    code, out, _ = call("schema", "HelloConfig", "--markdown")
    assert code == 0
    assert out.startswith("# HelloConfig\n")
    (row,) = [line for line in out.splitlines() if line.startswith("| `num_items` |")]
    assert row.startswith("| `num_items` | an integer | `4` | ")
    (row,) = [line for line in out.splitlines() if line.startswith("| `root_uri` |")]
    assert "| a URI | required |" in row
    assert call("schema", "--markdown")[0] == 2


def test_an_unknown_type_is_refused(call: Call) -> None:
    code, _, err = call("schema", "helo")
    assert code == 2
    assert "did you mean 'hello'?" in err


def test_settings_are_shown_with_their_origin(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RV_GPUS", "0,1")
    (tmp_path / "rv.toml").write_text("[run]\njobs = 3\n[lcal]\nx = 1\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = call("settings")
    assert code == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines()}
    assert rows["run.gpus"] == ["0,1", "environment RV_GPUS"]
    assert rows["run.jobs"][0] == "3"
    assert "rv.toml" in rows["run.jobs"][1]
    assert rows["run.grace_s"] == ["–", "default"]
    assert "no installed plugin has settings in a section [lcal]" in err
    shown = json.loads(call("settings", "--json")[1])
    assert {"section": "run", "key": "gpus", "value": "0,1", "origin": "environment RV_GPUS"} in shown["settings"]
    assert len(shown["problems"]) == 1


def test_a_wrong_setting_is_a_config_error(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_RUN_JOBS", "many")
    code, _, err = call("settings")
    assert code == 2
    assert "RV_RUN_JOBS" in err


def test_the_profile_of_the_command_line_is_used(call: Call) -> None:
    code, _, err = call("settings", "--profile", "nobody")
    assert code == 2
    assert "nobody" in err
