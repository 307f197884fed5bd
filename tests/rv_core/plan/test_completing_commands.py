"""A command that completes another: there only where it has items, run with it, before whatever requires it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rv_core import Items, Pipeline, PipelineConfig, PlanError, command
from rv_core.api import run
from rv_core.plan.decisions import RunPlan, plan_run
from rv_core.plan.items import PipelineState
from rv_core.plan.manifests import DoneState
from rv_core.plan.selection import Selection


@dataclass(kw_only=True)
class BookConfig(PipelineConfig):
    books: list[str] = field(default_factory=lambda: ["a"])
    cut: list[str] = field(default_factory=list)
    letter: str = "x"

    def build(self) -> Pipeline:
        return BookPipeline(self)


def pages_of(config: BookConfig) -> list[str]:
    return [part for book in config.books for part in ([f"{book}/1", f"{book}/2"] if book in config.cut else [book])]


class PlainPipeline(Pipeline):
    @command(items=pages_of, reads=("letter",))
    def write(self, pages: Items[str]) -> None:
        for page in pages:
            name = f"write/{page}.part" if "/" in page else f"write/{page}.txt"
            self.storage.write_text(name, self.config.letter * (1 if "/" in page else 2))

    @command(requires=("write",), reads=("books",))
    def read(self) -> None:
        self.storage.write_text(
            "read.txt", " ".join(self.storage.read_text(f"write/{b}.txt") for b in self.config.books)
        )


class BookPipeline(PlainPipeline):
    @command(items="cut", completes="write", reads=("letter",))
    def bind(self, books: Items[str]) -> None:
        for book in books:
            self.storage.write_text(
                f"write/{book}.txt", "".join(self.storage.read_text(f"write/{book}/{n}.part") for n in (1, 2))
            )


def plan_of(pipeline: Pipeline, *commands: str, splits: int = 1) -> RunPlan:
    return plan_run([PipelineState(pipeline, "p", DoneState(), {})], splits=splits, selection=Selection(commands))


def test_without_items_it_is_not_there_and_no_key_knows_of_it() -> None:
    plan = plan_of(BookPipeline(BookConfig(root_uri="/r")))
    plain = plan_of(PlainPipeline(BookConfig(root_uri="/r")))
    assert [(entry.command, entry.key) for entry in plan.commands] == [(e.command, e.key) for e in plain.commands]


def test_it_runs_with_what_it_completes_and_before_what_requires_that() -> None:
    pipeline = BookPipeline(BookConfig(root_uri="/r", books=["a", "b"], cut=["b"]))
    jobs = {job.command: job for job in plan_of(pipeline, "write", splits=5).plan.jobs}
    assert {name: (len(job.tasks), job.requires) for name, job in jobs.items()} == {
        "write": (3, ()),
        "bind": (1, ("p.write",)),
    }
    (read,) = (job for job in plan_of(pipeline).plan.jobs if job.command == "read")
    assert read.requires == ("p.write", "p.bind")
    with pytest.raises(PlanError, match="need others that are not done"):
        plan_of(pipeline, "read")


def test_one_that_completes_what_is_not_there_is_an_error() -> None:
    class Wrong(PlainPipeline):
        @command(items="books", completes="wrote")
        def bind(self, books: Items[str]) -> None: ...

    with pytest.raises(PlanError, match="bind completes 'wrote'") as caught:
        plan_of(Wrong(BookConfig(root_uri="/r")))
    assert "write" in str(caught.value)


def test_from_whole_to_parts_and_back_leaves_nothing_of_the_other(tmp_path: Path) -> None:
    """Both write one file of the same size, so that sizes tell nothing."""

    def text(*, letter: str, cut: list[str]) -> str:
        config = BookConfig(root_uri=str(tmp_path / "root"), letter=letter, cut=cut)
        run(config, runner="inprocess", quiet=True).raise_if_failed()
        return (tmp_path / "root" / "read.txt").read_text()

    assert text(letter="x", cut=[]) == "xx"
    assert text(letter="y", cut=["a"]) == "yy"
    assert text(letter="x", cut=[]) == "xx"
    assert text(letter="y", cut=["a"]) == "yy"
