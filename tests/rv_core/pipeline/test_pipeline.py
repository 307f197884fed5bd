from __future__ import annotations

import dataclasses
import pickle
from dataclasses import dataclass, field

import pytest

from rv_core import ConfigError, Items, Pipeline, PipelineConfig, PlanError, command
from rv_core.config.classes import Config
from rv_core.pipeline.guard import guarded
from rv_core.pipeline.items import WorkItem, item_id
from rv_core.pipeline.pipeline import CommandInfo


@dataclass(kw_only=True)
class Sizes(Config):
    chip_px: int = 32
    stride_px: int = 16

    def area(self) -> int:
        return self.chip_px * self.chip_px


@dataclass(kw_only=True)
class SampleConfig(PipelineConfig):
    names: list[str] = field(default_factory=list)
    sizes: Sizes = field(default_factory=Sizes)
    seed: int = 0

    @property
    def double_seed(self) -> int:
        return 2 * self.seed


class Sample(Pipeline):
    @command(items="names", reads=("sizes.chip_px",))
    def cut(self, names: Items[str]) -> None: ...

    @command(requires=("cut",), reads=("sizes",), version=3, gpus=1, attempts=2)
    def learn(self) -> None: ...


class Extended(Sample):
    @command(requires=("cut",), reads=("seed",))
    def learn(self) -> None: ...

    @command()
    def publish(self) -> None: ...


CONFIG = SampleConfig(root_uri="/out", name="sample", names=["a", "b"], seed=4)


class Recorder:
    def __init__(self, done: set[str]) -> None:
        self.done = done
        self.log: list[str] = []

    def is_done(self, item: WorkItem[str]) -> bool:
        return item.id in self.done

    def begin(self, item: WorkItem[str]) -> None:
        self.log.append(f"begin {item.id}")

    def finish(self, item: WorkItem[str]) -> None:
        self.log.append(f"finish {item.id}")


def work(*names: str) -> list[WorkItem[str]]:
    return [WorkItem(name, f"key-{name}", "train", name) for name in names]


def test_commands_are_listed_in_the_order_of_their_definition() -> None:
    assert list(Sample.commands()) == ["cut", "learn"]
    assert Sample.commands()["learn"].gpus == 1
    assert list(Extended.commands()) == ["cut", "learn", "publish"]
    assert Extended.commands()["learn"].reads == ("seed",)


def test_asking_for_the_next_item_marks_the_one_before_as_done() -> None:
    recorder = Recorder(set())
    items: Items[str] = Items(work("a", "b"), recorder)
    iterator = iter(items)
    assert next(iterator) == "a"
    assert recorder.log == ["begin a"]
    assert items.group == "train"
    assert next(iterator) == "b"
    assert recorder.log == ["begin a", "finish a", "begin b"]
    assert list(iterator) == []
    assert items.num_left == 0


def test_items_that_are_done_are_not_handed_out() -> None:
    recorder = Recorder({"a", "c"})
    items: Items[str] = Items(work("a", "b", "c"), recorder)
    assert list(items) == ["b"]
    assert items.num_left == 0


def test_leaving_the_loop_leaves_the_item_in_hand_not_done() -> None:
    recorder = Recorder(set())
    items: Items[str] = Items(work("a", "b", "c"), recorder)
    for name in items:
        if name == "b":
            break
    assert recorder.log == ["begin a", "finish a", "begin b"]
    assert items.num_left == 2


def test_a_command_reads_what_it_declared() -> None:
    view = guarded(CONFIG, Sample.commands()["learn"])
    assert view.sizes.area() == 1024
    assert view.root_uri == "/out"
    assert isinstance(view, SampleConfig)


def test_a_command_that_reads_an_undeclared_field_is_told_which() -> None:
    view = guarded(CONFIG, Sample.commands()["learn"])
    with pytest.raises(ConfigError) as caught:
        _ = view.seed
    assert "the command 'learn' reads config.seed" in str(caught.value)
    assert "add 'seed' to reads" in str(caught.value)


def test_properties_and_methods_of_the_config_are_guarded_too() -> None:
    view = guarded(CONFIG, Sample.commands()["learn"])
    with pytest.raises(ConfigError, match="config.seed"):
        _ = view.double_seed
    view = guarded(CONFIG, Sample.commands()["cut"])
    with pytest.raises(ConfigError, match=r"tried to set config\.seed"):
        view.seed = 5


def test_the_view_can_be_pickled_and_says_what_asdict_and_replace_read() -> None:
    view = guarded(CONFIG, Sample.commands()["learn"])
    again = pickle.loads(pickle.dumps(view))
    assert again.sizes.area() == 1024
    with pytest.raises(ConfigError, match="config.seed"):
        _ = again.seed
    for reads_all in (dataclasses.asdict, dataclasses.replace):
        with pytest.raises(ConfigError, match=r"reads config\.\w+, which it does not declare"):
            reads_all(view)  # type: ignore[operator]
    assert [field.name for field in dataclasses.fields(view)] == [field.name for field in dataclasses.fields(CONFIG)]
    whole = CommandInfo("all", reads=tuple(field.name for field in dataclasses.fields(CONFIG)))
    assert dataclasses.asdict(guarded(CONFIG, whole)) == dataclasses.asdict(CONFIG)  # type: ignore[call-overload]
    assert dataclasses.replace(guarded(CONFIG, whole), seed=5).seed == 5  # type: ignore[type-var]


def test_a_dotted_field_opens_nothing_beside_it() -> None:
    view = guarded(CONFIG, Sample.commands()["cut"])
    assert view.sizes.chip_px == 32
    assert view.sizes.area() == 1024
    with pytest.raises(ConfigError, match="config.sizes.stride_px"):
        _ = view.sizes.stride_px


def test_an_item_without_an_id_is_refused() -> None:
    assert item_id("scene") == "scene"
    assert item_id(7) == "7"
    with pytest.raises(PlanError, match="an item of type dict has no id"):
        item_id({"x": 1})
