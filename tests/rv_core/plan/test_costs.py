"""What a name or an item more costs: calls of functions, counted, since times differ from machine to machine."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rv_core import Items, Pipeline, PipelineConfig, command
from rv_core.cli.app import main
from rv_core.config import saved
from rv_core.config.validation.schemas import check
from rv_core.config.values import normalised
from rv_core.plan.planning import plan_pipelines
from rv_core.plan.selection import Selection


@dataclass(kw_only=True)
class LongConfig(PipelineConfig):
    items: list[str]
    names: list[str]

    def build(self) -> LongPipeline:
        return LongPipeline(self)


class LongPipeline(Pipeline):
    @command(items="items", reads=("names",))
    def work(self, items: Items[str]) -> None:
        for _ in items:
            pass

    @command(requires=("work",), reads=("names",))
    def join(self) -> None: ...


def long_config(root: Path, *, items: int = 1, names: int = 1) -> LongConfig:
    return LongConfig(
        root_uri=str(root), name="long", items=[f"i{i}" for i in range(items)], names=[f"n{i}" for i in range(names)]
    )


def num_calls(function: Callable[[], object]) -> int:
    profile = cProfile.Profile()
    profile.runcall(function)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def plan(config: LongConfig) -> None:
    plan_pipelines({"long": config.build()}, splits=1, selection=Selection())


def load_and_save(config: LongConfig) -> None:
    assert not check(config)
    saved.dump(normalised(config))


@pytest.mark.parametrize(
    ("grows", "does", "at_most"), [("items", plan, 100), ("names", plan, 1), ("names", load_and_save, 20)]
)
def test_one_more_costs_few_calls(tmp_path: Path, grows: str, does: Callable[[LongConfig], None], at_most: int) -> None:
    does(long_config(tmp_path))  # what is made once is made
    few, many = (long_config(tmp_path, **{grows: n}) for n in (1_000, 2_000))
    more = num_calls(lambda: does(many)) - num_calls(lambda: does(few))
    assert more / 1_000 <= at_most


def get_config(runner: str, root_uri: str, names: int) -> LongConfig:
    return long_config(Path(root_uri), items=2, names=names)


def test_manifests_of_items_hold_no_copy_each_of_a_long_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "long.py").write_text(Path(__file__).read_text())
    words = ["run", "inprocess", str(tmp_path / "long.py"), "-a", f"root_uri={tmp_path}/out", "-a"]
    assert main([*words, "names=20000"]) == 0
    sizes = {path.parent.name: path.stat().st_size for path in tmp_path.glob("out/.rv/done/*/*.json")}
    assert sizes["work"] < 2_000 and sizes["join"] > 100_000
    capsys.readouterr()
    assert main([*words, "names=20000"]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert main([*words, "names=20001", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 of 2 items · names changed (all 2 items)" in said
    assert "names [20000 values] → [20001 values]" in said
