"""MODULE → configs: files, dotted modules, saved configs, and what goes wrong in a user's code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rv_core import ConfigError, PipelineConfig, RvError, UsageError
from rv_core.config.saved import dump, parse_trusted
from rv_core.user_code import archive as code_archive
from rv_core.user_code import loading
from rv_core.user_code.configs import LoadedModule, load_configs

GREET = """
from __future__ import annotations
from dataclasses import dataclass, field
from rv_core import Config, PipelineConfig, Uri

@dataclass
class Voice(Config):
    volume: float = 1.0

@dataclass
class GreetConfig(PipelineConfig):
    names: list[str]
    greeting: str = "hello"
    image: Uri | None = None
    voice: Voice = field(default_factory=Voice)

    def build(self):
        raise NotImplementedError

def get_config(runner: str, root_uri: str, count: int = 2, loud: bool = False, image: str | None = None) -> GreetConfig:
    names = [f"n{i}" for i in range(count)]
    return GreetConfig(root_uri=root_uri, names=names, voice=Voice(volume=2 if loud else 1), image=image)
"""


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """A test's modules and folders do not reach the next one."""
    modules, path, finders = set(sys.modules), list(sys.path), list(sys.meta_path)
    yield
    for name in set(sys.modules) - modules:
        if not name.startswith(("rv_core", "marshmallow")):
            del sys.modules[name]
    sys.path[:] = path
    sys.meta_path[:] = finders
    code_archive._ON_PATH.clear()
    loading._LOADED.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    place.mkdir()
    (place / "experiment.py").write_text(GREET)
    return place


def load(folder: Path, module: str = "experiment.py", *arguments: tuple[str, str], **options: Any) -> LoadedModule:
    given = arguments or (() if module.endswith(".json") else (("root_uri", "out"),))
    return load_configs(module, runner="local", arguments=given, cwd=folder, **options)


def message(folder: Path, module: str, *arguments: tuple[str, str], **options: Any) -> str:
    with pytest.raises(RvError) as caught:
        load(folder, module, *arguments, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_loaded_under_its_name_and_called(folder: Path) -> None:
    loaded = load(folder, "experiment.py", ("root_uri", "out"), ("count", "3"), ("loud", "yes"), ("image", "x.tif"))
    config: Any = loaded.configs[0]
    assert config.names == ["n0", "n1", "n2"]
    assert config.root_uri == str(folder / "out")
    assert config.image == str(folder / "x.tif")
    assert config.name == "greet"
    assert type(config.voice.volume) is float
    assert type(config) is sys.modules["experiment"].GreetConfig
    assert sys.path[-1] == str(folder)
    assert loaded.source == "experiment.py"


def test_an_absolute_path_works_from_anywhere(folder: Path, tmp_path: Path) -> None:
    assert load(tmp_path, str(folder / "experiment.py")).configs[0].root_uri == str(tmp_path / "out")


def test_a_name_without_py_finds_the_file_and_its_code_travels(folder: Path) -> None:
    assert load(folder, "experiment").code["module"] == "experiment"


def test_the_code_of_a_file_travels(folder: Path) -> None:
    loaded = load(folder)
    sha256 = loaded.code["sha256"]
    assert loaded.code == {
        "module": "experiment",
        "sha256": sha256,
        "archive": f".rv/code/{sha256}.zip",
        "folder": str(folder),
    }
    assert code_archive.pack_module(folder / "experiment.py") == (sha256, loaded.code_archive)


def test_siblings_can_be_imported(folder: Path) -> None:
    (folder / "my_names.py").write_text("NAMES = ['ada']\n")
    (folder / "experiment.py").write_text(GREET.replace("names = [", "import my_names; names = my_names.NAMES or ["))
    assert load(folder).configs[0].names == ["ada"]  # type: ignore[attr-defined]


def test_the_next_file_of_the_same_name_takes_its_place(folder: Path, tmp_path: Path) -> None:
    load(folder)
    other = tmp_path / "other"
    other.mkdir()
    (other / "experiment.py").write_text(GREET.replace('"hello"', '"ciao"'))
    loaded = load(other)
    assert loaded.configs[0].greeting == "ciao"  # type: ignore[attr-defined]
    assert loaded.code["module"] == "experiment"
    assert loaded.findings == ()
    assert str(folder) not in sys.path


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("json.py", "json_rv_module"),
        ("pluggy.py", "pluggy_rv_module"),
        ("my-experiment.py", "my_experiment"),
        ("2024.py", "m_2024"),
        ("class.py", "m_class"),
    ],
)
def test_files_with_unusable_names_get_one_that_a_fresh_process_finds(folder: Path, name: str, module: str) -> None:
    (folder / name).write_text(GREET)
    loaded = load(folder, name)
    assert loaded.code["module"] == module
    assert type(loaded.configs[0]).__module__ == module
    assert bool(loaded.findings) == name.startswith(("json", "pluggy"))
    assert all(finding.severity == "warning" for finding in loaded.findings)
    import json as still_json

    assert hasattr(still_json, "dumps")


