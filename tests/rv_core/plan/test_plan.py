from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core import AsBefore, Items, Pipeline, PipelineConfig, PlanError, Uri, command
from rv_core.config.classes import Config, Range
from rv_core.config.values import to_short
from rv_core.errors import RvError
from rv_core.plan.decisions import RunPlan, plan_run
from rv_core.plan.graph import make_tasks
from rv_core.plan.items import PipelineState, command_parts
from rv_core.plan.manifests import DoneState, Manifest, item_file_name
from rv_core.plan.reasons import explain_change
from rv_core.plan.selection import Selection
from rv_core.plan.shares import split_shares


@dataclass(kw_only=True)
class Image(Config):
    id: str
    uri: Uri


@dataclass(kw_only=True)
class MapConfig(PipelineConfig):
    train: list[Image] = field(default_factory=list)
    validation: list[Image] = field(default_factory=list)
    test: list[Image] = field(default_factory=list)
    size_px: int = 32
    epochs: Annotated[int, "unused"] = 3

    def build(self) -> MapPipeline:
        return MapPipeline(self)


class MapPipeline(Pipeline):
    @command(items={"train": "train", "validation": "validation"}, reads=("size_px",))
    def chip(self, images: Items[Image]) -> None: ...

    @command(requires=("chip",), reads=("epochs",), gpus=1)
    def fit(self) -> None: ...

    @command(items="test", requires=("fit",), gpus=1)
    def predict(self, images: Items[Image]) -> None: ...

    @command(requires=("predict",))
    def evaluate(self) -> None: ...

    @command(requires=("fit",))
    def bundle(self) -> None: ...


def images(prefix: str, count: int) -> list[Image]:
    return [Image(id=f"{prefix}{i}", uri=f"/data/{prefix}{i}.tif") for i in range(count)]


def config_of(*, train: int = 3, validation: int = 2, test: int = 2, root: str = "/out", **fields: int) -> MapConfig:
    return MapConfig(
        root_uri=root,
        name="pipe1",
        train=images("t", train),
        validation=images("v", validation),
        test=images("x", test),
        **fields,
    )


def state_of(config: MapConfig, done: DoneState | None = None, changed: dict[str, str] | None = None) -> PipelineState:
    tokens = {image.uri: f"hash of {image.id}" for image in (*config.train, *config.validation, *config.test)}
    return PipelineState(config.build(), config.name, done or DoneState(), {**tokens, **(changed or {})})


def finished(plan: RunPlan, *, without: tuple[str, ...] = ()) -> DoneState:
    """The state that a run of this plan leaves behind."""
    from rv_core.config.values import to_plain

    manifests: dict[str, dict[str, dict[str, Manifest]]] = {}
    sizes: dict[str, int] = {}
    for entry in plan.commands:
        for item in (*entry.to_do, *entry.done):
            if item.id in without or entry.command in without:
                continue
            parts = {**entry.parts.to_json(), "item_inputs": dict(item.inputs)}
            parts["item"] = None if item.value is None else to_plain(item.value)
            output = {"path": f"{entry.command}/{item.id}.bin", "bytes": 10, "sha256": "0"}
            manifest = Manifest(entry.command, item.id, item.key, (output,), parts)
            manifests.setdefault(entry.command, {}).setdefault(item_file_name(item.id), {})[item.key] = manifest
            sizes[output["path"]] = 10
    return DoneState(manifests, sizes)


def decisions(plan: RunPlan) -> dict[str, str]:
    return {entry.command: entry.decision for entry in plan.commands}


def reasons(plan: RunPlan, name: str) -> str:
    return "; ".join(next(entry for entry in plan.commands if entry.command == name).reasons)


def items_per_task(plan: RunPlan, job: str) -> list[list[str]]:
    found = next(entry for entry in plan.to_json(with_items=True)["jobs"] if entry["id"] == job)
    return [task["items"] for task in found["tasks"]]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=3), st.integers(1, 12))
