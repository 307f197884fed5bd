"""`rv run --reuse ROOT`: what another root has done under equal keys is taken from there, checked, and told."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rv_core import api
from rv_core.cli.app import main
from rv_core.hello import HelloConfig
from rv_core.plan.manifests import Manifest

PIPELINE = """
from dataclasses import dataclass, field
from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class LookConfig(PipelineConfig):
    names: list[str] = field(default_factory=lambda: ["a", "b"])

    def build(self):
        return Look(self)


class Look(Pipeline):
    @command(items="names")
    def look(self, names: Items[str]) -> None:
        for name in names:
            self.storage.write_text(f"look/{name}.txt", name)
            self.storage.write_text(f"look/{name}.aux", name, may_change=True)


def get_config(runner: str, root_uri: str) -> LookConfig:
    return LookConfig(root_uri=root_uri)
"""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(root: Path | str, *words: str, module: str = "rv_core.hello") -> tuple[int, str, str]:
        code = main(["run", "inprocess", module, "-a", f"root_uri={root}", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def old(tmp_path: Path, run: Run) -> Path:
    assert run(tmp_path / "old")[0] == 0
    return tmp_path / "old"


def files_of(root: Path) -> dict[str, tuple[int, str]]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files}


def manifests(root: Path) -> Iterator[Manifest]:
    return (Manifest.from_text(path.read_bytes()) for path in sorted((root / ".rv" / "done").rglob("*.json")))


def test_what_another_root_has_done_is_linked_and_told(
    tmp_path: Path, old: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before, new = files_of(old), tmp_path / "new"
    code, out, _ = run(new, "--reuse", str(old), "-a", "num_items=6")
    assert code == 0
    assert "run   2 of 6 items · item-4, item-5: not done yet" in out
    assert f"item-0, item-1 and 2 more: taken from {old}" in out
    assert "done: 3 of 7 items, 4 were taken from other roots" in out
    for number in range(4):
        name = f"cpu_task/item-{number}.txt"
        assert os.path.samefile(new / name, old / name)
    taken = {m.item: m.taken_from for m in manifests(new)}
    assert taken == {**{f"item-{n}": str(old) for n in range(4)}, "item-4": "", "item-5": "", "all": ""}
    assert files_of(old) == before
    assert main(["status", str(new), "--verify"]) == 0
    assert main(["status", str(new)]) == 0
    assert f"4 taken from {old}" in capsys.readouterr().out
    code, out, _ = run(new, "-a", "num_items=6")
    assert f"skip  all 6 items already done, 4 of them taken from {old}" in out


def test_a_root_that_takes_everything_has_a_run_that_says_so(
    tmp_path: Path, old: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    code, out, _ = run(new, "--reuse", str(old), "--dry-run")
    assert (code, new.exists()) == (0, False)
    assert f"hello.cpu_task  take  taken from {old} (all 4 items)" in out
    code, out, _ = run(new, "--reuse", str(old), "--dry-run", "--json")
    entries = json.loads(out)["pipelines"]["hello"]["commands"]
    assert [(e["decision"], e["num_to_do"], e["taken"]) for e in entries] == [
        ("taken", 0, {str(old): 4}),
        ("taken", 0, {str(old): 1}),
    ]
    code, out, _ = run(new, "--reuse", str(old))
    assert code == 0
    assert "done: 0 of 5 items, 5 were taken from other roots" in out
    assert main(["status", str(new), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], [job["reason"] for job in told["jobs"]]) == ("done", [f"taken from {old}"] * 2)


def test_a_damaged_output_is_not_taken(tmp_path: Path, old: Path, run: Run) -> None:
    (old / "cpu_task/item-1.txt").write_text("HELLO item-1\n")  # of the same size
    (old / "cpu_task/item-2.txt").unlink()
    before, new = files_of(old), tmp_path / "new"
    code, out, _ = run(new, "--reuse", str(old))
    assert code == 0
    assert "planned again, as 1 item cannot be taken:" in out
    assert f"item-1: cannot be taken from {old}: item-1.txt has other bytes than recorded" in out
    assert (new / "cpu_task/item-1.txt").read_text() == "hello item-1\n"
    assert {m.item for m in manifests(new) if not m.taken_from} == {"item-1", "item-2"}
    assert files_of(old) == before


def test_other_work_is_not_taken_and_rerun_takes_nothing(tmp_path: Path, old: Path, run: Run) -> None:
    _, out, _ = run(tmp_path / "new", "--reuse", str(old), "-a", "greeting=hi", "--dry-run")
    assert "taken" not in out and "run   4 of 4 items" in out
    _, out, _ = run(tmp_path / "new", "--reuse", str(old), "--rerun", "--dry-run")
    assert "taken" not in out
    _, out, _ = run(tmp_path / "new", "gpu_task", "--reuse", str(old), "--rerun")
    assert f"cpu_task  take  taken from {old} (all 4 items)" in out  # what it requires is not what is to run again
    assert "done: 1 of 5 items, 4 were taken" in out


def test_an_item_that_is_taken_replaces_what_an_earlier_config_has_left(tmp_path: Path, old: Path, run: Run) -> None:
    new = tmp_path / "new"
    assert run(new, "-a", "greeting=hi")[0] == 0
    assert run(new, "--reuse", str(old))[0] == 0
    assert (new / "cpu_task/item-0.txt").read_text() == "hello item-0\n"
    assert len([m for m in manifests(new) if m.item == "item-0"]) == 1


def test_a_root_without_runs_or_of_another_pipeline_is_refused(tmp_path: Path, old: Path, run: Run) -> None:
    code, _, err = run(tmp_path / "new", "--reuse", str(tmp_path / "nothing"))
    assert code == 2
    assert "no run is recorded" in err and str(tmp_path / "nothing") in err
    (tmp_path / "look.py").write_text(PIPELINE)
    code, _, err = run(tmp_path / "new", "--reuse", str(old), module=str(tmp_path / "look.py"))
    assert code == 2
    assert "another pipeline was run" in err
    assert not (tmp_path / "new").exists()
    assert run(old, "--reuse", str(old))[0] == 0  # a script may name every root


def test_a_file_that_others_may_write_into_is_copied_as_it_is(tmp_path: Path, run: Run) -> None:
    (tmp_path / "look.py").write_text(PIPELINE)
    old, new = tmp_path / "old", tmp_path / "new"
    assert run(old, module=str(tmp_path / "look.py"))[0] == 0
    (old / "look/a.aux").write_text("by a viewer")
    assert run(new, "--reuse", str(old), module=str(tmp_path / "look.py"))[0] == 0
    assert os.path.samefile(new / "look/a.txt", old / "look/a.txt")
    assert (new / "look/a.aux").read_text() == "by a viewer"
    assert not os.path.samefile(new / "look/a.aux", old / "look/a.aux")
    assert main(["status", str(new), "--verify"]) == 0


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
def test_on_another_file_system_it_is_copied(tmp_path: Path, old: Path, run: Run) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        if os.stat(folder).st_dev == os.stat(old).st_dev:
            pytest.skip("/dev/shm is no other file system")
        assert run(f"{folder}/new", "--reuse", str(old))[0] == 0
        assert all(manifest.taken_from for manifest in manifests(Path(folder, "new")))
        assert main(["status", f"{folder}/new", "--verify"]) == 0


def test_python_takes_too(tmp_path: Path, old: Path) -> None:
    config = HelloConfig(root_uri=str(tmp_path / "new"))
    assert [c.decision for c in api.plan(config, reuse=[str(old)]).commands] == ["taken", "taken"]
    assert api.run(config, reuse=[str(old)], quiet=True).state == "done"
    assert api.plan(config).plan.jobs == ()


def test_killed_while_it_takes_the_same_command_goes_on(rv: Any, tmp_path: Path, run: Run) -> None:
    old, new, many = tmp_path / "old", tmp_path / "new", ["-a", "num_items=100"]
    assert run(old, *many)[0] == 0
    running = rv.start("run", "inprocess", "rv_core.hello", "-a", f"root_uri={new}", *many, "--reuse", old)
    done = new / ".rv/done/cpu_task"
    end = time.monotonic() + 60
    while not any(done.glob("item-*.json")) and time.monotonic() < end:
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 0 < len(list(done.glob("item-*.json"))) < 100
    code, out, _ = run(new, *many, "--reuse", str(old))
    assert code == 0
    assert " done before, " in out
    assert all(manifest.taken_from for manifest in manifests(new))
    assert main(["status", str(new), "--verify"]) == 0
    assert not list(new.rglob(".*.tmp"))
