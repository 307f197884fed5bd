"""`rv status --verify`: every recorded digest against what lies there."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from rv_core.cli.app import main
from rv_core.files import by_uri

MODULE = """
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass
class WriteConfig(PipelineConfig):
    names: list[str]

    def build(self):
        return Write(self)


class Write(Pipeline):
    @command(items="names")
    def write(self, names: Items[str]) -> None:
        for name in names:
            self.storage.write_text(f"write/{name}.txt", name * 40)


def get_config(runner: str, root_uri: str) -> WriteConfig:
    return WriteConfig(root_uri=root_uri, names=["a", "b", "c"])
"""

Verify = Callable[[str], tuple[int, list[str]]]


@pytest.fixture
def verify(capsys: pytest.CaptureFixture[str]) -> Verify:
    """`rv status ROOT --verify` in this process: exit code, lines."""

    def look(root: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = main(["status", root, "--verify"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, (captured.out + captured.err).splitlines()

    return look


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished root of three items, of a module whose code travels."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "three.py").write_text(MODULE)
    assert main(["run", "inprocess", str(folder / "three.py"), "-a", f"root_uri={folder / 'out'}"]) == 0
    return folder / "out"


@pytest.fixture(params=["file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path, finished: Path) -> str:
    """A copy of it, on this machine and in a store of fsspec."""
    place = str(tmp_path / "out") if request.param == "file" else f"memory://{tmp_path.name}/out"
    for name in by_uri.list_files(str(finished)):
        by_uri.write_bytes(f"{place}/{name}", by_uri.read_bytes(f"{finished}/{name}"))
    return place


def manifest_of(root: str, item: str) -> str:
    return next(f".rv/done/write/{n}" for n in by_uri.list_files(f"{root}/.rv/done/write") if n.startswith(f"{item}."))


def the_run(root: str) -> str:
    return ".rv/runs/" + next(iter(by_uri.list_files(f"{root}/.rv/runs"))).split("/")[0]


def test_a_finished_root_is_as_recorded(root: str, verify: Verify) -> None:
    # Three outputs and their manifests, the code, and of the record: run.json, config, plan and items.
    assert verify(root) == (0, ["11 of 11 files as recorded"])


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "it has other bytes: SHA-256 "),
        (lambda data: data[:7], "it has 7 bytes instead of 40"),
        (lambda data: b"", "it has 0 bytes instead of 40"),
        (lambda data: None, "it is missing"),
    ],
)
def test_every_kind_of_difference_of_an_output_is_a_line(
    root: str, verify: Verify, damage: Callable[[bytes], bytes | None], problem: str
) -> None:
    uri = f"{root}/write/b.txt"
    damaged = damage(by_uri.read_bytes(uri))
    by_uri.delete(uri) if damaged is None else by_uri.write_bytes(uri, damaged)
    code, lines = verify(root)
    assert code == 1
    assert lines[0].startswith(f"write/b.txt: {problem}")
    assert lines[0].endswith(f"(recorded in {manifest_of(root, 'b')})")
    assert lines[1:] == ["10 of 11 files as recorded"]


@pytest.mark.parametrize("name", ["pipeline-config.json", "plan.json", "items/"])
def test_the_record_of_a_run_is_compared_too(root: str, verify: Verify, name: str) -> None:
    run = the_run(root)
    [path] = [f"{run}/{found}" for found in by_uri.list_files(f"{root}/{run}") if found.startswith(name)]
    by_uri.write_bytes(f"{root}/{path}", by_uri.read_bytes(f"{root}/{path}").replace(b":", b" :", 1))
    code, lines = verify(root)
    assert (code, len(lines)) == (1, 2)
    assert lines[0].startswith(f"{path}: it has other bytes") and f"{run}/run.json" in lines[0]


def test_damaged_manifests_and_records_are_differences(root: str, verify: Verify) -> None:
    by_uri.write_bytes(f"{root}/{manifest_of(root, 'a')}", b"{")
    by_uri.write_bytes(f"{root}/{the_run(root)}/run.json", b"[]")
    code, lines = verify(root)
    assert code == 1
    assert lines[0].startswith(f"{manifest_of(root, 'a')}: the manifest is damaged: it is no JSON")
    assert lines[1].startswith(f"{the_run(root)}/run.json: the record is damaged: it is a list")
    # What only these name can no longer be compared; the code has its digest in its name.
    assert lines[2:] == ["5 of 7 files as recorded"]


def test_code_is_compared_with_its_name(root: str, verify: Verify) -> None:
    archive = next(iter(by_uri.list_files(f"{root}/.rv/code")))
    by_uri.write_bytes(f"{root}/.rv/code/{archive}", b"PK")
    code, lines = verify(root)
    assert code == 1 and lines[0].startswith(f".rv/code/{archive}: it has other bytes")
    by_uri.delete(f"{root}/.rv/code/{archive}")
    code, lines = verify(root)
    assert code == 1 and lines[0].startswith(
        f".rv/code/{archive}: it is missing (recorded in {the_run(root)}/run.json)"
    )


@pytest.mark.parametrize("path", ["../out.txt", "a//b", "/etc/passwd", "a\x07b", "link/secret.txt", "x" * 400])
def test_a_manifest_that_names_what_is_not_below_the_root_is_a_line(root: str, verify: Verify, path: str) -> None:
    if not root.startswith("memory"):
        os.symlink("/etc", f"{root}/link")
    uri = f"{root}/{manifest_of(root, 'a')}"
    manifest = json.loads(by_uri.read_bytes(uri))
    manifest["outputs"][0]["path"] = path
    by_uri.write_bytes(uri, json.dumps(manifest).encode())
    code, lines = verify(root)
    assert code == 1 and len(lines) == 2
    assert "\x07" not in lines[0] and "hostname" not in lines[0]


@pytest.mark.parametrize("kind", ["folder", "dangling link", "pipe", "link to itself"])
def test_what_is_no_file_is_said_and_never_waited_for(
    tmp_path: Path, finished: Path, verify: Verify, kind: str
) -> None:
    root = tmp_path / "out"
    shutil.copytree(finished, root)
    output = root / "write" / "c.txt"
    output.unlink()
    if kind == "folder":
        output.mkdir()
    elif kind == "pipe":
        os.mkfifo(output)
    elif kind == "dangling link":
        output.symlink_to(root / "nowhere")
    else:
        output.symlink_to(output)
    code, lines = verify(str(root))
    assert code == 1 and lines[1:] == ["10 of 11 files as recorded"]
    told = "it is a folder" if kind == "folder" else "it is no file"
    assert lines[0].startswith(f"write/c.txt: {told}")


def test_json_tells_the_same(root: str, capsys: pytest.CaptureFixture[str]) -> None:
    by_uri.delete(f"{root}/write/a.txt")
    capsys.readouterr()
    assert main(["status", root, "--verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    difference = {"path": "write/a.txt", "problem": "it is missing", "recorded_in": manifest_of(root, "a")}
    assert found == {"files": 11, "as_recorded": 10, "differences": [difference]}


def test_a_root_without_anything_and_clashing_options_are_refused(tmp_path: Path, verify: Verify, root: str) -> None:
    assert verify(str(tmp_path / "empty"))[0] == 2
    for option in ("--all", "--watch", "--run=x"):
        assert main(["status", root, "--verify", option]) == 2


def test_an_older_record_without_digests_is_compared_as_far_as_it_goes(root: str, verify: Verify) -> None:
    uri = f"{root}/{the_run(root)}/run.json"
    record = json.loads(by_uri.read_bytes(uri))
    del record["files"]
    by_uri.write_bytes(uri, json.dumps(record).encode())
    by_uri.delete(f"{root}/{the_run(root)}/plan.json")
    assert verify(root) == (0, ["8 of 8 files as recorded"])


def test_memory_does_not_grow_with_the_size_of_a_file(tmp_path: Path, verify: Verify) -> None:
    (tmp_path / "three.py").write_text(MODULE.replace("name * 40", "name * 16_000_000"))
    assert main(["run", "inprocess", str(tmp_path / "three.py"), "-a", f"root_uri={tmp_path / 'out'}"]) == 0
    tracemalloc.start()
    try:
        assert verify(str(tmp_path / "out"))[0] == 0
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