def test_shares_are_complete_disjoint_contiguous_and_balanced(sizes: list[int], num_splits: int) -> None:
    items = [(group, i) for group, size in enumerate(sizes) for i in range(size)]
    shares = split_shares(items, num_splits, lambda item: str(item[0]))
    assert len(shares) == num_splits
    for group, size in enumerate(sizes):
        members = [[i for g, i in share if g == group] for share in shares]
        assert [i for share in members for i in share] == list(range(size))
        lengths = [len(share) for share in members]
        assert max(lengths) - min(lengths) <= 1
    totals = [len(share) for share in shares]
    assert max(totals) - min(totals) <= 1


def test_fifty_training_and_twenty_five_validation_scenes_in_five_splits_are_fifteen_scenes_each() -> None:
    plan = plan_run([state_of(config_of(train=50, validation=25))], splits=5)
    shares = items_per_task(plan, "pipe1.chip")
    assert [len(share) for share in shares] == [15] * 5
    assert all(sum(name.startswith("t") for name in share) == 10 for share in shares)
    assert [job.requires for job in plan.plan.jobs if job.command == "fit"] == [("pipe1.chip",)]
    assert len(plan.plan.job("pipe1.chip").tasks) == 5


def test_a_plan_is_a_real_graph() -> None:
    plan = plan_run([state_of(config_of())])
    assert {job.command: job.requires for job in plan.plan.jobs} == {
        "chip": (),
        "fit": ("pipe1.chip",),
        "predict": ("pipe1.fit",),
        "evaluate": ("pipe1.predict",),
        "bundle": ("pipe1.fit",),
    }


def test_there_are_never_more_tasks_than_items_to_do() -> None:
    first = plan_run([state_of(config_of(train=200, validation=0))])
    done = finished(first, without=("t7", "t70", "t170", "fit", "predict", "evaluate", "bundle"))
    plan = plan_run([state_of(config_of(train=200, validation=0), done)], splits=200)
    assert items_per_task(plan, "pipe1.chip") == [["t7"], ["t70"], ["t170"]]


def test_a_single_task_has_the_name_of_its_job() -> None:
    assert [task.id for task in make_tasks("pipe1.fit", 1)] == ["pipe1.fit"]
    assert [task.id for task in make_tasks("pipe1.chip", 2)] == ["pipe1.chip.1-of-2", "pipe1.chip.2-of-2"]


def test_everything_done_leaves_nothing_to_run_for_any_number_of_splits() -> None:
    done = finished(plan_run([state_of(config_of())]))
    for splits in (1, 7):
        plan = plan_run([state_of(config_of(), done)], splits=splits)
        assert plan.plan.jobs == ()
        assert set(decisions(plan).values()) == {"done"}


def test_a_changed_field_runs_only_the_commands_that_read_it_and_what_requires_them() -> None:
    done = finished(plan_run([state_of(config_of())]))
    plan = plan_run([state_of(config_of(epochs=4), done)])
    assert decisions(plan) == {
        "chip": "done", "fit": "run", "predict": "run", "evaluate": "run", "bundle": "run",
    }  # fmt: skip
    assert reasons(plan, "fit") == "epochs 3 → 4"
    assert reasons(plan, "bundle") == "fit changed"


def test_a_changed_image_runs_that_item_alone_and_says_so() -> None:
    done = finished(plan_run([state_of(config_of())]))
    plan = plan_run([state_of(config_of(), done, {"/data/t1.tif": "another hash"})], splits=4)
    assert items_per_task(plan, "pipe1.chip") == [["t1"]]
    assert reasons(plan, "chip") == "t1: t1.tif changed"
    assert decisions(plan)["fit"] == "run"


def test_a_missing_or_shortened_output_runs_its_item_again_and_nothing_else() -> None:
    done = finished(plan_run([state_of(config_of())]))
    sizes = {**done.sizes, "chip/t0.bin": 9}
    del sizes["chip/t2.bin"]
    plan = plan_run([state_of(config_of(), DoneState(done.manifests, sizes))])
    assert items_per_task(plan, "pipe1.chip") == [["t0", "t2"]]
    assert "t2: chip/t2.bin is missing" in reasons(plan, "chip")
    assert "t0: chip/t0.bin has 9 bytes instead of 10" in reasons(plan, "chip")
    assert decisions(plan)["fit"] == "done"


