"""A deep check is not made twice of the same; whatever could change its answer has it made again."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rv_core.errors import Finding
from rv_core.launch import known_checks
from rv_core.launch.known_checks import Subject, findings_before, remember, subject_of
from rv_core.launch.prepared import PreparedRun, RunOptions, findings_of, prepare
from rv_core.plan.selection import Selection

MODULE = """
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rv_core import Finding, Items, Pipeline, PipelineConfig, Uri, command

@dataclass(kw_only=True)
class LookConfig(PipelineConfig):
    pipeline: ClassVar[str] = "looking:Look"
    files: list[Uri]
    limit: int = 1
    words: str = ""

class Look(Pipeline):
    deep_check = "looking:look"
    deep_check_ignores = ("words",)

    @command(items="files", reads=("limit",))
    def read(self, files: Items[str]) -> None: ...

    @command(requires=("read",), reads=("words",))
    def end(self) -> None: ...

def look(config, todo):
    with open(os.environ["LOOKED"], "a") as log:
        log.write("x")
    for path in map(Path, config.files):
        text = path.read_text()
        if "mend" in text:
            path.write_text("good")
        for word, severity in (("bad", "error"), ("odd", "warning")):
            if word in text and any(name.endswith(path.name) for name in todo.get("read", ())):
                yield Finding(path.name, word, severity=severity)
"""


class Looking:
    """Files that a pipeline looks at, and how often it has."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self.root = folder, folder / "looked.log", folder / "root"
        self.write("a", "good")
        self.write("b", "good")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        # The hash of a file that has just been written is not kept, and it is read again.
        os.utime(self.folder / name, ns=(1, time.time_ns() - 10**10))

    def prepared(self, *commands: str, **fields: Any) -> PreparedRun:
        looking = importlib.import_module("looking")
        fields = {"root_uri": str(self.root), "files": [str(self.folder / name) for name in "ab"], **fields}
        selection = Selection(commands)
        return prepare(RunOptions(runner="inprocess", configs=(looking.LookConfig(**fields),), selection=selection))

    def subject(self, **fields: Any) -> Subject:
        """What would be looked at."""
        prepared = self.prepared(**fields)
        ((name, pipeline),) = prepared.pipelines.items()
        found = subject_of(pipeline, prepared.run_plan.commands, prepared.config_texts[name])
        assert found is not None
        return found

    def __call__(self, *commands: str, **options: Any) -> tuple[list[str], int]:
        """(findings, how often the files were looked at for them) of a run of these commands."""
        before = self.log.stat().st_size if self.log.exists() else 0
        found = findings_of(self.prepared(*commands, **options.pop("fields", {})), **options)
        return [str(finding) for finding in found], self.log.stat().st_size - before


@pytest.fixture
def looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looking]:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "looking.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.setenv("LOOKED", str(tmp_path / "looked.log"))
    yield Looking(tmp_path)
    sys.modules.pop("looking", None)


def test_what_was_found_right_is_not_looked_at_again_until_it_changes(looking: Looking) -> None:
    assert looking() == ([], 1)
    assert looking() == ([], 0)
    # Other words are nothing to it, and fewer items have no more findings.
    assert looking("read", fields={"words": "new", "root_uri": str(looking.folder / "other")}) == ([], 0)
    assert looking(fields={"limit": 2}) == ([], 1)
    looking.write("b", "odd")
    assert looking() == (["b: odd"], 1)
    assert looking() == (["b: odd"], 0)
    assert looking("read") == (["b: odd"], 1)
    looking.write("b", "bad")
    assert [looking(), looking()] == [(["b: bad"], 1)] * 2
    looking.write("b", "good")
    assert looking() == ([], 0)
    assert looking(everything=True) == ([], 1)


def test_of_a_file_that_changed_while_it_was_looked_at_nothing_is_kept(looking: Looking) -> None:
    looking.write("b", "mend it")
    assert looking() == ([], 1)
    looking.write("b", "mend it")
    assert looking() == ([], 1)


CHECKS = Path("cache", "checks")
FOUND = [Finding("a", "odd", severity="warning")]
TODO = {"read": ["a", "b"], "end": ["all"]}


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-40]), id="cut"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="deep"),
        pytest.param(lambda path: path.write_text("[1]"), id="another type"),
        pytest.param(_edit(lambda content: content["checks"][0].update(findings=[])), id="findings gone"),
        pytest.param(_edit(lambda content: content.update(checks={"a": 1})), id="checks of another type"),
        pytest.param(_edit(lambda content: content.update(key="0" * 64)), id="of another key"),
        pytest.param(_edit(lambda content: content.update(format=2)), id="another format"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a folder"),
    ],
)
def test_a_damaged_file_is_no_answer(
    looking: Looking, damage: Callable[[Path], object], isolated_environment: Path
) -> None:
    subject = looking.subject()
    remember(subject, TODO, FOUND)
    assert findings_before(subject, TODO) == FOUND
    damage(isolated_environment / CHECKS / f"{subject.key}.json")
    assert findings_before(subject, TODO) is None
    remember(subject, TODO, FOUND)


def test_an_answer_counts_for_a_week(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = looking.subject()
    remember(subject, TODO, [])
    assert findings_before(subject, {"read": ["b"]}) == []
    assert findings_before(subject, {"read": ["b", "c"]}) is None
    assert findings_before(subject, {"other": ["all"]}) is None
    now = time.time()
    for then in (now + 8 * 86_400, now - 60):
        monkeypatch.setattr(known_checks.time, "time", lambda then=then: then)
        assert findings_before(subject, TODO) is None


def test_old_answers_make_room(looking: Looking, isolated_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_checks, "_MAX_FILES", 2)
    for number in range(4):
        remember(looking.subject(limit=number), TODO, [])
    assert len(list((isolated_environment / CHECKS).iterdir())) == 2
    assert findings_before(looking.subject(limit=3), TODO) == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda looking, patch: looking.write("a", "other"), id="an input"),
        pytest.param(lambda looking, patch: (looking.folder / "a").unlink(), id="an input that is gone"),
        pytest.param(lambda looking, patch: patch.setattr(known_checks, "__version__", "0.0.1"), id="version of rv"),
        pytest.param(lambda looking, patch: patch.setenv("GDAL_SKIP", "GTiff"), id="a variable of GDAL"),
        pytest.param(lambda looking, patch: patch.setenv("HTTPS_PROXY", "http://127.0.0.1:1"), id="a proxy"),
        pytest.param(
            lambda looking, patch: (looking.folder / "code" / "x-2.dist-info").mkdir(), id="what is installed"
        ),
        pytest.param(
            lambda looking, patch: (looking.folder / "code" / "looking.py").write_text(MODULE + "\n# other\n"),
            id="the text of the pipeline",
        ),
    ],
)
def test_what_could_change_the_answer_is_another_subject(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, change: Callable[[Looking, pytest.MonkeyPatch], object]
) -> None:
    before = looking.subject().key
    assert looking.subject().key == before
    change(looking, monkeypatch)
    assert looking.subject().key != before


def test_a_check_of_another_class_is_made_each_time(looking: Looking) -> None:
    prepared = looking.prepared()
    (pipeline,) = prepared.pipelines.values()
    (text,) = prepared.config_texts.values()
    for changed, is_known in (
        ({}, True),
        ({"deep_check": "looking:other"}, False),
        ({"deep_check_ignores": None}, False),
    ):
        derived: Any = type("Derived", (type(pipeline),), {"__module__": "looking", **changed})(pipeline.config)
        assert (subject_of(derived, prepared.run_plan.commands, text) is not None) == is_known
