"""Mistakes in modules, configs, command lines and roots: one clear block, the right exit code, nothing started."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.blocks import block_of, findings_of
from tests.e2e.small_disks import run_on_disk

HELLO = "rv_core.hello"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


# --- command lines ----------------------------------------------------------------------------------------------------

COMMAND_LINES = {
    "unknown verb": ("rnu inprocess {hello} -a root_uri=root", 2, ["no verb named 'rnu'", "did you mean 'run'?"]),
    "unknown option": ("run inprocess {hello} --splts 3", 2, ["--splts", "did you mean --splits?"]),
    "unknown runner": (
        "run inproces {hello} -a root_uri=root",
        2,
        ["no runner named 'inproces'", "did you mean 'inprocess'?"],
    ),
    "unknown command": (
        "run inprocess {hello} -a root_uri=root cpu_tsk",
        2,
        ["no command named 'cpu_tsk'", "did you mean 'cpu_task'?"],
    ),
    "unknown command after a good one": (
        "run inprocess {hello} cpu_task gpu_tsk -a root_uri=root",
        2,
        ["no command named 'gpu_tsk'", "did you mean 'gpu_task'?"],
    ),
    "unknown profile": (
        "run inprocess {hello} -a root_uri=root --profile big",
        2,
        ["no profile named 'big'", "big.toml"],
    ),
    "unknown module": ("run inprocess nosuchmodule", 2, ["no module 'nosuchmodule'"]),
    "missing file": ("run inprocess experimnt.py", 2, ["experimnt.py", "did you mean 'experiment.py'?"]),
    "missing saved config": ("run inprocess nosuch.json", 2, ["nosuch.json"]),
    "missing -a": ("run inprocess {hello}", 2, ["-a root_uri: is missing", "get_config(runner: str, root_uri: str"]),
    "unknown -a": (
        "run inprocess {hello} -a root_uri=root -a num_itms=3",
        2,
        ["-a num_itms", "did you mean 'num_items'?", "get_config(runner: str"],
    ),
    "-a of another type": (
        "run inprocess {hello} -a root_uri=root -a num_items=many",
        2,
        ["-a num_items: expected an integer, got 'many'"],
    ),
    "--set of another type": (
        "run inprocess {hello} -a root_uri=root --set num_itms=3 --set sleep_s=long",
        2,
        ["did you mean 'num_items'?", "'long' is not JSON: the field takes a number"],
    ),
    "no splits": ("run inprocess {hello} -a root_uri=root --splits 0", 2, ["--splits 0 is below 1"]),
    "--from after --to": (
        "run inprocess {hello} -a root_uri=root --from gpu_task --to cpu_task",
        2,
        ["--from gpu_task comes after --to cpu_task"],
    ),
    "a command outside of --from": (
        "run inprocess {hello} cpu_task -a root_uri=root --from gpu_task",
        2,
        ["cpu_task: not between --from gpu_task and --to gpu_task"],
    ),
    "an empty root": ("run inprocess {hello} -a root_uri=", 2, ["root_uri: the URI is empty"]),
    "a root in a file": ("run inprocess {hello} -a root_uri=experiment.py/x", 2, ["experiment.py is not a folder"]),
    "a root in a store that nothing serves": (
        "run inprocess {hello} -a root_uri=nosuch://x/y",
        3,
        ["no installed package serves nosuch://"],
    ),
    "a root in the memory of one process": (
        "run local {hello} -a root_uri=memory://x",
        2,
        ["memory://x is in the memory of one process", "use the runner `inprocess`"],
    ),
    "--json without --dry-run": (
        "run inprocess {hello} -a root_uri=root --json",
        2,
        ["--json goes with --dry-run only", "rv status ROOT --json"],
    ),
    "a root on a web server": (
        "run inprocess {hello} -a root_uri=http://localhost:9/x",
        2,
        ["root_uri", "is on a web server", "choose a folder"],
    ),
    "a root with a variable that is not set": (
        "run inprocess {hello} -a root_uri=${{NO_SUCH_FOLDER}}/x",
        2,
        ["environment variable NO_SUCH_FOLDER is not set or empty"],
    ),
    "status of nothing": ("status root", 2, ["no run found here"]),
    "config of nothing": ("config show root", 2, ["no pipeline-config.json"]),
    "a task of nothing": ("run-command root/pipeline-config.json cpu_task", 2, ["pipeline-config.json"]),
}


@pytest.mark.parametrize("case", COMMAND_LINES)
def test_a_mistake_on_the_command_line(rv: Any, tmp_path: Path, case: str) -> None:
    words, code, expected = COMMAND_LINES[case]
    if " local " in words:
        pytest.importorskip("rv_runner_local.hooks")
    (tmp_path / "experiment.py").write_text("")

    block = block_of(rv(*words.format(hello=HELLO).split()), code)

    for text in expected:
        assert text in block
    assert sorted(os.listdir(tmp_path)) == ["experiment.py"]


# --- modules ----------------------------------------------------------------------------------------------------------

MODULES = {
    "raises where it is imported": (
        "def scenes():\n    return {}['scenes']\nSCENES = scenes()\n",
        ["experiment.py cannot be imported", "KeyError: 'scenes'", "experiment.py:2 in scenes: return {}['scenes']"],
    ),
    "has a syntax error": (
        "def get_config(runner, root_uri: str):\n    return Foo(\n",
        ["SyntaxError: '(' was never closed", "experiment.py:2"],
    ),
    "imports what is not installed": ("import nosuchlibrary.x\n", ["install 'nosuchlibrary' into this environment"]),
    "raises in get_config": (
        "def get_config(runner, root_uri: str):\n    return Config(1)\n",
        ["get_config of experiment.py failed", "NameError", "experiment.py:2 in get_config: return Config(1)"],
    ),
    "ends the program": (
        "import sys\ndef get_config(runner, root_uri: str):\n    sys.exit('bye')\n",
        ["it ended the program with sys.exit('bye')", "experiment.py:3"],
    ),
    "has no get_config": ("def get_conf(runner):\n    pass\n", ["neither get_config nor get_configs", "'get_conf'?"]),
    "returns nothing": (
        "def get_config(runner, root_uri: str):\n    pass\n",
        ["get_config of experiment.py returned null, which is no PipelineConfig"],
    ),
    "returns an empty list": ("def get_configs(runner, root_uri: str):\n    return []\n", ["returned no config"]),
}


@pytest.mark.parametrize("case", MODULES)
def test_a_module_that(rv: Any, tmp_path: Path, root: Path, case: str) -> None:
    text, expected = MODULES[case]
    (tmp_path / "experiment.py").write_text(text)

    block = block_of(rv("run", "inprocess", "experiment.py", "-a", "root_uri", root), 2)

    for line in expected:
        assert line in block
    assert not root.exists()


@pytest.mark.parametrize("words", [("run", "inprocess", "--dry-run"), ("check",)])
def test_what_a_module_prints_does_not_mix_with_json(rv: Any, tmp_path: Path, root: Path, words: tuple[str]) -> None:
    text = 'from rv_core.hello import get_config\nprint("loading")\n'
    (tmp_path / "experiment.py").write_text(text)
    done = rv(*words, "experiment.py", "-a", "root_uri", root, "--json")
    assert (done.returncode, isinstance(json.loads(done.stdout), dict)) == (0, True)
    assert "loading" in done.stderr


def test_the_whole_traceback_is_shown_on_request(rv: Any, tmp_path: Path) -> None:
    (tmp_path / "experiment.py").write_text("1 / 0\n")
    done = rv("check", "experiment.py", "--traceback")
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert "config error: experiment.py cannot be imported" in done.stderr


TWO_PIPELINES = """
from rv_core.hello import HelloConfig
def get_configs(runner, first: str, second: str):
    return [HelloConfig(root_uri=first, name="a"), HelloConfig(root_uri=second, name="b")]
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [("root", "root"), ("root", "root/below"), ("root/below", "./other/../root/"), ("root", "link/x")],
    ids=["equal", "nested", "nested the other way", "nested through a link"],
)
def test_two_pipelines_of_one_module_may_not_share_a_root(rv: Any, tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "two.py").write_text(TWO_PIPELINES)
    (tmp_path / "link").symlink_to(tmp_path / "root")
    block = block_of(rv("run", "inprocess", "two.py", "-a", "first", first, "-a", "second", second), 2)
    assert "a.root_uri, b.root_uri:" in block
    assert "give every pipeline a root of its own" in block
    assert not (tmp_path / "root").exists()