def test_what_is_done_stands_for_what_it_requires() -> None:
    done = finished(plan_run([state_of(config_of())]), without=("t0", "evaluate"))
    plan = plan_run([state_of(config_of(), done)])
    evaluate = plan.plan.job("pipe1.evaluate")
    assert evaluate.requires == ("pipe1.chip",)


def test_commands_are_planned_in_the_order_of_the_pipeline_whatever_was_typed() -> None:
    plan = plan_run([state_of(config_of())], selection=Selection(("fit", "chip")))
    assert [job.command for job in plan.plan.jobs] == ["chip", "fit"]


def test_from_and_to_choose_a_part_of_the_pipeline() -> None:
    done = finished(plan_run([state_of(config_of())]))
    rerun = Selection(first="fit", last="predict", rerun=True)
    assert [job.command for job in plan_run([state_of(config_of(), done)], selection=rerun).plan.jobs] == [
        "fit",
        "predict",
    ]
    with pytest.raises(PlanError, match="--from predict comes after --to chip"):
        plan_run([state_of(config_of())], selection=Selection(first="predict", last="chip"))


def test_an_unknown_command_is_refused_with_the_near_miss() -> None:
    with pytest.raises(PlanError) as caught:
        plan_run([state_of(config_of())], selection=Selection(("chp",)))
    assert "no command named 'chp'" in str(caught.value)
    assert "did you mean 'chip'?" in str(caught.value)


def test_a_selection_whose_requirements_are_not_done_is_refused() -> None:
    with pytest.raises(PlanError) as caught:
        plan_run([state_of(config_of())], selection=Selection(("fit",)))
    assert "pipe1.fit: requires chip, which is not done" in str(caught.value)


def test_two_pipelines_are_one_plan_without_edges_between_them() -> None:
    other = config_of(root="/elsewhere")
    other.name = "pipe2"
    plan = plan_run([state_of(config_of()), state_of(other)])
    assert len(plan.plan.jobs) == 10
    assert all(r.split(".")[0] == job.pipeline for job in plan.plan.jobs for r in job.requires)


def test_equal_pipelines_share_their_work_and_edges_go_to_those_before() -> None:
    other = config_of(root="/elsewhere")
    other.name = "pipe2"
    states = [state_of(config)._replace(kind="map") for config in (config_of(), other)]
    plan = plan_run(states)
    assert {job.pipeline for job in plan.plan.jobs} == {"pipe1"}
    assert [c.decision for c in plan.commands] == ["run"] * 5 + ["shared"] * 5
    chip = next(c for c in plan.commands if c.job == "pipe2.chip")
    assert (list(chip.shared), chip.num_items) == (["pipe1.chip"], len(plan.of("pipe1.chip").to_do))
    assert set(plan.of("pipe1.chip").also_for) == {"/elsewhere"}
    # One of them has done something: the other takes it, and shares the rest.
    done = finished(plan_run([states[1]]), without=("fit", "predict", "evaluate"))
    plan = plan_run([states[0], states[1]._replace(done=done)])
    first = {c.command: c.decision for c in plan.commands if c.pipeline == "pipe1"}
    assert (first["chip"], first["fit"]) == ("taken", "run")
    assert plan.plan.job("pipe1.fit").requires == ()


def test_two_items_with_one_id_are_refused() -> None:
    config = config_of()
    config.validation[0].id = "t0"
    with pytest.raises(PlanError, match="two items of chip have the id 't0'"):
        plan_run([state_of(config)])


def test_keys_hold_neither_root_nor_splits_but_every_part_that_matters() -> None:
    def keys(plan: RunPlan) -> list[str]:
        return [entry.key for entry in plan.commands]

    base = keys(plan_run([state_of(config_of())]))
    assert keys(plan_run([state_of(config_of(root="s3://bucket/root"))], splits=9)) == base
    assert all(a != b for a, b in zip(base, keys(plan_run([state_of(config_of(size_px=64))])), strict=True))
    moved = config_of()
    moved.train, moved.validation = moved.train[:-1], [*moved.validation, moved.train[-1]]
    assert keys(plan_run([state_of(moved)]))[0] != base[0]


