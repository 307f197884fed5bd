"""Saved configs: text, versions, upgraders, missing plugins, the trusted way, stored samples of every release."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rv_core import ConfigError, PipelineConfig
from rv_core.config.saved import dump, parse, parse_plain, parse_trusted
from rv_core.hello import HelloConfig
from rv_core.plugins.installed import forget_plugins, plugin_manager

SAMPLES = Path(__file__).parent.parent / "samples"

CONFIGS = """
from __future__ import annotations
from dataclasses import dataclass, field
from rv_core import Config, PipelineConfig, Uri

@dataclass(kw_only=True)
class ShapeConfig(Config):
    width_px: int = 1
    tags: tuple[str, ...] = ()

@dataclass(kw_only=True)
class RoundConfig(ShapeConfig):
    radius: float = 1.0

@dataclass(kw_only=True)
class DrawConfig(PipelineConfig):
    shapes: list[ShapeConfig] = field(default_factory=list)
    colors: dict[int, str] = field(default_factory=dict)
"""

HOOKS = """
from rv_core import ConfigSpec, hookimpl

@hookimpl
def rv_configs():
    types = {"draw": "rv_drawing.configs:DrawConfig", "round": "rv_drawing.configs:RoundConfig"}
    upgraders = {1: "rv_drawing.upgrades:from_1", 2: "rv_drawing.upgrades:from_2"}
    return [ConfigSpec("rv-drawing", types, version=VERSION, upgraders=upgraders)]
"""

UPGRADES = '''
def from_1(plain):
    """Version 1 called the field `size`, and circles `circle`."""
    if plain["type_hint"] == "circle":
        plain["type_hint"] = "round"
    if "size" in plain:
        plain["width_px"] = plain.pop("size")
    return plain

def from_2(plain):
    """Version 2 kept one color, not many; shapes got tags."""
    if plain["type_hint"] == "draw":
        plain["colors"] = {"0": plain.pop("color")}
    else:
        plain = {**plain, "tags": ["from 2"]}
    return plain
'''


class Drawing:
    """A plugin that is installed for one test: a real entry point on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, version: int = 3, upgrades: str = UPGRADES, package_version: str = "1.0") -> None:
        package = self.folder / "rv_drawing"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text(f"__version__ = {package_version!r}\n")
        (package / "configs.py").write_text(CONFIGS)
        (package / "hooks.py").write_text(HOOKS.replace("VERSION", str(version)))
        (package / "upgrades.py").write_text(upgrades)
        info = self.folder / "rv_drawing-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rv-drawing\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[rv]\ndrawing = rv_drawing.hooks\n")
        self.forget()

    def uninstall(self) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        self.forget()

    @staticmethod
    def forget() -> None:
        import importlib

        forget_plugins()
        importlib.invalidate_caches()
        for name in [name for name in sys.modules if name.partition(".")[0] == "rv_drawing"]:
            del sys.modules[name]

    @staticmethod
    def config(**changes: Any) -> Any:
        from importlib import import_module

        configs = import_module("rv_drawing.configs")
        shapes = [configs.ShapeConfig(width_px=3), configs.RoundConfig(radius=2.5, tags=("a", "b"))]
        return configs.DrawConfig(root_uri="/out", name="draw", shapes=shapes, colors={3: "red"}, **changes)


@pytest.fixture
def drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawing]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    plugin = Drawing(folder)
    plugin.install()
    yield plugin
    plugin.forget()


def changed(text: str, **header: Any) -> str:
    data = json.loads(text)
    data["rv"].update(header)
    return json.dumps(data)


# --- the text ---------------------------------------------------------------------------------------------------------