# --- configs ----------------------------------------------------------------------------------------------------------

CONFIG = """
from dataclasses import dataclass, field
from typing import Annotated, Literal
from rv_core import Config, Pipeline, PipelineConfig, Range, Uri, command

@dataclass(kw_only=True)
class Part(Config):
    uris: list[Uri] = field(default_factory=list)
    size: Annotated[int, Range(min=1)] = 8
    rate: float = 0.5
    mode: Literal["fast", "good"] = "fast"
    def validate(self):
        if len(self.uris) != len(set(self.uris)):
            yield "a URI is given twice"

@dataclass(kw_only=True)
class Whole(PipelineConfig):
    parts: list[Part]
    weights: dict[int, float] = field(default_factory=dict)
    is_on: bool = True
    def build(self):
        return WholePipeline(self)

class WholePipeline(Pipeline):
    @command(reads=("parts", "weights", "is_on"))
    def work(self):
        self.storage.write_text("work.txt", str(len(self.config.parts)))
"""
GOOD_CONFIG = """
def get_config(runner, root_uri: str):
    return Whole(root_uri=root_uri, parts=[Part(uris=["a.tif"]), Part()], weights={1: 0.5})
"""
BAD_CONFIG = """
def get_config(runner, root_uri: str):
    config = Whole(
        root_uri=root_uri,
        parts=[
            Part(uris="abba", size=8.0, rate=float("nan"), mode="fats"),
            Part(size=0, rate="0.5"),
            "a.tif",
            Part(uris=["a.tif", "a.tif"]),
        ],
        weights={1: "heavy", "x": 1.0},
        is_on=1,
    )
    config.parts[1].sise = 3
    return config
"""
#: What is wrong with the values of BAD_CONFIG, in the words that Python and JSON have in common.
FAULTS = {
    "parts[0].uris": "expected a list of a URI, got 'abba'",
    "parts[0].size": "expected an integer, got 8.0",
    "parts[0].rate": "not a finite number",
    "parts[0].mode": "expected one of 'fast', 'good', got 'fats'",
    "parts[1].size": "0 is below 1",
    "parts[1].rate": "expected a number, got '0.5'",
    "parts[1].sise": "there is no such field; did you mean 'size'?",
    "parts[2]": "expected an object (Part), got 'a.tif'",
    "parts[3]": "a URI is given twice",
    "weights[1]": "expected a number, got 'heavy'",
    "weights.x": "the key must be an integer, got 'x'",
    "is_on": "expected",
}