def test_a_circle_of_requirements_is_refused() -> None:
    class Circle(Pipeline):
        @command(requires=("b",))
        def a(self) -> None: ...

        @command(requires=("a",))
        def b(self) -> None: ...

    state = PipelineState(Circle(config_of()), "circle", DoneState())
    with pytest.raises(PlanError, match="circle: a → b → a"):
        plan_run([state])


def test_a_command_without_items_in_its_list_counts_as_done() -> None:
    plan = plan_run([state_of(config_of(test=0))])
    assert decisions(plan)["predict"] == "done"
    assert reasons(plan, "predict") == "has no items"
    assert plan.plan.job("pipe1.evaluate").requires == ("pipe1.fit",)


# --- what has no part in a key ----------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Pace(Config):
    epochs: int = 3
    workers: int = 0


@dataclass(kw_only=True)
class PacedConfig(PipelineConfig):
    pace: Pace = field(default_factory=Pace)

    def build(self) -> Pipeline:
        return PacedPipeline(self)


class PacedPipeline(Pipeline):
    @command(reads=("pace",), ignores=("pace.workers",))
    def fit(self) -> None: ...


class MisspeltPipeline(Pipeline):
    @command(reads=("pace",), ignores=("pace.worker",))
    def fit(self) -> None: ...


class NarrowPipeline(Pipeline):
    @command(reads=("pace.epochs",))
    def fit(self) -> None: ...


class MoreReadPipeline(Pipeline):
    @command(reads=("pace.epochs", "pace.workers"), ignores=("pace.workers",))
    def fit(self) -> None: ...


class OutsidePipeline(Pipeline):
    @command(reads=("pace.epochs",), ignores=("pace.workers",))
    def fit(self) -> None: ...


def key_of(pipeline: Pipeline) -> str:
    return plan_run([PipelineState(pipeline, "p", DoneState(), {})]).commands[0].key


def test_an_ignored_field_does_not_enter_the_key_and_those_beside_it_do() -> None:
    keys = [key_of(PacedPipeline(PacedConfig(root_uri="/r", pace=pace))) for pace in (Pace(), Pace(workers=9))]
    assert keys[0] == keys[1]
    assert key_of(PacedPipeline(PacedConfig(root_uri="/r", pace=Pace(epochs=4)))) != keys[0]


def test_a_command_may_read_a_field_more_and_keep_its_keys() -> None:
    config = PacedConfig(root_uri="/r")
    assert key_of(MoreReadPipeline(config)) == key_of(NarrowPipeline(config))


def test_only_fields_within_those_that_are_read_can_be_ignored() -> None:
    config = PacedConfig(root_uri="/r")
    with pytest.raises(RvError, match=r"did you mean 'pace\.workers'|no field 'worker'"):
        key_of(MisspeltPipeline(config))
    with pytest.raises(PlanError, match=r"ignores 'pace\.workers', which is not within a field that it reads"):
        key_of(OutsidePipeline(config))


@dataclass(kw_only=True)
class PaceOfToday(Pace):
    margin: Annotated[int, Range(min=0), AsBefore(0)] = 4
    kinds: Annotated[list[str], AsBefore(["a"])] = field(default_factory=list)


@dataclass(kw_only=True)
class ConfigOfToday(PipelineConfig):
    pace: PaceOfToday = field(default_factory=PaceOfToday)
    extra: Annotated[float, AsBefore(1.0)] = 2.0
    unused: Annotated[int, AsBefore(0)] = 0

    def build(self) -> Pipeline:
        return PipelineOfToday(self)


class PipelineOfToday(Pipeline):
    @command(reads=("pace", "pace.margin", "extra", "unused"), ignores=("pace.workers", "unused"))
    def fit(self) -> None: ...


