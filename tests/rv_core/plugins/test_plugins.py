"""Finding and loading plugins: what works, what is broken and how it is said, and that nothing is half there."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from threading import Barrier
from typing import TYPE_CHECKING

import pytest

from rv_core.errors import PluginError, RunnerError, UsageError
from rv_core.plugins.installed import Plugins, forget_plugins, load_plugins, plugin_manager
from rv_core.plugins.records import PluginRecord
from rv_core.plugins.targets import resolve

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

RUNNER = """
@hookimpl
def rv_runners():
    return [RunnerSpec("{name}", "{package}.runner:MyRunner", "a runner", settings="{package}.runner:MySettings")]
"""
RUNNER_MODULE = """
from dataclasses import dataclass
from rv_core import Runner

@dataclass
class MySettings:
    jobs: int = 2

class MyRunner(Runner):
    def run(self, plan, context):
        pass
"""


def install_runner(site: Site, distribution: str = "rv-runner-mine", name: str = "mine", **options: str) -> str:
    package = distribution.replace("-", "_")
    hooks = RUNNER.format(name=name, package=package)
    return site.install(distribution, hooks, files={"runner.py": RUNNER_MODULE}, **options)


def load(environ: Mapping[str, str] | None = None) -> Plugins:
    return load_plugins(environ or {})


def record_of(plugins: Plugins, name: str) -> PluginRecord:
    (found,) = [record for record in plugins.records if name in (record.name, record.distribution)]
    return found


# --- what works -------------------------------------------------------------------------------------------------------


def test_the_core_registers_its_runner_pipeline_verbs_and_configs_as_the_first_plugin() -> None:
    plugins = load()
    core = plugins.records[0]
    assert (core.name, core.distribution, core.status) == ("core", "rv-core", "ok")
    assert plugins.runner_specs()["inprocess"].target == "rv_core.runner.inprocess:InProcessRunner"
    assert plugins.pipeline_specs()["hello"].target == "rv_core.hello:HelloConfig"
    assert {"run", "check", "status", "logs", "cancel", "plugins", "config"} <= set(plugins.command_specs())
    assert plugins.config_specs()["rv-core"].types == {"hello": "rv_core.hello:HelloConfig"}


def test_every_target_of_the_core_can_be_imported() -> None:
    for provided in load().records[0].provides:
        if provided.target:
            assert resolve(provided.target, declared_by="core") is not None


def test_a_plugin_of_any_package_name_is_found_by_its_entry_point(own_site: Site) -> None:
    own_site.install("some-other-name", RUNNER.format(name="mine", package="p"), entry_point="m", version="2.5")
    plugins = load()
    assert plugins.runner_specs()["mine"].target == "p.runner:MyRunner"
    record = record_of(plugins, "m")
    assert (record.distribution, record.version, record.status) == ("some-other-name", "2.5", "ok")
    assert [str(provided) for provided in record.provides] == ["runner mine"]
    assert record.hooks == ("rv_runners",)
    assert plugins.owner_of("runner", "mine") == record


def test_all_declaring_hooks_are_collected(own_site: Site) -> None:
    hooks = """
    @hookimpl
    def rv_pipelines(): return [PipelineSpec("p1", "x.y:Z")]
    @hookimpl
    def rv_commands(): return (CommandSpec("extra", "x.cli:app", "Do more", "Extra"),)
    @hookimpl
    def rv_configs(): return [ConfigSpec("x", {"p1": "x.y:Z"}, version=2, upgraders={1: "x.y:up"})]
    """
    own_site.install("x", hooks)
    plugins = load()
    assert plugins.pipeline_specs()["p1"].target == "x.y:Z"
    assert plugins.command_specs()["extra"].panel == "Extra"
    assert plugins.config_specs()["x"].upgraders == {1: "x.y:up"}
    assert [str(p) for p in record_of(plugins, "x").provides] == ["verb extra", "config x", "type p1", "pipeline p1"]


def test_declared_targets_are_not_imported_by_loading(own_site: Site) -> None:
    package = install_runner(own_site)
    load()
    assert f"{package}.hooks" in sys.modules
    assert f"{package}.runner" not in sys.modules


def test_what_a_plugin_prints_while_it_is_imported_stays_out_of_stdout(
    own_site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    install_runner(own_site)
    (own_site.folder / "rv_runner_mine" / "__init__.py").write_text("print('noise')\n")
    load()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "noise\n")


def test_plugins_are_loaded_in_the_same_order_every_time(own_site: Site) -> None:
    for name in ("b", "c", "a"):
        install_runner(own_site, f"order-{name}", name)
    names = [record.distribution for record in load().records if record.distribution.startswith("order")]
    assert names == ["order-a", "order-b", "order-c"]


def test_of_a_distribution_that_is_there_twice_the_first_on_the_path_counts(
    own_site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    install_runner(own_site, version="1.0")
    first = type(own_site)(tmp_path_factory.mktemp("first"))
    install_runner(first, version="2.0")
    monkeypatch.syspath_prepend(str(first.folder))
    assert record_of(load(), "rv-runner-mine").version == "2.0"
    for name in ("rv_runner_mine", "rv_runner_mine.hooks"):
        del sys.modules[name]


def test_the_manager_is_loaded_once_per_process() -> None:
    assert plugin_manager() is plugin_manager()


def test_threads_that_ask_at_once_get_the_same_plugins_and_leave_stdout_alone() -> None:
    forget_plugins()
    stdout, together = sys.stdout, Barrier(8)

    def ask(_: int) -> Plugins:
        together.wait()
        return plugin_manager()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert sys.stdout is stdout
    assert len(set(map(id, found))) == 1


# --- what is broken ---------------------------------------------------------------------------------------------------

BROKEN = {
    "import error": ("import kubernetes_of_nobody\n", "No module named 'kubernetes_of_nobody'"),
    "exception": ("raise ValueError('no licence')\n", "ValueError: no licence"),
    "syntax error": ("def broken(:\n", "SyntaxError: invalid syntax"),
    "end of the process": ("import sys\nsys.exit(4)\n", "SystemExit: it tried to end the process with 4"),
    "misspelt hook": ("@hookimpl\ndef rv_runner(): return []\n", "no hook named rv_runner; did you mean rv_runners?"),
    "unknown hook": ("@hookimpl\ndef xyzzy(): return []\n", "no hook named xyzzy; known: rv_runners, rv_pipelines"),
    "unknown argument": (
        "@hookimpl\ndef rv_task_started(run_id, tasks): pass\n",
        "tasks, which rv does not pass; it is rv_task_started(run_id, task, attempt, root_uri, key); did you mean task?",
    ),
    "argument with a default": (
        "@hookimpl\ndef rv_task_started(run_id, attempt=1): pass\n",
        "rv_task_started must take attempt as a plain argument without a default",
    ),
    "async hook": ("@hookimpl\nasync def rv_runners(): return []\n", "rv_runners is an async function"),
    "hook wrapper": (
        "@hookimpl(wrapper=True)\ndef rv_runners():\n    return (yield)\n",
        "rv_runners is a hook wrapper",
    ),
    "no hook": ("x = 1\n", "implements no hook; mark its functions with @rv_core.hookimpl"),
    "forgotten mark": ("def rv_runners(): return []\n", "rv_runners is not marked with @rv_core.hookimpl"),
    "newer hooks": (
        "RV_HOOK_API_VERSION = 2\n@hookimpl\ndef rv_runners(): return []\n",
        "written for version 2 of the hooks and this rv-core has version 1; install a newer release of rv-core",
    ),
    "older hooks": ("RV_HOOK_API_VERSION = 0\n", "install a newer release of the plugin"),
    "version as text": ("RV_HOOK_API_VERSION = '1'\n", "RV_HOOK_API_VERSION is '1'; it must be a whole number"),
    "hook that raises": (
        "@hookimpl\ndef rv_runners(): 1 / 0\n",
        "rv_runners raised ZeroDivisionError: division by zero",
    ),
    "hook that exits": ("@hookimpl\ndef rv_runners(): raise SystemExit(1)\n", "rv_runners raised SystemExit"),
    "nothing returned": ("@hookimpl\ndef rv_runners(): pass\n", "rv_runners returned None; it must return a list of"),
    "not a list": (
        "@hookimpl\ndef rv_runners(): return RunnerSpec('a', 'b:c')\n",
        "rv_runners returned a RunnerSpec; it must return a list of RunnerSpec",
    ),
    "wrong type": (
        "@hookimpl\ndef rv_runners(): return [PipelineSpec('a', 'b:c')]\n",
        "rv_runners returned a list with a PipelineSpec in it; all must be RunnerSpec",
    ),
    "empty name": ("@hookimpl\ndef rv_runners(): return [RunnerSpec('', 'b:c')]\n", "'' cannot be a name"),
    "target without attribute": (
        "@hookimpl\ndef rv_runners(): return [RunnerSpec('a', 'b.c')]\n",
        "the target of 'a' is 'b.c'; write \"module:attribute\"",
    ),
    "settings without attribute": (
        "@hookimpl\ndef rv_runners(): return [RunnerSpec('a', 'b:c', settings='d')]\n",
        "'d'",
    ),
    "summary of another type": (
        "@hookimpl\ndef rv_commands(): return [CommandSpec('a', 'b:c', summary=None)]\n",
        "the summary of 'a' is not a text",
    ),
    "takes_arguments of another type": (
        "@hookimpl\ndef rv_commands(): return [CommandSpec('a', 'b:c', takes_arguments='yes')]\n",
        "takes_arguments of 'a' is neither True nor False",
    ),
    "twice the same": (
        "@hookimpl\ndef rv_runners(): return [RunnerSpec('a', 'b:c'), RunnerSpec('a', 'b:d')]\n",
        "it declares the runner a twice",
    ),
    "version 0": ("@hookimpl\ndef rv_configs(): return [ConfigSpec('a', version=0)]\n", "versions count from 1"),
    "types as a list": ("@hookimpl\ndef rv_configs(): return [ConfigSpec('a', ['b'])]\n", "must be dicts"),
    "upgrader from the current version": (
        "@hookimpl\ndef rv_configs(): return [ConfigSpec('a', version=2, upgraders={2: 'b:c'})]\n",
        "has an upgrader from version 2; its versions are 1 to 2, so upgraders start from 1 to 1",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_becomes_a_record_that_says_why(own_site: Site, case: str) -> None:
    text, expected = BROKEN[case]
    own_site.install("rv-bad", text, version="0.3")
    install_runner(own_site)
    plugins = load()
    record = record_of(plugins, "rv-bad")
    assert (record.status, record.version, record.provides, record.hooks) == ("broken", "0.3", (), ())
    assert expected in record.error
    assert "\n" not in record.error
    assert "mine" in plugins.runner_specs()
    assert plugins.warning().startswith(
        f"plugin 'rv_bad' (rv-bad 0.3): cannot be loaded: {record.error}; rv plugins show"
    )


def test_a_broken_plugin_keeps_the_traceback_of_what_it_raised(own_site: Site) -> None:
    own_site.install("rv-bad", "@hookimpl\ndef rv_runners():\n    return missing_name\n")
    record = record_of(load(), "rv-bad")
    assert "rv_bad/hooks.py" in record.traceback
    assert "return missing_name" in record.traceback


def test_a_plain_refusal_has_no_traceback_of_rv(own_site: Site) -> None:
    own_site.install("rv-bad", "x = 1\n")
    assert record_of(load(), "rv-bad").traceback == ""


def test_nothing_of_a_plugin_is_registered_when_its_last_hook_fails(own_site: Site) -> None:
    hooks = """
    calls = []
    @hookimpl
    def rv_commands(): return [CommandSpec("extra", "x:y")]
    @hookimpl
    def rv_task_started(run_id): calls.append(run_id)
    @hookimpl
    def rv_runners(): raise ValueError("late")
    """
    own_site.install("rv-bad", hooks)
    plugins = load()
    assert record_of(plugins, "rv-bad").status == "broken"
    assert "extra" not in plugins.command_specs()
    assert not plugins.implements("rv_task_started")
    own_site.install("rv-good", "calls = []\n@hookimpl\ndef rv_task_started(run_id): calls.append(run_id)\n")
    importlib.invalidate_caches()
    assert load().call("rv_task_started", run_id="r", task="t", attempt=1, root_uri="out", key="k") == []
    assert (sys.modules["rv_bad.hooks"].calls, sys.modules["rv_good.hooks"].calls) == ([], ["r"])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("rv_bad.nothing", "its module rv_bad.nothing does not exist"),
        ("rv_bad.hooks:missing", "AttributeError"),
        ("rv_bad.hooks:hookimpl", "names a HookimplMarker; it must name a module"),
    ],
)
def test_an_entry_point_that_names_no_module_is_explained(own_site: Site, target: str, expected: str) -> None:
    own_site.install("rv-bad", "", target=target)
    record = record_of(load(), "rv-bad")
    assert record.status == "broken"
    assert expected in record.error


def test_a_module_that_two_entry_points_name_is_registered_once(own_site: Site) -> None:
    package = install_runner(own_site, "a-first")
    own_site.install("b-second", target=f"{package}.hooks")
    plugins = load()
    assert record_of(plugins, "a-first").status == "ok"
    assert "which another entry point names as well" in record_of(plugins, "b-second").error
    assert "mine" in plugins.runner_specs()


def test_an_optional_hook_that_this_version_does_not_know_is_no_mistake(own_site: Site) -> None:
    hooks = "@hookimpl(optionalhook=True)\ndef rv_future(x): pass\n" + RUNNER.format(name="mine", package="x")
    own_site.install("rv-ahead", hooks)
    record = record_of(load(), "rv-ahead")
    assert (record.status, record.hooks) == ("ok", ("rv_runners",))


def test_a_hook_under_another_function_name_is_called(own_site: Site) -> None:
    own_site.install("x", "@hookimpl(specname='rv_runners')\ndef mine(): return [RunnerSpec('mine', 'x.r:R')]\n")
    assert "mine" in load().runner_specs()


def test_a_cause_of_many_lines_becomes_one_short_line(own_site: Site) -> None:
    own_site.install("rv-bad", "raise ValueError('long\\n' * 500)\n")
    error = record_of(load(), "rv-bad").error
    assert "\n" not in error
    assert len(error) <= 400


# --- names that clash -------------------------------------------------------------------------------------------------


def test_neither_of_two_plugins_gets_a_name_that_both_declare_and_everything_else_stays(own_site: Site) -> None:
    for name in ("one", "two"):
        extra = f"\n@hookimpl\ndef rv_pipelines(): return [PipelineSpec('{name}', 'x:Y')]\n"
        own_site.install(f"rv-{name}", RUNNER.format(name="same", package=f"rv_{name}") + extra)
    plugins = load()
    assert "same" not in plugins.runner_specs()
    assert {"one", "two"} <= set(plugins.pipeline_specs())
    for name in ("one", "two"):
        record = record_of(plugins, f"rv-{name}")
        assert (record.status, [str(p) for p in record.provides]) == ("ok", [f"pipeline {name}"])
    with pytest.raises(PluginError) as caught:
        plugins.runner_spec("same")
    assert "plugin 'rv_one' (rv-one 1.0) and by plugin 'rv_two' (rv-two 1.0)" in str(caught.value)
    assert caught.value.exit_code == 3
    with pytest.raises(KeyError):
        plugins.owner_of("runner", "same")


@pytest.mark.parametrize(
    ("hooks", "name"),
    [
        ("@hookimpl\ndef rv_runners(): return [RunnerSpec('inprocess', 'x:Y'), RunnerSpec('z', 'x:Y')]", "inprocess"),
        ("@hookimpl\ndef rv_commands(): return [CommandSpec('run', 'x:Y'), CommandSpec('z', 'x:Y')]", "run"),
        ("@hookimpl\ndef rv_pipelines(): return [PipelineSpec('hello', 'x:Y'), PipelineSpec('z', 'x:Y')]", "hello"),
        ("@hookimpl\ndef rv_configs(): return [ConfigSpec('z', {'hello': 'x:Y', 'z': 'x:Y'})]", "hello"),
    ],
)
def test_a_plugin_never_replaces_a_built_in(own_site: Site, hooks: str, name: str) -> None:
    own_site.install("rv-bold", hooks)
    plugins = load()
    core, bold = plugins.records[0], record_of(plugins, "rv-bold")
    assert any(provided.name == name for provided in core.provides)
    assert {provided.name for provided in bold.provides} == {"z"}
    assert len(bold.problems) == 1
    assert (
        f"{name!r} of plugin 'rv_bold' (rv-bold 1.0) is left out: the built-in one is never replaced"
        in bold.problems[0]
    )
    assert bold.problems[0] in plugins.warning()
    assert all(spec.target != "x:Y" for spec in [plugins.runner_specs()["inprocess"], plugins.command_specs()["run"]])
    assert plugins.config_specs()["rv-core"].types["hello"] == "rv_core.hello:HelloConfig"


def test_a_config_name_that_two_plugins_use_takes_their_types_out_too(own_site: Site) -> None:
    for name in ("one", "two"):
        own_site.install(f"rv-{name}", f"@hookimpl\ndef rv_configs(): return [ConfigSpec('same', {{'{name}': 'x:Y'}})]")
    plugins = load()
    assert "same" not in plugins.config_specs()
    assert record_of(plugins, "rv-one").provides == ()


# --- switches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rv-runner-mine", "RV_Runner.mine", "rv_runner_mine", " other, rv-runner-mine"])
def test_a_disabled_plugin_is_not_imported_and_is_shown_as_disabled(own_site: Site, name: str) -> None:
    package = install_runner(own_site)
    plugins = load({"RV_DISABLE_PLUGINS": name})
    assert record_of(plugins, "rv-runner-mine").status == "disabled"
    assert f"{package}.hooks" not in sys.modules
    assert "mine" not in plugins.runner_specs()
    with pytest.raises(UsageError, match="is disabled by RV_DISABLE_PLUGINS"):
        plugins.runner_spec("mine")


def test_a_name_to_disable_that_fits_nothing_is_told() -> None:
    assert load({"RV_DISABLE_PLUGINS": "nobody"}).warning() == "RV_DISABLE_PLUGINS: no plugin is called 'nobody'"


def test_the_core_cannot_be_disabled() -> None:
    assert "inprocess" in load({"RV_DISABLE_PLUGINS": "core,rv-core"}).runner_specs()


def test_strict_makes_everything_that_is_wrong_fatal_at_once(own_site: Site) -> None:
    own_site.install("rv-bad", "raise ValueError('no licence')\n")
    own_site.install("rv-bold", "@hookimpl\ndef rv_commands(): return [CommandSpec('run', 'x:Y')]\n")
    with pytest.raises(PluginError) as caught:
        load({"RV_STRICT_PLUGINS": "1"})
    assert caught.value.exit_code == 3
    assert "no licence" in str(caught.value)
    assert "the built-in one is never replaced" in str(caught.value)


@pytest.mark.parametrize("value", ["", "0", "false", "No"])
def test_strict_can_be_switched_off(own_site: Site, value: str) -> None:
    own_site.install("rv-bad", "x = 1\n")
    assert record_of(load({"RV_STRICT_PLUGINS": value}), "rv-bad").status == "broken"


def test_strict_has_nothing_against_disabled_plugins(own_site: Site) -> None:
    own_site.install("rv-bad", "x = 1\n")
    environ = {"RV_STRICT_PLUGINS": "1", "RV_DISABLE_PLUGINS": "rv-bad,nobody"}
    assert record_of(load(environ), "rv-bad").status == "disabled"


# --- names that are missing -------------------------------------------------------------------------------------------


def test_a_runner_of_a_broken_plugin_is_an_error_of_that_plugin(own_site: Site) -> None:
    own_site.install("rv-runner-k8s", "import kubernetes_of_nobody\n", entry_point="cluster", version="0.3")
    with pytest.raises(PluginError) as caught:
        load().runner_spec("k8s")
    assert str(caught.value).splitlines() == [
        "plugin error: the runner 'k8s' is not usable: plugin 'cluster' (rv-runner-k8s 0.3) cannot be loaded",
        "  why: No module named 'kubernetes_of_nobody'",
        "  next: rv plugins show cluster",
    ]


def test_an_unknown_runner_names_the_near_miss_and_every_plugin_that_could_not_be_loaded(own_site: Site) -> None:
    own_site.install("rv-bad", "x = 1\n")
    with pytest.raises(UsageError) as caught:
        load().runner_spec("inproces")
    assert "did you mean 'inprocess'?" in str(caught.value)
    assert "not loaded: plugin 'rv_bad' (rv-bad 1.0)" in str(caught.value)


@pytest.mark.skipif(find_spec("rv_runner_batch") is not None, reason="rv-runner-batch is installed")
def test_a_runner_of_this_project_that_is_not_installed_names_its_package() -> None:
    with pytest.raises(UsageError, match="pip install rv-runner-batch"):
        load({"RV_DISABLE_PLUGINS": ""}).runner_spec("batch")


# --- resolving --------------------------------------------------------------------------------------------------------


def test_resolve_follows_a_dotted_attribute() -> None:
    assert resolve("json:JSONDecoder.decode", declared_by="x") is json.JSONDecoder.decode


@pytest.mark.parametrize(
    ("text", "target", "why"),
    [
        ("import torch_of_nobody", "mine.part:x", "No module named 'torch_of_nobody'"),
        ("raise SystemExit(2)", "mine.part:x", "SystemExit"),
        ("y = 1", "mine.part:x", "AttributeError: module 'mine.part' has no attribute 'x'"),
        ("", "mine.other:x", "its module mine.other does not exist"),
    ],
)
def test_a_target_that_cannot_be_imported_names_its_plugin(
    own_site: Site, monkeypatch: pytest.MonkeyPatch, text: str, target: str, why: str
) -> None:
    hooks = f"@hookimpl\ndef rv_runners(): return [RunnerSpec('mine', '{target}')]\n"
    own_site.install("rv-mine", hooks, package="mine", files={"part.py": text}, version="3.1")
    plugins = load()
    monkeypatch.setattr("rv_core.plugins.installed.plugin_manager", lambda: plugins)
    with pytest.raises(PluginError) as caught:
        resolve(target, declared_by="somebody")
    assert f"{target}, declared by plugin 'mine' (rv-mine 3.1), cannot be imported" in str(caught.value)
    assert why in str(caught.value)


def test_an_error_that_a_target_explains_itself_is_passed_on(own_site: Site) -> None:
    text = "from rv_core import RunnerError\nraise RunnerError('there is no make here')\n"
    own_site.install("rv-mine", "", package="mine", files={"part.py": text})
    with pytest.raises(RunnerError, match="there is no make here"):
        resolve("mine.part:x", declared_by="somebody")


def test_a_module_belongs_to_the_plugin_with_the_nearest_package(own_site: Site) -> None:
    own_site.install("rv-outer", RUNNER.format(name="outer", package="space"), package="space")
    hooks = own_site.folder / "space" / "inner"
    own_site.install("rv-inner", "", target="space.inner.hooks")
    hooks.mkdir()
    (hooks / "__init__.py").write_text("")
    (hooks / "hooks.py").write_text(
        "from rv_core import RunnerSpec, hookimpl\n@hookimpl\ndef rv_runners(): return [RunnerSpec('i', 'rv_core.x:Y')]\n"
    )
    plugins = load()
    owners = {
        module: record.distribution if (record := plugins.owner_of_module(module)) else None
        for module in ("space.runner", "space.inner.runner", "rv_core.launch.execute", "json", "spaceship")
    }
    assert owners == {
        "space.runner": "rv-outer",
        "space.inner.runner": "rv-inner",
        "rv_core.launch.execute": "rv-core",
        "json": None,
        "spaceship": None,
    }


# --- fresh processes --------------------------------------------------------------------------------------------------


def test_loading_plugins_imports_nothing_heavy(site: Site) -> None:
    install_runner(site)
    heavy = ["torch", "rasterio", "boto3", "numpy", "marshmallow", "typer", "rich", "fsspec", "platformdirs"]
    code = (
        "import sys; from rv_core.plugins.installed import plugin_manager; found = plugin_manager(); "
        "assert 'mine' in found.runner_specs(), found.records; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    argv = [sys.executable, "-c", code]

    done = subprocess.run(argv, env={**os.environ, **site.environ()}, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