def test_everything_wrong_with_a_config_built_in_python_is_told_at_once(rv: Any, tmp_path: Path, root: Path) -> None:
    (tmp_path / "experiment.py").write_text(CONFIG + BAD_CONFIG)
    block = block_of(rv("run", "inprocess", "experiment.py", "-a", "root_uri", root), 2)
    found = findings_of(block)
    assert sorted(found) == sorted(FAULTS)
    for place, what in FAULTS.items():
        assert what in found[place]
    assert "12 problems in the config" in block
    assert not root.exists()


def test_everything_wrong_with_a_saved_config_is_told_at_once(rv: Any, tmp_path: Path, root: Path) -> None:
    (tmp_path / "experiment.py").write_text(CONFIG + GOOD_CONFIG)
    assert rv("run", "inprocess", "experiment.py", "-a", "root_uri", root).returncode == 0
    before = sorted(root.rglob("*"))
    saved = json.loads((root / "pipeline-config.json").read_text())
    values = saved["config"]
    values |= {"is_on": 1, "weights": {"1": "heavy", "x": 1.0}}
    hint = values["parts"][0]["type_hint"]
    values["parts"] = [
        {"type_hint": hint, "uris": "abba", "size": 8.0, "rate": 0.5, "mode": "fats"},
        {"type_hint": hint, "size": 0, "rate": "0.5", "sise": 3},
        "a.tif",
        {"type_hint": hint, "uris": ["a.tif", "a.tif"]},
    ]
    (root / "changed.json").write_text(json.dumps(saved))

    found = findings_of(block_of(rv("run", "inprocess", root / "changed.json"), 2))

    expected = {place: what for place, what in FAULTS.items() if place != "parts[0].rate"}  # JSON has no NaN
    expected['weights["1"]'] = expected.pop("weights[1]")  # nor keys that are numbers
    assert sorted(found) == sorted(expected)
    for place, what in expected.items():
        assert what in found[place]
    assert sorted(path for path in root.rglob("*") if path.name != "changed.json") == before


