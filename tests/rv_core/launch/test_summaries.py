"""Results at the end of a run and in `rv status`: what lies there now, from nothing that lies under the root imported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from rv_core import Storage, Summary, SummaryTable
from rv_core.launch.summaries import ReadStorage, _made
from rv_core.pipeline.overrides import is_overridden
from rv_core.pipeline.pipeline import Pipeline, PipelineConfig, command
from rv_core.record.layout import RunPaths
from rv_core.record.summary_file import DAMAGED, StoredSummary, read_summary, write_summary
from rv_core.redaction import register_secret
from rv_core.status.results import MAX_IN_FULL, MAX_ROWS, PipelineSummary, results_lines, summary_lines

MODULE = """
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, Summary, SummaryTable, command

@dataclass
class SumConfig(PipelineConfig):
    numbers: list[int]
    fault: str = ""
    def build(self):
        return SumPipeline(self)

class SumPipeline(Pipeline):
    @command(items="numbers")
    def square(self, numbers: Items[int]) -> None:
        for number in numbers:
            self.storage.write_text(f"square/{number}.txt", str(number**2))

    @command(requires=("square",), reads=("numbers",))
    def total(self) -> None:
        self.storage.write_text("total.txt", str(sum(int(self.storage.read_text(f"square/{n}.txt")) for n in self.config.numbers)))

    @command(requires=("total",), reads=("fault",))
    def publish(self) -> None:
        if self.config.fault == "run":
            raise RuntimeError("asked to")

    def summary(self, storage, done):
        if self.config.fault == "write":
            storage.write_text("more.txt", "more")
        if self.config.fault == "exit":
            raise SystemExit("no \\x1b[31mway")
        if "total" not in done:
            return None
        commands = {"print it": "cat {root}/total.txt"} if "publish" in done else {}
        return Summary(numbers={"total": int(storage.read_text("total.txt"))}, commands=commands)

def get_config(runner, root_uri, fault: str = "", count: int = 3):
    return SumConfig(root_uri=root_uri, name="sums", numbers=list(range(count)), fault=fault)
"""


@pytest.fixture
def run(rv: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`run(*words, **arguments of get_config)` runs the module in the folder "a root"."""
    (tmp_path / "sums.py").write_text(MODULE)

    def run(*words: str, **arguments: object) -> Any:
        pairs = [word for name, value in arguments.items() for word in ("-a", f"{name}={value}")]
        return rv("run", "inprocess", "sums.py", *words, "-a", "root_uri=a root", *pairs, cwd=tmp_path)

    return run


