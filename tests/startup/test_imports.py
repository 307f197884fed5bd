"""What the command line imports before it does anything: counts of modules are stable where milliseconds are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rv_core.record.layout import MARKER
from rv_core.record.marker import this_process_marker

_HEAVY = (
    "torch",
    "rasterio",
    "boto3",
    "botocore",
    "marshmallow",
    "numpy",
    "fsspec",
    "obstore",
    "shapely",
    "safetensors",
    "jinja2",
    "markupsafe",
    "PIL",
)
#: What a task of a pipeline that needs nothing may load of the core, packages not counted: every task pays for it.
_MAX_MODULES_OF_A_TASK = 33
_RUN = """
import sys
before = set(sys.modules)
from rv_core.__main__ import main
code = main(sys.argv[1:])
names = sorted(set(sys.modules) - before)
import json
print(json.dumps([code, names]), file=sys.stderr)
"""

_REFUSE_TO_COMPILE_TEXT = """
import builtins
compile_any = builtins.compile
def compile_bytes(source, *args, **kwargs):
    assert isinstance(source, bytes), source  # the source of a module
    return compile_any(source, *args, **kwargs)
builtins.compile = compile_bytes
"""


def imported(*words: str, first: str = "") -> set[str]:
    """The modules that a command line adds to those of a bare interpreter that has done something first."""
    argv = [sys.executable, "-c", first + _RUN, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(os.environ))
    code, names = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(names)


def printed_by(code: str) -> str:
    """What a fresh interpreter prints that runs some lines."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def is_package(name: str) -> bool:
    spec = find_spec(name)
    assert spec is not None
    return spec.submodule_search_locations is not None


@pytest.mark.parametrize(
    "words", [("--help",), ("plugins", "list"), ("plugins", "list", "--json"), ("run", "--help"), ("--version",)]
)
def test_nothing_heavy_is_imported(words: tuple[str, ...]) -> None:
    assert {name.partition(".")[0] for name in imported(*words)} & set(_HEAVY) == set()


def test_options_that_take_words_and_whole_numbers_need_no_pydantic(tmp_path: Path) -> None:
    words = ("--set", "num_items=3", "--splits", "2", "-j", "2", "--pipeline-run-name", "one", "--dry-run")
    names = imported("-q", "run", "inprocess", "rv_core.hello", "-a", f"root_uri={tmp_path / 'root'}", *words)
    assert {"typer", "marshmallow"} <= names
    assert "pydantic" not in names


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("plugins", "list")])
def test_rich_is_not_imported_where_the_output_is_plain(words: tuple[str, ...]) -> None:
    assert "rich" not in imported(*words)


@pytest.mark.parametrize("words", [("--version",), ("run-command", "--help"), ("-v", "run_command", "--help")])
def test_what_every_task_and_script_asks_for_is_answered_without_typer_and_plugins(words: tuple[str, ...]) -> None:
    assert imported(*words) & {"typer", "click", "pluggy", "importlib.metadata", "rich"} == set()


def test_the_version_costs_next_to_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import argparse, json, logging; print(len(set(sys.modules) - before))"
    )
    names = imported("--version")
    assert len(names) <= int(printed_by(code)), sorted(names)
    assert names & {"dataclasses", "inspect", "argparse"} == set()


def test_the_help_page_imports_no_verb() -> None:
    verbs = {name for name in imported("--help") if name.startswith("rv_core.cli.")}
    shell = ("app", "argv", "errors", "output", "state", "verbs")
    assert verbs == {f"rv_core.cli.{name}" for name in shell}


def test_verbs_of_plugins_are_on_the_help_page_though_they_are_not_imported() -> None:
    argv = [sys.executable, "-m", "rv_core", "--help"]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "  demo " in out
    assert "rv_pipeline_chip_classification.hooks" in imported("--help")


@pytest.fixture
def task_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of the one task of a hello run, not done, and its environment."""
    root = tmp_path / "root"
    imported("-q", "run", "inprocess", "rv_core.hello", "-a", f"root_uri={root}", "-a", "num_items=1")
    (run_dir,) = (root / ".rv" / "runs").iterdir()
    (manifest,) = (root / ".rv" / "done" / "cpu_task").iterdir()
    manifest.unlink()
    # As while the run is on; a task that finds no marker looks further.
    marker = this_process_marker(run_dir.name, "local", detached=False)
    (root / MARKER).write_text(marker.to_text())
    monkeypatch.setenv("RV_RUN_ID", run_dir.name)
    monkeypatch.setenv("RV_RUN_DIR", str(run_dir))
    return ["run-command", str(run_dir / "pipeline-config.json"), "cpu_task", "--runner", "local"]


def test_a_task_loads_few_modules_of_the_core(task_words: list[str]) -> None:
    names = imported(*task_words)
    core = sorted(name for name in names if name.startswith("rv_core.") and not is_package(name))
    listed = "\n  ".join(core)
    assert len(core) <= _MAX_MODULES_OF_A_TASK, f"a task of hello loads {len(core)} modules of rv_core:\n  {listed}"
    foreign = {name.partition(".")[0] for name in names} - {*sys.stdlib_module_names, "rv_core"}
    assert foreign == set()
    assert "ipaddress" not in names
    if sys.version_info < (3, 12):  # from then on every dataclass asks it for annotations
        assert "inspect" not in names


def test_a_task_makes_no_syntax_tree(task_words: list[str]) -> None:
    # The first one of a process takes a tenth of a task's start; typing makes one for an annotation that is text, and
    # so for the fields of a NamedTuple in a module with `from __future__ import annotations`.
    imported(*task_words, first=_REFUSE_TO_COMPILE_TEXT)


def test_a_module_that_was_spared_is_there_when_it_is_used() -> None:
    code = (
        "import sys\n"
        "from rv_core.__main__ import _import_without\n"
        "_import_without('inspect', 'dataclasses')\n"
        "assert 'inspect' not in sys.modules\n"
        "import dataclasses\n"
        "Pair = dataclasses.make_dataclass('Pair', [('x', int)])\n"
        "import inspect\n"
        "print(Pair.__doc__, inspect.signature(Pair), inspect.__file__ is not None)\n"
    )
    assert printed_by(code) == "Pair(x: int) (x: int) -> None True\n"


def test_looking_at_a_run_loads_no_plugin() -> None:
    assert not [name for name in imported("status", "--help") if name.startswith("rv_pipeline_chip_classification")]


def test_marshmallow_comes_without_compiling_how_mail_addresses_look() -> None:
    code = (
        "import re, sys\n"
        "import rv_core.config.validation.schemas\n"
        "from marshmallow import ValidationError, validate\n"
        "assert sys.modules['re'] is re and isinstance(re.compile('a'), re.Pattern)\n"
        "assert not isinstance(validate.Email.DOMAIN_REGEX, re.Pattern)\n"
        "print(validate.Email()('someone@dömain.org'), validate.Regexp('a+')('aa'))\n"
        "try:\n"
        "    validate.Email()('someone at home')\n"
        "except ValidationError as error:\n"
        "    print(error)\n"
    )
    assert printed_by(code) == "someone@dömain.org aa\nNot a valid email address.\n"