SAVED_CONFIGS = {
    "cut short": (lambda saved: json.dumps(saved)[:99], "not valid JSON"),
    "empty": (lambda saved: "", "not valid JSON"),
    "not a config": (lambda saved: "[1]", "not a saved pipeline config"),
    "nested too deep": (lambda saved: "[" * 100_000, "nested too deeply"),
    "of a newer plugin": (
        lambda saved: json.dumps({**saved, "rv": {**saved["rv"], "versions": {"rv-core": 99}}}),
        "the config was saved with version 99, here is 1",
    ),
    "of a newer rv": (lambda saved: json.dumps({**saved, "rv": {**saved["rv"], "format": 99}}), "format 99"),
    "without its class": (
        lambda saved: json.dumps({**saved, "config": {k: v for k, v in saved["config"].items() if k != "type_hint"}}),
        "type_hint is missing",
    ),
    "of what is no config class": (
        lambda saved: json.dumps({**saved, "config": {**saved["config"], "type_hint": "os:system"}}),
        "os:system",
    ),
}


@pytest.fixture(scope="module")
def saved_config() -> dict[str, Any]:
    """The saved config of a hello pipeline."""
    from rv_core.config import saved as config_file
    from rv_core.hello import HelloConfig

    saved: dict[str, Any] = json.loads(config_file.dump(HelloConfig(root_uri="/root", name="hello")))
    return saved


@pytest.mark.parametrize("case", SAVED_CONFIGS)
def test_a_saved_config_that_is(rv: Any, tmp_path: Path, saved_config: dict[str, Any], case: str) -> None:
    change, expected = SAVED_CONFIGS[case]
    (tmp_path / "saved.json").write_text(change(saved_config))
    block = block_of(rv("check", "saved.json"), 2)
    assert expected in block
    assert "saved.json" in block


def test_a_saved_config_whose_plugin_is_not_installed_names_the_package(
    rv: Any, tmp_path: Path, saved_config: dict[str, Any]
) -> None:
    saved_config = json.loads(json.dumps(saved_config))
    saved_config["config"]["type_hint"] = "mystery"
    saved_config["rv"] |= {"versions": {"rv-mystery": 3}, "types": {"mystery": "rv_mystery.config:Mystery"}}
    root = tmp_path / "root"
    root.mkdir()
    path = root / "pipeline-config.json"
    path.write_text(json.dumps(saved_config))

    for words in (("run", "inprocess", path), ("run-command", path, "cpu_task")):
        block = block_of(rv(*words), 2)
        assert "no config type named 'mystery'" in block
        assert "pip install rv-mystery" in block
    shown = rv("config", "show", root)
    assert shown.returncode == 0
    assert 'type_hint = "mystery"' in shown.stdout  # looking needs no plugin
    assert os.listdir(root) == ["pipeline-config.json"]


