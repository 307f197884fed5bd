"""`rv run --smoke`: every command of the user's own config on little, beside the root, through the chosen runner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rv_core import ConfigError, Pipeline, PipelineConfig, command
from rv_core.hello import HelloConfig
from rv_core.launch.smoke import smoke_configs

PIPELINE = """
from dataclasses import dataclass, field
from rv_core import Items, Pipeline, PipelineConfig, command


@dataclass(kw_only=True)
class TilesConfig(PipelineConfig):
    tiles: dict[str, int] = field(default_factory=lambda: {"a": 1, "b": 2, "c": 3})
    others: tuple[str, ...] = ("x", "y")
    is_broken: bool = False

    def build(self):
        return Tiles(self)


class Tiles(Pipeline):
    @command(items={"train": "tiles", "test": "others"})
    def read(self, tiles: Items[str]) -> None:
        for tile in tiles:
            self.storage.write_text(f"read/{tile}.txt", tile)

    @command(requires=("read",), reads=("tiles", "others", "is_broken"))
    def eval(self) -> None:
        if self.config.is_broken:
            raise ValueError("a fault in the last command")
        self.storage.write_text("eval.txt", "".join([*self.config.tiles, *self.config.others]))


def get_config(runner: str, root_uri: str, is_broken: bool = False) -> TilesConfig:
    return TilesConfig(root_uri=root_uri, is_broken=is_broken)
"""


def digest_of(root: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        total.update(f"{path.relative_to(root)} {path.stat().st_mtime_ns}".encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    (tmp_path / "tiles.py").write_text(PIPELINE)
    return [str(tmp_path / "tiles.py"), "-a", f"root_uri={tmp_path / 'out'}"]


@pytest.mark.parametrize("runner", ["inprocess", "local"])
def test_every_command_runs_on_the_first_item_of_each_group_beside_the_root(
    rv: Callable[..., Any], tmp_path: Path, words: list[str], runner: str
) -> None:
    assert rv("run", "inprocess", *words).returncode == 0
    before = digest_of(tmp_path / "out")
    for _ in range(2):  # what is done is done again: the code may have changed
        done = rv("run", runner, *words, "--smoke", "-s", "2")
        assert done.returncode == 0, done.stderr
        assert f"done: 3 items; results are under {tmp_path / 'out'}.smoke" in done.stdout
    assert (tmp_path / "out.smoke" / "eval.txt").read_text() == "ax"
    assert digest_of(tmp_path / "out") == before


def test_a_fault_in_the_last_command_is_found(rv: Callable[..., Any], tmp_path: Path, words: list[str]) -> None:
    done = rv("run", "inprocess", *words, "-a", "is_broken=true", "--smoke")
    assert done.returncode == 1
    assert "a fault in the last command" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_smoke_config_of_another_kind_is_refused(rv: Callable[..., Any], tmp_path: Path, words: list[str]) -> None:
    text = PIPELINE.replace(
        "class Tiles(Pipeline):\n", "class Tiles(Pipeline):\n    def smoke(self, config):\n        return None\n\n"
    )
    (tmp_path / "tiles.py").write_text(text)
    done = rv("run", "inprocess", *words, "--smoke")
    assert done.returncode == 2
    assert "smoke() of tiles returned null, which is no TilesConfig" in done.stderr


def test_a_command_that_is_called_smoke_stays_a_command(tmp_path: Path) -> None:
    class OldPipeline(Pipeline):
        @command()
        def smoke(self) -> None:  # type: ignore[override]
            """As before there were smoke runs."""

    @dataclass(kw_only=True)
    class OldConfig(PipelineConfig):
        def build(self) -> Pipeline:
            return OldPipeline(self)

    root = str(tmp_path / "out")
    assert smoke_configs([OldConfig(root_uri=root, name="old")])[0].root_uri == f"{root}.smoke"


def test_a_config_that_refuses_to_be_small_is_told_without_a_traceback(
    rv: Callable[..., Any], tmp_path: Path, words: list[str]
) -> None:
    check = "    def __post_init__(self):\n        if len(self.tiles) < 2:\n            raise ValueError('too few')\n\n"
    (tmp_path / "tiles.py").write_text(PIPELINE.replace("    def build(self):", check + "    def build(self):", 1))
    done = rv("run", "inprocess", *words, "--smoke", "--dry-run")
    assert done.returncode == 2
    assert "config error: the config cannot be made small for --smoke" in done.stderr
    assert "ValueError: too few" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("roots", "problem"),
    [
        (["s3://bucket"], "no place beside this root"),
        (["s3://bucket/"], "no place beside this root"),
        (["gs://${BUCKET}/"], "no place beside this root"),
        (["/"], "no place beside this root"),
        (["${IN_A_BUCKET}"], "is not beside the roots"),
        (["https://host/root?region=x"], "is not beside the roots"),
        (["/data/out", "/data/out.smoke"], "is not beside the roots"),
        (["s3://bucket/out", "s3://bucket/out.smoke/b"], "is not beside the roots"),
        (["s3://bucket/out", "s3://${BUCKET}/out2"], ""),
    ],
)
def test_a_smoke_run_never_goes_to_a_root_or_to_another_bucket(
    monkeypatch: pytest.MonkeyPatch, roots: list[str], problem: str
) -> None:
    monkeypatch.setenv("BUCKET", "bucket")
    monkeypatch.setenv("IN_A_BUCKET", "s3://bucket/out/")
    configs = [HelloConfig(root_uri=root, name=f"p{index}") for index, root in enumerate(roots)]
    if problem:
        with pytest.raises(ConfigError, match=problem):
            smoke_configs(configs)
    else:
        assert [config.root_uri for config in smoke_configs(configs)] == [f"{root}.smoke" for root in roots]


def test_hello_greets_one(rv: Callable[..., Any], tmp_path: Path) -> None:
    done = rv("run", "inprocess", "rv_core.hello", "-a", f"root_uri={tmp_path / 'out'}", "--smoke")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out.smoke" / "cpu_task").iterdir()] == ["item-0.txt"]