def test_the_text_names_versions_types_packages_and_code(drawing: Drawing) -> None:
    code = {"module": "experiment", "sha256": "0" * 64, "archive": f".rv/code/{'0' * 64}.zip"}
    data = json.loads(dump(drawing.config(), code=code))
    assert data["rv"] == {
        "format": 1,
        "versions": {"rv-drawing": 3},
        "types": {
            "draw": "rv_drawing.configs:DrawConfig",
            "round": "rv_drawing.configs:RoundConfig",
            "rv_drawing.configs:ShapeConfig": "rv_drawing.configs:ShapeConfig",
        },
        "packages": {"rv_drawing": "1.0"},
        "code": code,
    }
    assert data["config"]["type_hint"] == "draw"
    assert data["config"]["shapes"][0]["type_hint"] == "rv_drawing.configs:ShapeConfig"
    assert data["config"]["colors"] == {"3": "red"}


def test_equal_configs_give_equal_texts(drawing: Drawing) -> None:
    assert dump(drawing.config()) == dump(drawing.config())


@pytest.mark.parametrize("read", [parse, parse_trusted])
def test_what_is_saved_is_read_back(drawing: Drawing, read: Any) -> None:
    config = drawing.config()
    saved = read(dump(config, code={"module": "m"}), source="x.json", expected=PipelineConfig)
    assert saved.config == config
    assert type(saved.config.shapes[1]).__name__ == "RoundConfig"
    assert saved.config.shapes[1].tags == ("a", "b")
    assert saved.code == {"module": "m"}
    assert saved.versions == {"rv-drawing": 3}
    assert not saved.is_upgraded
    assert dump(saved.config, code=saved.code) == dump(config, code={"module": "m"})


def test_a_class_that_no_fresh_process_finds_cannot_be_saved() -> None:
    class Local(HelloConfig):
        pass

    with pytest.raises(ConfigError, match="cannot be found by a fresh process"):
        dump(Local(root_uri="/out"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a saved pipeline config"),
        ("{}", "not a saved pipeline config"),
        ('{"rv": {"format": 1}, "config": 3}', "not a saved pipeline config"),
        ('{"rv": {"format": 1}, "config": {}, "more": 1}', "not a saved pipeline config"),
        ('{"rv": {}, "config": {}}', "names no format"),
        ('{"rv": {"format": true}, "config": {}}', "names no format"),
        ('{"rv": {"format": 2}, "config": {}}', "has format 2"),
        ('{"rv": {"format": 1, "versions": 3}, "config": {}}', "not what rv writes"),
        ('{"rv": {"format": 1, "versions": {"a": 0}}, "config": {}}', "not what rv writes"),
        ('{"rv": {"format": 1, "versions": {"a": "1"}}, "config": {}}', "not what rv writes"),
        ('{"rv": {"format": 1, "types": {"a": 1}}, "config": {}}', "not what rv writes"),
        ('{"rv": {"format": 1, "typos": {}}, "config": {}}', "not what rv writes"),
        ('{"rv": {"format": 1}, "config": {"a": 1, "a": 2}}', "the key 'a' stands twice"),
        ('{"rv": {"format": 1}, "config": {"a": NaN}}', "NaN is not a number"),
        ('{"rv": {"format": 1}, "config": {"a": -Infinity}}', "-Infinity is not a number"),
        ('{"rv": {"format": 1}, "config": ' + '{"a":' * 100_000 + "1" + "}" * 100_001, "nested too deeply"),
        ('{"rv": {"format": 1}, "config": {}}', "type_hint is missing"),
        ('{"rv": {"format": 1}, "config": {"type_hint": "hello"}}', "root_uri: is missing"),
        (
            '{"rv": {"format": 1}, "config": {"type_hint": "rv_core.config.classes:Config"}}',
            "expected PipelineConfig, got Config",
        ),
    ],
)
def test_broken_files_are_refused_with_their_name(text: str, problem: str) -> None:
    for read in (parse, parse_trusted):
        with pytest.raises(ConfigError) as caught:
            read(text, source="broken.json", expected=PipelineConfig)
        assert problem in str(caught.value)
        assert "broken.json" in str(caught.value)


def test_plain_values_are_read_without_importing_what_they_name(drawing: Drawing) -> None:
    text = dump(drawing.config()).replace("rv_drawing.configs", "rv_gone.configs")
    drawing.uninstall()
    assert parse_plain(text, source="x").plain["colors"] == {"3": "red"}
    assert "rv_drawing" not in sys.modules