def test_a_missing_file_names_the_near_miss(folder: Path) -> None:
    assert "did you mean 'experiment.py'?" in message(folder, "experimnt.py")
    assert "there is no folder" in message(folder, "nowhere/experiment.py")


def test_a_file_of_another_kind_is_no_module(folder: Path) -> None:
    (folder / "notes.txt").write_text("")
    with pytest.raises(UsageError, match=r"'\./notes\.txt' is no module"):
        load(folder, "./notes.txt")


def test_code_is_not_read_from_a_uri(folder: Path) -> None:
    said = message(folder, "https://host/experiment.py")
    assert "is not on this machine" in said
    assert "download it first" in said


# --- dotted modules ---------------------------------------------------------------------------------------------------


def test_an_installed_module_is_called_and_has_no_code_to_travel(folder: Path) -> None:
    loaded = load(folder, "rv_core.hello", ("root_uri", "out"), ("num_items", "2"))
    assert loaded.configs[0].num_items == 2  # type: ignore[attr-defined]
    assert loaded.configs[0].name == "hello"
    assert loaded.code == {}
    assert loaded.code_archive == b""


def test_a_package_in_the_working_directory_is_found_and_says_where(folder: Path) -> None:
    package = folder / "my_pkg_of_tests"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "greet.py").write_text(GREET)
    loaded = load(folder, "my_pkg_of_tests.greet")
    assert loaded.code == {"module": "my_pkg_of_tests.greet", "folder": str(folder)}


def test_a_missing_module_names_the_near_miss(folder: Path) -> None:
    assert "did you mean 'experiment.py'?" in message(folder, "experimentt")
    assert "'no_such_pkg' is neither installed" in message(folder, "no_such_pkg.greet")
    assert "is no module" in message(folder, "not a module")
    sub = folder / "sub"
    sub.mkdir()
    (sub / "greet.py").write_text("raise RuntimeError\n")
    assert "there is no module 'rv_core.helo'" in message(folder, "rv_core.helo")


# --- the user's function ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_confg(runner): ...", ["neither get_config nor get_configs", "it defines get_confg", "get_confg"]),
        ("x = 1", ["it defines no function"]),
        ("get_config = 3", ["neither get_config nor get_configs"]),
        ("def get_config(): return None", ["returned null", "no PipelineConfig"]),
        ("async def get_config(): return None", ["get_config of", "is async", "define it with `def`"]),
        ("def get_config(): return [1]", ["rename it to get_configs"]),
        ("def get_configs(): return []", ["returned no config"]),
        ("def get_configs(): return 3", ["returned 3", "a list of PipelineConfigs"]),
        ("def get_config(): return 1 / 0", ["ZeroDivisionError", "experiment.py:1 in get_config: def get_config()"]),
        ("import sys\ndef get_config(): sys.exit(4)", ["it ended the program with sys.exit(4)", "experiment.py:2"]),
        ("import no_such_thing", ["cannot be imported", "No module named 'no_such_thing'", "install 'no_such_thing'"]),
        ("from .inner import x", ["no known parent package", "is run by its dotted name"]),
        ("x = [\n", ["cannot be imported", "experiment.py:1", "SyntaxError"]),
        ("def get_config(x: 'Nothing'): ...", ["signature", "NameError"]),
        ("raise SystemExit('bye')", ["cannot be imported", "sys.exit('bye')"]),
    ],
)
def test_what_goes_wrong_in_a_module_is_shown_with_its_own_lines(folder: Path, text: str, words: list[str]) -> None:
    (folder / "experiment.py").write_text(text + "\n")
    with pytest.raises(RvError) as caught:
        load_configs("experiment.py", runner="local", cwd=folder)
    assert caught.value.exit_code == 2
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_misspelt_field_of_a_config_class_names_the_near_miss(folder: Path) -> None:
    text = (
        "from rv_core.hello import HelloConfig\ndef get_config(root_uri):\n    return HelloConfig(root_uri='x', {})\n"
    )
    (folder / "experiment.py").write_text(text.format("num_itms=3"))
    assert "unexpected keyword argument 'num_itms'" in message(folder, "experiment.py")
    assert "did you mean 'num_items'?" in message(folder, "experiment.py")
    (folder / "experiment.py").write_text(text.format("qqq=3"))
    assert "the fields of HelloConfig are root_uri, name, num_items" in message(folder, "experiment.py")


