"""What a task on another machine must find there, and how a difference is told."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rv_core import __version__
from rv_core.config.saved import dump
from rv_core.errors import EXIT_ENVIRONMENT, RunnerError
from rv_core.hello import HelloConfig
from rv_core.task import environment
from rv_core.task.environment import check_required, differences, module_hash, required_here

HELLO = dump(HelloConfig(root_uri="s3://b/r", name="hello"))


def test_a_run_needs_the_core_its_config_classes_and_the_module_that_was_named() -> None:
    required = required_here([HELLO], "rv_core.plugins.builtins", "inprocess", {})
    assert required["distributions"] == {"rv-core": __version__}
    assert required["packages"] == {"rv_core": __version__}
    assert set(required["modules"]) == {"rv_core.hello", "rv_core.plugins.builtins"}
    assert differences(required) == []
    check_required(required)


def test_what_travels_is_not_needed_there() -> None:
    code = {"module": "rv_core.hello", "archive": ".rv/code/x.zip", "names": ["rv_core"]}
    required = required_here([HELLO], "rv_core.hello", "inprocess", code)
    assert required["packages"] == required["modules"] == {}


def test_a_path_or_a_saved_config_is_no_module() -> None:
    for source in ("/home/me/experiment.py", "out/pipeline-config.json"):
        assert set(required_here([HELLO], source, "inprocess", {})["modules"]) == {"rv_core.hello"}


def test_both_sides_of_every_difference_are_named() -> None:
    required = {
        "distributions": {"rv-core": "9.9", "rv-nowhere": "1.0"},
        "packages": {"rv_core": "9.9", "rv_nowhere": "1.0"},
        "modules": {"rv_core.hello": "f" * 64, "rv_nowhere.config": "0" * 64},
    }
    own = module_hash("rv_core.hello")[:12]
    assert differences(required) == [
        f"rv-core is {__version__} here and was 9.9 where the run was submitted",
        "rv-nowhere is not installed here and was 1.0 where the run was submitted",
        f"rv_core is {__version__} here and was 9.9 where the run was submitted",
        "rv_nowhere is not installed here and was 1.0 where the run was submitted",
        f"the module rv_core.hello is {own} here and was ffffffffffff where the run was submitted (SHA-256)",
        "the module rv_nowhere.config is not here",
    ]
    with pytest.raises(RunnerError, match=r"this image is not the code of the run: rv-core is") as caught:
        check_required(required)
    assert caught.value.exit_code == EXIT_ENVIRONMENT
    assert "--ship-code" in str(caught.value)


def test_a_module_is_hashed_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"raise RuntimeError('imported')\n"
    (tmp_path / "never_imported.py").write_bytes(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert module_hash("never_imported") == hashlib.sha256(text).hexdigest()
    assert module_hash("no_such_module") == module_hash("sys") == module_hash("a..b") == ""


def test_what_is_required_is_plain_json() -> None:
    required = required_here([HELLO], "rv_core.hello", "inprocess", {})
    assert json.loads(json.dumps(required)) == required
    assert environment.differences({}) == []