# --- upgraders --------------------------------------------------------------------------------------------------------

VERSION_1 = {
    "rv": {
        "format": 1,
        "versions": {"rv-drawing": 1},
        "types": {"draw": "rv_drawing.old:DrawConfig", "circle": "rv_drawing.old:CircleConfig"},
    },
    "config": {
        "type_hint": "draw",
        "root_uri": "/out",
        "color": "red",
        "shapes": [
            {"type_hint": "circle", "size": 3, "radius": 2.0},
            {"type_hint": "rv_drawing.configs:ShapeConfig", "size": 7},
        ],
    },
}


def test_old_configs_are_upgraded_version_by_version_everywhere(drawing: Drawing) -> None:
    saved = parse(json.dumps(VERSION_1), source="old.json", expected=PipelineConfig)
    config: Any = saved.config
    assert config.colors == {0: "red"}
    assert [(type(s).__name__, s.width_px, s.tags) for s in config.shapes] == [
        ("RoundConfig", 3, ("from 2",)),
        ("ShapeConfig", 7, ("from 2",)),
    ]
    assert saved.is_upgraded
    assert saved.versions == {"rv-drawing": 1}


def test_upgrading_what_was_upgraded_changes_nothing(drawing: Drawing) -> None:
    config = parse(json.dumps(VERSION_1), source="old.json", expected=PipelineConfig).config
    assert parse(dump(config), source="new.json", expected=PipelineConfig).config == config


def test_the_trusted_way_upgrades_too(drawing: Drawing) -> None:
    assert parse_trusted(json.dumps(VERSION_1), source="x", expected=PipelineConfig) == parse(
        json.dumps(VERSION_1), source="x", expected=PipelineConfig
    )


def test_a_field_that_came_later_has_its_value_of_before_in_a_config_that_lacks_it(drawing: Drawing) -> None:
    text = dump(drawing.config())
    (drawing.folder / "rv_drawing" / "configs.py").write_text(
        CONFIGS.replace("import Config,", "import AsBefore, Config,")
        .replace("import dataclass, field", "import dataclass, field\nfrom typing import Annotated")
        .replace(
            "    width_px: int = 1", "    width_px: int = 1\n    margins: Annotated[list[int], AsBefore([0])] = None"
        )
    )
    drawing.forget()
    for load in (parse, parse_trusted):
        first, second = load(text, source="old.json", expected=PipelineConfig).config.shapes  # type: ignore[attr-defined]
        assert (first.margins, second.margins) == ([0], [0])
        assert first.margins is not second.margins


def test_a_file_that_names_no_version_is_of_the_first(drawing: Drawing) -> None:
    data = {"rv": {**VERSION_1["rv"], "versions": {}}, "config": VERSION_1["config"]}
    assert parse(json.dumps(data), source="x", expected=PipelineConfig).config.colors == {0: "red"}  # type: ignore[attr-defined]


def test_a_newer_config_names_the_package_to_upgrade(drawing: Drawing) -> None:
    text = changed(dump(drawing.config()), versions={"rv-drawing": 4})
    with pytest.raises(ConfigError) as caught:
        parse(text, source="new.json", expected=PipelineConfig)
    assert "saved with version 4, here is 3" in str(caught.value)
    assert "pip install --upgrade rv-drawing" in str(caught.value)


@pytest.mark.parametrize(
    ("upgrades", "problem"),
    [
        ("def from_1(plain): return plain['nothing']\n", "KeyError: 'nothing'"),
        ("def from_1(plain): plain['size'] = 3\n", "it returned NoneType, not a dict"),
        ("raise RuntimeError('planned')\n", "RuntimeError: planned"),
        ("def other(plain): return plain\n", "from_1"),
    ],
)
def test_a_failing_upgrader_is_named_with_its_plugin(drawing: Drawing, upgrades: str, problem: str) -> None:
    drawing.install(upgrades=upgrades)
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(VERSION_1), source="old.json", expected=PipelineConfig)
    assert problem in str(caught.value)
    assert "rv-drawing" in str(caught.value)