def test_only_the_users_own_frames_are_shown(folder: Path) -> None:
    text = "import json\ndef inner():\n    return json.loads('{')\ndef get_config():\n    return inner()\n"
    (folder / "experiment.py").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_configs("experiment.py", runner="local", cwd=folder)
    lines = str(caught.value).splitlines()
    assert any(line.strip().endswith("experiment.py:3 in inner: return json.loads('{')") for line in lines)
    assert not any("decoder.py" in line or "user_code" in line for line in lines)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_failed_import_leaves_nothing_behind(folder: Path) -> None:
    (folder / "broken_one.py").write_text("raise RuntimeError('planned')\n")
    message(folder, "broken_one.py")
    assert "broken_one" not in sys.modules


def test_a_forgotten_decorator_is_explained_before_the_call(folder: Path) -> None:
    (folder / "experiment.py").write_text(GREET.replace("@dataclass\nclass GreetConfig", "class GreetConfig"))
    text = message(folder, "experiment.py")
    assert "GreetConfig declares fields (names, greeting, image, voice) but is not a dataclass" in text
    assert "put @dataclass above" in text


def test_wrong_arguments_print_the_signature(folder: Path) -> None:
    text = message(folder, "experiment.py", ("root_uri", "x"), ("cuont", "3"))
    assert "-a cuont: there is no such argument; did you mean 'count'?" in text
    assert "get_config(runner: str, root_uri: str, count: int = 2, loud: bool = False" in text


def test_a_wrong_config_reports_everything_at_once(folder: Path) -> None:
    bad = "config = GreetConfig(root_uri=root_uri, names='abc', greeting=3); config.voice.volum = 2; return config"
    (folder / "experiment.py").write_text(GREET.replace("    names = [", f"    {bad}\n    names = ["))
    text = message(folder, "experiment.py")
    assert "3 problems in the config" in text
    for word in ("names: expected a list", "greeting: expected text, got 3", "voice.volum", "did you mean 'volume'"):
        assert word in text


MANY = GREET.replace(
    "def get_config(",
    "def get_configs(root_uri: str):\n"
    "    return [GreetConfig(root_uri=f'{root_uri}/{i}', names=['a'], name=n) for i, n in enumerate(NAMES)]\n"
    "def get_config(",
)


def test_several_configs_get_names_that_differ(folder: Path) -> None:
    (folder / "experiment.py").write_text(MANY + "NAMES = ['', '', 'mine']\n")
    assert [config.name for config in load(folder).configs] == ["greet-1", "greet-2", "mine"]
    named = load(folder, run_name="night")
    assert [config.name for config in named.configs] == ["night-greet-1", "night-greet-2", "night-mine"]


def test_a_generator_of_configs_is_as_good_as_a_list_and_its_error_is_one_of_the_module(folder: Path) -> None:
    yielding = MANY.replace("return [", "yield from [") + "NAMES = ['a', 'b']\n"
    (folder / "experiment.py").write_text(yielding)
    assert [config.name for config in load(folder).configs] == ["a", "b"]
    (folder / "experiment.py").write_text(yielding.replace("NAMES = ['a', 'b']", "NAMES = None"))
    assert "get_configs of experiment.py failed" in message(folder, "experiment.py")


def test_a_variable_in_a_root_on_this_machine_is_filled_in_and_in_a_store_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESULTS", "/results")
    (folder / "experiment.py").write_text(GREET)
    roots = [
        load(folder, sets=[("root_uri", root)]).configs[0].root_uri
        for root in ("${RESULTS}/a", "memory://${RESULTS}/a")
    ]
    assert roots == ["/results/a", "memory://${RESULTS}/a"]


def test_equal_names_are_an_error(folder: Path) -> None:
    (folder / "experiment.py").write_text(MANY + "NAMES = ['a', 'a']\n")
    assert "2 pipelines are named 'a'" in message(folder, "experiment.py")


def test_errors_of_several_configs_say_of_which(folder: Path) -> None:
    (folder / "experiment.py").write_text(MANY + "NAMES = ['a', 3, 'b c']\n")
    text = message(folder, "experiment.py")
    assert "configs[1].name: expected text, got 3" in text
    assert "configs[2].name: 'b c' is not a name" in text


def test_the_run_name_replaces_the_name(folder: Path) -> None:
    assert load(folder, run_name="mine").configs[0].name == "mine"
    assert "is not a name" in message(folder, "experiment.py", run_name="a b")