# --- disks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_disk_that_fills_up_during_a_run_is_told_and_the_same_command_goes_on(tmp_path: Path, runner: str) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    done = run_on_disk(
        tmp_path,
        "size=400k",
        f"""
run() {{ rv run {runner} {HELLO} -a root_uri="$disk/root" -a greeting="$(head -c 60000 /dev/zero | tr '\\0' x)"; }}
run; echo "first: $?"
find "$disk" -name '.*.tmp' -o -name active-run.json
ls "$disk/root/cpu_task" | sed 's/^/kept: /'
mount -o remount,size=10m "$disk"
run; echo "second: $?"
wc -c < "$disk/root/gpu_task/summary.txt"
""",
    )
    first, _, second = done.stdout.partition("first: 1\n")
    assert second, done.stdout + done.stderr
    assert "hello.cpu_task FAILED: exit code 1, cannot write" in first
    assert "the disk is full:" in first + done.stderr
    assert "the same command goes on from here" in done.stderr + first
    assert "Traceback" not in done.stdout + done.stderr
    listed = second.partition("kept: ")[0]
    assert listed == "", "something half-written or a marker is left"
    kept = second.count("kept: ")
    assert 0 < kept < 4
    assert f"{4 - kept} of 4 items" in second
    assert "second: 0" in second


def test_a_disk_that_is_full_before_the_run_begins_leaves_nothing_that_looks_like_a_run(tmp_path: Path) -> None:
    done = run_on_disk(
        tmp_path,
        "size=12k",
        f"""
rv run inprocess {HELLO} -a root_uri="$disk/root" -a num_items=400 >/dev/null; code=$?
rv status "$disk/root" 2>/dev/null; echo "status: $?"
find "$disk" -name '.*.tmp' -o -name active-run.json
exit $code
""",
    )
    assert done.stdout == "status: 2\n", done.stdout
    block = block_of(done, 3)
    assert "the disk is full: " in block
    assert "next: free some space" in block