def told(rv: Callable[..., Any], root: Path) -> list[dict[str, Any]]:
    done = rv("status", root, "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["summaries"]
    return found


def test_results_are_shown_at_the_end_and_later_also_where_the_root_was_moved_to(
    run: Callable[..., Any], rv: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "a root"
    printed = run().stdout
    assert "results of sums\n  total 5\n" in printed
    assert f"    cat '{root}'/total.txt\n" in printed
    moved = tmp_path / "moved"
    shutil.move(root, moved)
    (tmp_path / "sums.py").unlink()  # nothing of the user's is imported to look
    (entry,) = told(rv, moved)
    assert entry["summary"]["numbers"] == {"total": 5}
    assert entry["summary"]["commands"] == {"print it": f"cat {moved}/total.txt"}
    assert (entry["pipeline"], entry["root_uri"], entry["problem"]) == ("sums", str(moved), "")
    (moved / "total.txt").write_text("6")
    (entry,) = told(rv, moved)
    assert entry["summary"] is None
    assert entry["problem"] == "the results of this run are not shown: total.txt has changed since"


def test_files_of_another_config_are_no_results_and_a_failed_run_has_none(
    run: Callable[..., Any], rv: Callable[..., Any], tmp_path: Path
) -> None:
    printed = run("--to", "total").stdout
    assert "  total 5\n" in printed
    assert "cat " not in printed, "publish is not done"
    assert "results of sums\n  total 5\n" in run("total").stdout, "where nothing is to do"
    assert "results of" not in run("square", count=4).stdout, "total.txt of three numbers lies there still"
    failed = run(count=4, fault="run")
    assert failed.returncode == 1
    assert "results of" not in failed.stdout
    assert told(rv, tmp_path / "a root") == []


def test_a_summary_that_fails_costs_the_run_nothing(run: Callable[..., Any]) -> None:
    done = run(fault="exit")
    assert done.returncode == 0
    assert "done: 5 items" in done.stdout
    assert "warning: sums: its results cannot be summed up: SystemExit: no \\x1b[31mway" in done.stderr
    assert "Traceback" not in done.stderr


class WritingPipeline(Pipeline):
    def summary(self, storage: Storage, done: Collection[str]) -> Summary | None:
        storage.write_text("more.txt", "more")
        return None


def test_a_summary_writes_nothing(tmp_path: Path) -> None:
    pipeline = WritingPipeline(PipelineConfig(root_uri=str(tmp_path)))
    made = _made(pipeline, "p", (), keep=None)
    assert made is not None
    assert (
        made.problem
        == "its results cannot be summed up: who looks at results writes nothing, and this one wants to write 'more.txt'"
    )
    assert not list(tmp_path.iterdir())


def test_a_record_of_results_holds_while_its_sources_do_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    paths = RunPaths(str(tmp_path / "root"), "20261129-120000-abcdef")
    storage = ReadStorage(paths.root_uri)
    Storage(paths.root_uri).write_text("total.txt", "5")
    storage.read_text("total.txt")
    assert read_summary(paths) == StoredSummary()
    write_summary(paths, Summary(numbers={"total": 5}), storage.sources.values())
    stored = read_summary(paths).summary
    assert stored is not None
    assert stored.numbers == {"total": 5}
    file = Path(paths.summary)
    plain = json.loads(file.read_text())
    for path, size in (("../sums.py", 5), ("total.txt", 1 << 62)):
        file.write_text(json.dumps({**plain, "sources": [{"path": path, "bytes": size, "sha256": ""}]}))
        assert read_summary(paths).problem in (
            DAMAGED,
            "the results of this run are not shown: it names files that are too large",
        )
    for text in ("", "[]", json.dumps({**plain, "summary": {"notes": 1}}), '{"format": 1}'):
        file.write_text(text)
        assert read_summary(paths) == StoredSummary(problem=DAMAGED)
    Path(paths.root_uri, "total.txt").unlink()
    file.write_text(json.dumps(plain))
    assert read_summary(paths).problem == "the results of this run are not shown: total.txt is missing"


def test_secrets_are_hidden_in_the_summary_that_is_kept(tmp_path: Path) -> None:
    register_secret("sesame-open-77")
    paths = RunPaths(str(tmp_path), "20260101-000000-abcdef")
    told = Summary(
        numbers={"key": "sesame-open-77", "f1": 0.5},
        tables=[SummaryTable(("of",), [("https://someone:pw12345678@host/x",)])],
        notes=["read with password=pw12345678"],
    )
    write_summary(paths, told, [])
    kept = Path(paths.summary).read_text()
    assert not any(secret in kept for secret in ("sesame", "pw12345678"))
    stored = read_summary(paths).summary
    assert stored is not None
    assert stored.numbers == {"key": "***", "f1": 0.5}


def test_a_command_that_is_called_summary_stays_a_command(tmp_path: Path) -> None:
    class OldPipeline(Pipeline):
        @command()
        def summary(self) -> None:  # type: ignore[override]
            """As before there were summaries."""

    assert not is_overridden(OldPipeline(PipelineConfig(root_uri=str(tmp_path))), "summary")
    assert not is_overridden(Pipeline(PipelineConfig(root_uri=str(tmp_path))), "summary")


def test_values_are_plain_and_what_is_none_is_refused() -> None:
    summary = Summary(numbers={"f1": float("nan")}, tables=[SummaryTable(("a", "b"), [("x", 0.5)])])
    plain = summary.to_json()
    assert plain["numbers"] == {"f1": None}
    assert Summary.from_json(json.loads(json.dumps(plain))).to_json() == plain
    for wrong in (
        Summary(tables=[SummaryTable(("a", "b"), [("x",)])]),
        Summary(numbers={"f1": [1]}),  # type: ignore[dict-item]
        Summary(warnings=[1]),  # type: ignore[list-item]
    ):
        with pytest.raises(ValueError, match=r"tables\[0\]|numbers\.f1|warnings\[0\]"):
            wrong.to_json()


def test_a_table_is_aligned_and_a_long_one_cut() -> None:
    rows = [("forest", 0.5, 1200), ("rock\x1b", None, 7)]
    lines = summary_lines(Summary(tables=[SummaryTable(("class", "F1", "cells"), rows)]), root="r", title="t")
    assert [line.text for line in lines[2:]] == [
        "  class        F1  cells",
        "  forest    0.500  1,200",
        "  rock\\x1b      –      7",
    ]
    many = Summary(tables=[SummaryTable(("n",), [(n,) for n in range(MAX_ROWS + 5)])])
    assert summary_lines(many, root="r", title="t")[-1].text == "  … and 5 more: --json lists all"


def test_of_many_pipelines_only_numbers_and_warnings_are_shown() -> None:
    one = Summary(numbers={"f1": 0.25}, notes=["long"], warnings=["mind"])
    found = [PipelineSummary(f"p{index}", "root", one) for index in range(MAX_IN_FULL + 1)]
    texts = [line.text for line in results_lines(found)]
    assert texts[1:3] == ["p0  f1 0.250", "    warning: mind"]
    assert not any("long" in text for text in texts)