def test_sets_change_the_config_and_are_checked_strictly(folder: Path) -> None:
    loaded = load(folder, sets=[("names[0]", "zoe"), ("voice.volume", "3"), ("image", "y.tif")])
    config: Any = loaded.configs[0]
    assert (config.names[0], config.voice.volume, config.image) == ("zoe", 3.0, str(folder / "y.tif"))
    assert "did you mean 'voice.volume'?" in message(folder, "experiment.py", sets=[("voice.volum", "3")])
    assert "expected a number" in message(folder, "experiment.py", sets=[("voice.volume", '"3"')])


def test_a_set_may_mend_a_wrong_config(folder: Path) -> None:
    (folder / "experiment.py").write_text(GREET.replace("2 if loud else 1", "'x'"))
    assert "expected a number" in message(folder, "experiment.py")
    assert load(folder, sets=[("voice.volume", "1")]).configs[0].voice.volume == 1.0  # type: ignore[attr-defined]


# --- saved configs ----------------------------------------------------------------------------------------------------


def save(folder: Path, module: str = "experiment.py", **options: Any) -> tuple[Path, LoadedModule]:
    loaded = load(folder, module, **options)
    root = Path(loaded.configs[0].root_uri)
    archive = root / loaded.code["archive"]
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(loaded.code_archive)
    path = root / "pipeline-config.json"
    path.write_text(dump(loaded.configs[0], code=loaded.code))
    sys.modules.pop(loaded.code["module"])
    return path, loaded


def test_a_saved_config_runs_after_its_module_is_gone(folder: Path, tmp_path: Path) -> None:
    path, before = save(folder)
    (folder / "experiment.py").unlink()
    loaded = load(tmp_path, str(path))
    assert dump(loaded.configs[0], code=loaded.code) == path.read_text()
    assert loaded.code_archive == before.code_archive
    assert ".zip" in str(sys.modules["experiment"].__file__)


def test_a_saved_config_uses_the_code_it_was_saved_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = save(folder)
    (folder / "experiment.py").write_text("raise RuntimeError('edited while the run is on')\n")
    monkeypatch.chdir(folder)
    sys.path.insert(0, str(folder))
    assert load(folder, str(path)).configs[0].greeting == "hello"  # type: ignore[attr-defined]


def test_a_saved_config_takes_sets_but_no_arguments(folder: Path) -> None:
    path, _ = save(folder)
    loaded = load(folder, str(path), sets=[("greeting", "ciao")], run_name="again")
    assert loaded.configs[0].greeting == "ciao"  # type: ignore[attr-defined]
    assert loaded.configs[0].name == "again"
    with pytest.raises(UsageError, match="use --set count=3"):
        load(folder, str(path), ("count", "3"))


def test_a_copy_of_a_saved_config_finds_its_code_under_the_root(folder: Path, tmp_path: Path) -> None:
    path, _ = save(folder)
    copy = tmp_path / "copy.json"
    copy.write_text(path.read_text())
    assert load(tmp_path, "copy.json").code_archive


def test_without_its_zip_the_unchanged_file_will_do(folder: Path) -> None:
    path, before = save(folder)
    for zip_file in path.parent.glob(".rv/code/*.zip"):
        zip_file.unlink()
    assert load(folder, str(path)).code_archive == before.code_archive
    sys.modules.pop("experiment")
    (folder / "experiment.py").write_text(GREET + "# edited\n")
    assert "the code that travels with this config is missing" in message(folder, str(path))


def test_changed_code_is_refused(folder: Path) -> None:
    path, before = save(folder)
    archive = path.parent / before.code["archive"]
    archive.write_bytes(archive.read_bytes().replace(b"hello", b"jello"))
    assert "was changed or damaged" in message(folder, str(path))


def test_an_archive_elsewhere_is_refused(folder: Path) -> None:
    path, _ = save(folder)
    data = json.loads(path.read_text())
    data["rv"]["code"]["archive"] = "../../evil.zip"
    path.write_text(json.dumps(data))
    assert "not where rv puts it" in message(folder, str(path))


def test_a_missing_or_broken_saved_config_is_named(folder: Path) -> None:
    assert "there is no saved config 'none.json'" in message(folder, "none.json")
    (folder / "bad.json").write_text("{")
    assert "not valid JSON" in message(folder, "bad.json")
    path, _ = save(folder)
    path.write_text(path.read_text().replace('"greeting"', '"greetin"'))
    text = message(folder, str(path))
    assert "did you mean 'greeting'?" in text
    assert "pipeline-config.json" in text


def test_the_trusted_way_loads_what_a_module_made(folder: Path) -> None:
    loaded = load(folder)
    text = dump(loaded.configs[0], code=loaded.code)
    assert parse_trusted(text, source="x", expected=PipelineConfig).config == loaded.configs[0]