def test_a_read_only_root_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    done = run_on_disk(tmp_path, "size=100k,ro", f'rv run inprocess {HELLO} -a root_uri="$disk/root"')
    block = block_of(done, 2)
    assert f"hello.root_uri: {tmp_path}/disk cannot be written to" in block


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_folder_of_the_root_that_is_read_only_is_told_by_the_task_that_writes_there(
    tmp_path: Path, runner: str
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    done = run_on_disk(
        tmp_path,
        "size=1m",
        f"""
mkdir -p "$disk/root/cpu_task"
mount -o bind,ro "$disk/root/cpu_task" "$disk/root/cpu_task" || exit 99
mount -o remount,bind,ro "$disk/root/cpu_task" || exit 99
rv run {runner} {HELLO} -a root_uri="$disk/root"
""",
    )
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "cannot write 'item-0.txt'" in said
    assert "the file system is mounted read-only" in said
    assert "Traceback" not in said


# --- two runs at once -------------------------------------------------------------------------------------------------


def test_of_two_runs_that_begin_on_one_root_at_once_one_runs_and_one_is_refused(rv: Any, root: Path) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    words = ("run", "local", HELLO, "-a", "root_uri", root, "-a", "sleep_s", 1)

    processes = [rv.start(*words) for _ in range(2)]

    outputs = [process.communicate(timeout=60) for process in processes]
    results = [
        subprocess.CompletedProcess(process.args, process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]
    ran, refused = sorted(results, key=lambda result: result.returncode)
    assert ran.returncode == 0, ran.stderr
    block = block_of(refused, 2)
    assert "is still going on here" in block
    assert "--take-over" in block
    assert (root / "gpu_task" / "summary.txt").read_text().startswith("4 greetings")
    assert len(list(root.glob(".rv/runs/*/run.json"))) == 1
    assert not (root / ".rv" / "active-run.json").exists()


# --- secrets ----------------------------------------------------------------------------------------------------------

SECRET = "hunter2-S3CRET"
SECRET_WORDS = {
    "user info of a root": "run inprocess {hello} -a root_uri=s3://KEY:{s}@bucket/x",
    "a password with a slash": "run inprocess {hello} -a root_uri=https://ada:a/{s}@host/x",
    "a signed root": "run inprocess {hello} -a root_uri=https://host/x?X-Amz-Signature={s}",
    "--set": "run inprocess {hello} -a root_uri=root --set root_uri=s3://ada:{s}@host/x",
    "--set of no field": "run inprocess {hello} -a root_uri=root --set roots=s3://ada:{s}@host/x",
    "the key of -a": "run inprocess {hello} -a https://ada:{s}@host/x=y",
    "a value of another type": "run inprocess {hello} -a root_uri=root -a num_items=https://ada:{s}@host/x",
    "a module": "run inprocess https://ada:{s}@host/x.py",
    "a saved config": "run inprocess https://ada:{s}@127.0.0.1:9/x.json --traceback",
    "a saved config with a slash": "check https://ada:{s}/y@127.0.0.1:9/x.json",
    "status": "status https://ada:{s}@127.0.0.1:9/x",
    "logs of what is not a host": "logs https://ada:b:{s}@h:x/y task",
    "config show": "config show https://ada:{s}@127.0.0.1:9/x.json",
    "a task": "run-command https://ada:{s}@127.0.0.1:9/x.json cpu_task",
    "a runner": "run https://ada:{s}@host/x {hello}",
}


@pytest.mark.parametrize("case", SECRET_WORDS)
def test_a_secret_on_the_command_line_is_never_shown_or_kept(
    rv: Any, tmp_path: Path, isolated_environment: Path, case: str
) -> None:
    words = SECRET_WORDS[case].format(hello=HELLO, s=SECRET).split()
    done = rv(*words, env={"RV_RETRY_S": "0"})
    assert done.returncode in ((1,) if words[0] == "run-command" else (2, 3))
    assert SECRET not in done.stdout + done.stderr
    assert files_with(SECRET, tmp_path, isolated_environment) == []


SECRET_CONFIG = """
from rv_core.hello import HelloConfig
def get_config(runner, root_uri: str, secret: str):
    if secret == "raise":
        raise ValueError(f"cannot use s3://ada:{SECRET}@bucket/x and token={SECRET}")
    return HelloConfig(root_uri=root_uri, fail_on="item-1", greeting="hello")
"""


def test_a_secret_that_a_module_raises_with_is_not_shown(rv: Any, tmp_path: Path, root: Path) -> None:
    (tmp_path / "experiment.py").write_text(f"SECRET = {SECRET!r}\n{SECRET_CONFIG}")
    for more in ((), ("--traceback",)):
        done = rv("run", "inprocess", "experiment.py", "-a", "root_uri", root, "-a", "secret=raise", *more)
        assert done.returncode == 2
        assert "cannot use s3://***@bucket/x and token=***" in done.stderr
        assert SECRET not in done.stdout + done.stderr


SECRET_PIPELINE = """
from dataclasses import dataclass
from rv_core import Pipeline, PipelineConfig, Uri, command

@dataclass(kw_only=True)
class LeakConfig(PipelineConfig):
    source: Uri
    def build(self):
        return LeakPipeline(self)

class LeakPipeline(Pipeline):
    @command(reads=("source",))
    def leak(self):
        from rv_core.files import by_uri
        by_uri.read_bytes(self.config.source)

    def inputs(self, command, item):
        return []

def get_config(runner, root_uri: str):
    return LeakConfig(root_uri=root_uri, source="http://${LEAK_USER}:${LEAK_TOKEN}@127.0.0.1:9/x.tif")
"""


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_a_secret_in_a_variable_of_a_uri_reaches_no_file_of_the_run(
    rv: Any, tmp_path: Path, root: Path, isolated_environment: Path, runner: str
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    (tmp_path / "leak.py").write_text(SECRET_PIPELINE)
    env = {"LEAK_USER": "ada", "LEAK_TOKEN": SECRET, "RV_RETRY_S": "0"}

    done = rv("run", runner, "leak.py", "-a", "root_uri", root, env=env)

    assert done.returncode == 1, done.stderr
    assert "cannot read 'x.tif'" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert files_with(SECRET, root, isolated_environment) == []


def files_with(secret: str, *folders: Path) -> list[Path]:
    """Every file below the folders that holds a secret."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]
