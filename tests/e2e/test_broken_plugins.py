"""A third-party plugin that is broken: every verb goes on working, and `rv plugins` explains what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

HELLO = "rv_core.hello"
RUNNER = """
@hookimpl
def rv_runners():
    return [RunnerSpec(name="{name}", target="{package}.runner:R", summary="of {package}")]
"""
IMPORT_ERROR = "cannot be loaded: No module named 'nosuchlibrary'"
WRONG_HOOK = "there is no hook named rv_runers; did you mean rv_runners?"
WRONG_VERSION = "it was written for version 99 of the hooks and this rv-core has version 1"
SAME_NAME = (
    "the runner 'twice' is declared by plugin 'rv_first' (rv-first 1.2) and by plugin 'rv_second' (rv-second 3.4): "
    "neither is usable"
)
BUILT_IN_NAME = "the runner 'inprocess' of plugin 'rv_greedy' (rv-greedy 1.0) is left out"


@pytest.fixture
def broken_site(site: Site) -> Site:
    """Plugins broken in every way, and two that are fine but for the name that both want."""
    site.install("rv-import-error", "import nosuchlibrary\n")
    site.install("rv-wrong-hook", "@hookimpl\ndef rv_runers():\n    return []\n")
    late = RUNNER.format(name="late", package="rv_wrong_version")
    site.install("rv-wrong-version", f"RV_HOOK_API_VERSION = 99\n{late}")
    site.install("rv-first", RUNNER.format(name="twice", package="rv_first"), version="1.2")
    site.install("rv-second", RUNNER.format(name="twice", package="rv_second"), version="3.4")
    site.install("rv-greedy", RUNNER.format(name="inprocess", package="rv_greedy"))
    return site


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_run_and_every_other_verb_work_beside_broken_plugins(
    rv: Any, broken_site: Site, tmp_path: Path, runner: str
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    root, env = tmp_path / "root", broken_site.environ()

    done = rv("run", runner, HELLO, "-a", "root_uri", root, "-s", 2, env=env)

    assert done.returncode == 0, done.stderr
    assert "5 problems with plugins" in done.stderr
    assert "rv plugins list" in done.stderr
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("4 greetings")
    if runner == "inprocess":
        check_other_verbs(rv, root, env)


def check_other_verbs(rv: Any, root: Path, env: dict[str, str]) -> None:
    commands = [
        ("--help",),
        ("--version",),
        ("check", HELLO, "-a", "root_uri", root),
        ("status", root),
        ("logs", root, "hello.gpu_task"),
        ("config", "show", root),
        ("config", "schema", "hello"),
        ("config", "settings"),
        ("run-command", root / "pipeline-config.json", "gpu_task"),
    ]
    for words in commands:
        done = rv(*words, env=env)
        assert done.returncode == 0, (words, done.stderr)
        assert "Traceback" not in done.stderr


def test_rv_plugins_explains_what_is_wrong_with_each(rv: Any, broken_site: Site) -> None:
    listed = rv("plugins", "list", env=broken_site.environ())
    as_json = json.loads(rv("plugins", "list", "--json", env=broken_site.environ()).stdout)
    shown = rv("plugins", "show", "rv-import-error", env=broken_site.environ())

    assert (listed.returncode, shown.returncode) == (0, 0)
    for cause in (IMPORT_ERROR, WRONG_HOOK, WRONG_VERSION, SAME_NAME, BUILT_IN_NAME):
        assert cause in listed.stdout
    records = {record["distribution"]: record for record in as_json["plugins"]}
    assert {name for name, record in records.items() if record["status"] == "broken"} == {
        "rv-import-error",
        "rv-wrong-hook",
        "rv-wrong-version",
    }
    assert records["rv-wrong-version"]["version"] == "1.0"
    assert records["rv-second"]["problems"] == [SAME_NAME]
    assert "rv_import_error/hooks.py" in shown.stdout  # where it happened


def test_rv_plugins_check_ends_with_3_and_names_them_all(rv: Any, broken_site: Site) -> None:
    done = rv("plugins", "check", env=broken_site.environ())
    assert done.returncode == 3
    for cause in (IMPORT_ERROR, WRONG_HOOK, WRONG_VERSION, SAME_NAME, BUILT_IN_NAME):
        assert cause in done.stdout + done.stderr


def test_a_runner_that_two_plugins_declare_is_refused_by_both_names(rv: Any, broken_site: Site, tmp_path: Path) -> None:
    done = rv("run", "twice", HELLO, "-a", "root_uri", tmp_path / "root", env=broken_site.environ())
    assert done.returncode == 3
    assert SAME_NAME in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root").exists()


def test_a_runner_that_a_broken_plugin_should_have_brought_says_which_are_not_loaded(
    rv: Any, broken_site: Site, tmp_path: Path
) -> None:
    done = rv("run", "late", HELLO, "-a", "root_uri", tmp_path / "root", env=broken_site.environ())
    assert done.returncode == 2
    assert "no runner named 'late'" in done.stderr
    assert "plugin 'rv_wrong_version' (rv-wrong-version 1.0)" in done.stderr
    assert "rv plugins list" in done.stderr


def test_a_runner_whose_target_is_missing_is_an_error_of_its_plugin(rv: Any, site: Site, tmp_path: Path) -> None:
    site.install("rv-hollow", RUNNER.format(name="hollow", package="rv_hollow"))
    done = rv("run", "hollow", HELLO, "-a", "root_uri", tmp_path / "root", env=site.environ())
    assert done.returncode == 3
    assert "plugin 'rv_hollow' (rv-hollow 1.0)" in done.stderr
    assert "rv_hollow.runner does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_strict_switch_makes_it_fatal_and_the_deny_switch_helps(rv: Any, broken_site: Site, tmp_path: Path) -> None:
    words = ("run", "inprocess", HELLO, "-a", "root_uri", tmp_path / "root")

    strict = rv(*words, env=broken_site.environ(RV_STRICT_PLUGINS="1"))

    assert strict.returncode == 3
    for cause in (IMPORT_ERROR, WRONG_HOOK, WRONG_VERSION, SAME_NAME, BUILT_IN_NAME):
        assert cause in strict.stderr
    assert "Traceback" not in strict.stderr
    assert not (tmp_path / "root").exists()
    denied = "rv-import-error,rv-wrong-hook,rv-wrong-version,rv-first,rv-greedy"
    helped = rv(*words, env=broken_site.environ(RV_STRICT_PLUGINS="1", RV_DISABLE_PLUGINS=denied))
    assert helped.returncode == 0, helped.stderr