def test_a_field_of_a_later_version_enters_keys_only_where_it_changes_something() -> None:
    def pipeline(extra: float = 1.0, **pace: Any) -> Pipeline:
        made = PaceOfToday(**{"margin": 0, "kinds": ["a"], **pace})
        return PipelineOfToday(ConfigOfToday(root_uri="/r", pace=made, extra=extra))

    parts = command_parts(pipeline(), PipelineOfToday.commands()["fit"], {}, {})
    assert list(parts.reads) == ["pace"]
    assert parts.reads["pace"] == {"type_hint": to_short(PaceOfToday())["type_hint"], "epochs": 3}
    assert len({key_of(pipeline(**change)) for change in ({}, {"extra": 2.0}, {"margin": 4}, {"kinds": []})}) == 4


class Shape(Enum):
    ROUND = "round"
    SQUARE = "square"


@dataclass(kw_only=True)
class Margin(Config):
    px: int = 0
    pace: Annotated[Pace, AsBefore({"epochs": 3, "workers": 0})] = field(default_factory=Pace)


@dataclass(kw_only=True)
class ShapedConfig(PipelineConfig):
    shape: Annotated[Shape, AsBefore("round")] = Shape.SQUARE
    sides: Annotated[tuple[int, int], AsBefore([1, 1])] = (2, 2)
    margin: Annotated[Margin, AsBefore({"px": 0})] = field(default_factory=Margin)

    def build(self) -> Pipeline:
        return ShapedPipeline(self)


class ShapedPipeline(Pipeline):
    @command(reads=("shape", "sides", "margin"), ignores=("margin.pace.workers",))
    def fit(self) -> None: ...


def test_a_field_whose_json_is_not_its_value_is_as_before_by_its_json() -> None:
    def reads(**values: Any) -> dict[str, Any]:
        pipeline = ShapedPipeline(ShapedConfig(root_uri="/r", **values))
        return dict(command_parts(pipeline, ShapedPipeline.commands()["fit"], {}, {}).reads)

    assert reads(shape=Shape.ROUND, sides=(1, 1)) == {}
    assert reads() == {"shape": "square", "sides": [2, 2]}
    assert reads(margin=Margin(px=2))["margin"]["px"] == 2


class TellingPipeline(MapPipeline):
    text = "a"

    def facts(self, command: str) -> dict[str, str]:
        return {"text of the code": self.text} if command == "fit" else {}


class RewrittenPipeline(TellingPipeline):
    text = "b"


def test_what_a_pipeline_tells_of_a_command_enters_its_key_and_is_a_reason() -> None:
    config = config_of()
    states = [
        state_of(config),
        *(state_of(config)._replace(pipeline=p(config)) for p in (TellingPipeline, RewrittenPipeline)),
    ]
    keys = [{entry.command: entry.key for entry in plan_run([state]).commands} for state in states]
    for before, after in ((keys[0], keys[1]), (keys[1], keys[2])):
        assert {name for name in before if before[name] != after[name]} == {"fit", "predict", "evaluate", "bundle"}
    assert explain_change({"reads": {"text of the code": "a"}}, {"reads": {"text of the code": "b"}}) == [
        'text of the code "a" → "b"'
    ]


class HidingPipeline(PipelineOfToday):
    def facts(self, command: str) -> dict[str, str]:
        return {"extra": "always the same"}


class NamesakePipeline(PipelineOfToday):
    @command(reads=("extra",))
    def facts(self) -> None: ...  # type: ignore[override]


def test_a_fact_does_not_stand_in_the_place_of_a_field() -> None:
    with pytest.raises(PlanError, match=r"facts\('fit'\) of HidingPipeline names 'extra'"):
        key_of(HidingPipeline(ConfigOfToday(root_uri="/r", extra=3.0)))
    with pytest.raises(PlanError, match="names 'extra'"):
        key_of(HidingPipeline(ConfigOfToday(root_uri="/r", extra=1.0)))


def test_a_command_named_facts_is_a_command() -> None:
    config = ConfigOfToday(root_uri="/r")
    assert key_of(NamesakePipeline(config)) == key_of(PipelineOfToday(config))
