"""Places that are not as usual – no working directory, no home, odd settings – end in a sentence, not in a traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import RvCli

TOP = """
import functools
from dataclasses import KW_ONLY, dataclass
from rv_core import Items, Pipeline, PipelineConfig, command

@dataclass
class C(PipelineConfig):
    _: KW_ONLY
    names: list[str]
    def build(self): return P(self)
class P(Pipeline):
    @command(items="names")
    def up(self, names: Items[str]) -> None:
        for n in names: self.storage.write_text(f"up/{n}.txt", n)
"""
PLAIN = """
def get_config(runner, root_uri: str = "out"): return C(root_uri=root_uri, names=["a", "b"])
"""
PARTIAL = """
def make(runner, root_uri: str, names: list[str]): return C(root_uri=root_uri, names=names)
get_config = functools.partial(make, root_uri="out", names=["a", "b"])
"""
CALLABLE = """
class Make:
    def __call__(self, runner, root_uri: str = "out"): return C(root_uri=root_uri, names=["a", "b"])
get_config = Make()
"""
EMPTY = PLAIN.replace('"a", "b"', '"a", ""')


@pytest.mark.parametrize("text", [PLAIN, PARTIAL, CALLABLE], ids=["function", "partial", "object"])
def test_get_config_may_be_whatever_can_be_called(rv: RvCli, tmp_path: Path, text: str) -> None:
    (tmp_path / "exp.py").write_text(TOP + text)
    done = rv("run", "local", "exp.py", "-a", "root_uri", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "here" / "up").iterdir())) == 2


def test_an_empty_id_is_told_as_that(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "exp.py").write_text(TOP + EMPTY)
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "the id of an item is empty" in done.stderr


def test_settings_that_nobody_knows_are_told_by_run_and_check(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "exp.py").write_text(TOP + PLAIN)
    (tmp_path / "rv.toml").write_text("[runn]\njobs = 1\n")
    for verb in (("check", "exp.py"), ("run", "local", "exp.py")):
        done = rv(*verb, cwd=tmp_path, env={"RV_LOCAL_MAKEE": "x"})
        assert done.returncode == 0, done.stderr
        assert "did you mean [run]?" in done.stderr
        assert "did you mean 'RV_LOCAL_MAKE'?" in done.stderr


@pytest.mark.parametrize("words", [("run", "local", "/x/exp.py"), ("status", "/x"), ("check", "exp.py")])
def test_a_working_directory_that_was_deleted_is_told(tmp_path: Path, rv: RvCli, words: tuple[str, ...]) -> None:
    import subprocess

    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    argv = ["/bin/sh", "-c", script, "sh", str(gone), str(Path(sys.executable).parent / "rv"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "the working directory is not there any more" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become somebody without a name")
@pytest.mark.parametrize("home", [None, "private"])
def test_a_user_without_a_name_or_with_the_home_of_another(tmp_path: Path, home: str | None) -> None:
    from rv_core.errors import StorageError
    from rv_core.machine.folders import cache_folder
    from rv_core.settings.files import settings_files

    (tmp_path / "private" / ".config" / "rv").mkdir(parents=True)
    (tmp_path / "private" / ".config" / "rv" / "default.toml").write_text("[run]\njobs = 1\n")
    (tmp_path / "private").chmod(0o700)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            for name in ("HOME", "RV_CACHE_DIR", "RV_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
                os.environ.pop(name, None)
            if home:
                os.environ["HOME"] = str(tmp_path / home)
            os.setuid(4321)
            told = "no settings" if settings_files(None, os.environ, "/") == [] else "settings"
            try:
                cache_folder()
            except StorageError as error:
                told += f"; {error}"
        except BaseException as error:  # noqa: BLE001 - told to the test
            told = repr(error)
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading) as file:
        told = file.read()
    assert told.startswith("no settings")
    if home is None and "; " in told:
        assert "set HOME, or RV_CACHE_DIR" in told


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_module_that_may_not_be_read_is_told(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "exp.py").write_text(TOP + PLAIN)
    (tmp_path / "exp.py").chmod(0)
    done = rv("run", "local", "exp.py", cwd=tmp_path)
    assert done.returncode == 2
    assert "'exp.py' cannot be read" in done.stderr


def test_a_module_whose_file_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rv_core.errors import UsageError
    from rv_core.user_code import loading

    def denied(path: str, name: str = "") -> tuple[str, bytes]:
        raise PermissionError(13, "Permission denied", path)

    (tmp_path / "exp.py").write_text(TOP + PLAIN)
    monkeypatch.setattr(loading, "pack_module", denied)
    with pytest.raises(UsageError, match="cannot be read"):
        loading.load_module("exp.py", str(tmp_path))


def test_a_task_that_cannot_write_its_record_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rv_core.errors import StorageError
    from rv_core.record.layout import RunPaths
    from rv_core.task.log import opened_record

    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("RV_RUN_DIR", str(tmp_path / "blocked"))
    with (
        pytest.raises(StorageError, match="the record of the run cannot be written"),
        opened_record(RunPaths(str(tmp_path / "out"), "20261118-110640-abc123"), "c.up", 1),
    ):
        pass


def test_files_may_be_limited_to_a_kilobyte(tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "exp.py").write_text(TOP + PLAIN)
    rv_program = str(Path(sys.executable).parent / "rv")
    argv = ["/bin/bash", "-c", 'ulimit -f 1; exec "$@"', "sh", rv_program, "run", "local", "exp.py"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (1, 2, 3)
    assert "this is a bug in rv" not in done.stderr


@pytest.mark.parametrize("words", [("run", "local"), ("run", "inprocess"), ("check",)], ids=" ".join)
def test_too_few_open_files_are_told_before_anything_begins(tmp_path: Path, words: tuple[str, ...]) -> None:
    import subprocess

    (tmp_path / "exp.py").write_text(TOP + PLAIN)
    argv = ["/bin/sh", "-c", 'ulimit -n 10; exec "$@"', "sh", sys.executable, "-P", "-m", "rv_core", *words, "exp.py"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "no more than 10 files open here" in done.stderr and "ulimit -n 1024" in done.stderr
    assert done.stderr.startswith("storage error: ") and done.stderr.count("\n") == 3
    assert not (tmp_path / "out").exists()


def test_one_open_file_too_many_is_no_bug_of_rv(capsys: pytest.CaptureFixture[str]) -> None:
    import errno

    from rv_core.cli.errors import exit_code_of

    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/x/labels.json")
    assert exit_code_of(error, ["status", "/x"]) == 3
    said = capsys.readouterr().err
    assert "  where: /x/labels.json\n" in said and "ulimit" in said and "Traceback" not in said


def test_in_a_folder_of_a_group_all_of_a_root_can_be_written_by_the_group(rv: RvCli, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(TOP + PLAIN)
    before = os.umask(0o002)
    try:
        assert rv("run", "local", "m.py").returncode == 0
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "out").rglob("*") if not path.is_symlink()]
    assert len(files) > 10
    assert [str(path) for path in files if not path.stat().st_mode & 0o020] == []