def test_a_missing_upgrader_is_named(drawing: Drawing) -> None:
    drawing.install(version=4)
    with pytest.raises(ConfigError, match="cannot bring its config from version 3 to 4"):
        parse(changed(dump(drawing.config()), versions={"rv-drawing": 3}), source="x", expected=PipelineConfig)


def test_a_missing_plugin_is_named_with_what_to_install(drawing: Drawing) -> None:
    text = dump(drawing.config())
    drawing.uninstall()
    for read in (parse, parse_trusted):
        with pytest.raises(ConfigError) as caught:
            read(text, source="x.json", expected=PipelineConfig)
        assert "no config type named 'draw'" in str(caught.value)
        assert "there is no module 'rv_drawing'" in str(caught.value)
        assert str(caught.value).count("pip install rv-drawing") == 3


# --- the trusted way --------------------------------------------------------------------------------------------------


def test_a_task_builds_its_config_without_entry_points_or_schemas(drawing: Drawing) -> None:
    (drawing.folder / "saved.json").write_text(dump(drawing.config()))
    code = (
        "import sys; from pathlib import Path; from rv_core.config.saved import parse_trusted; from rv_core import PipelineConfig; "
        "from rv_core.config.values import to_plain; "
        f"saved = parse_trusted(Path({str(drawing.folder / 'saved.json')!r}).read_text(), source='x', expected=PipelineConfig); "
        "plain = to_plain(saved.config); "
        "print(plain['type_hint'], plain['shapes'][1]['type_hint'], saved.config.shapes[1].radius); "
        "print(sorted({'marshmallow', 'rv_core.plugins.installed', 'importlib.metadata'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment(drawing)
    )
    assert done.stdout.splitlines() == ["draw round 2.5", "[]"]


def _environment(drawing: Drawing) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(drawing.folder), *filter(None, sys.path)])}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["rv"]["packages"].update(rv_drawing="0.9"),
        lambda data: data["rv"].pop("types"),
        lambda data: data["rv"].pop("packages"),
        lambda data: data["rv"]["types"].update(draw="rv_drawing.configs:Gone"),
        lambda data: data["rv"]["types"].update(draw="os:system"),
        lambda data: data["config"].pop("colors"),
        lambda data: data["config"]["shapes"][0].pop("type_hint"),
    ],
)
def test_whatever_does_not_fit_exactly_is_loaded_strictly(drawing: Drawing, change: Any) -> None:
    data = json.loads(dump(drawing.config()))
    change(data)
    text = json.dumps(data)
    assert (
        parse_trusted(text, source="x", expected=PipelineConfig).config
        == parse(text, source="x", expected=PipelineConfig).config
    )


def test_wrong_fields_are_not_trusted(drawing: Drawing) -> None:
    data = json.loads(dump(drawing.config()))
    data["config"]["typo"] = data["config"].pop("colors")
    with pytest.raises(ConfigError, match="there is no such field"):
        parse_trusted(json.dumps(data), source="x", expected=PipelineConfig)


# --- released versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_the_sample_of_every_released_version_loads(path: Path) -> None:
    saved = parse(path.read_text(), source=str(path), expected=PipelineConfig)
    again = parse(dump(saved.config), source="again", expected=PipelineConfig)
    assert again.config == saved.config


def test_there_is_a_sample_of_the_current_version_of_the_core() -> None:
    spec = plugin_manager().config_specs()["rv-core"]
    path = SAMPLES / f"rv-core-{spec.version}.json"
    assert path.is_file(), f"store the output of dump() as {path}"
    sample: Any = parse(path.read_text(), source=str(path), expected=PipelineConfig).config
    assert (sample.num_items, sample.sleep_s, sample.greeting, sample.root_uri) == (6, 0.5, "good day", "/data/out")
