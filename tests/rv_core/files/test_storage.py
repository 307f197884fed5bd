from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rv_core.errors import ConfigError, StorageError
from rv_core.files import by_uri
from rv_core.files.local import FileInfo
from rv_core.files.problems import MissingFileError
from rv_core.files.storage import FileOutput, Storage
from rv_core.machine.folders import scratch_folder


@pytest.fixture(params=["local", "file", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "local": str(tmp_path / "root"),
        "file": f"file://{tmp_path}/root",
        "memory": f"memory://{tmp_path.name}-{time.time_ns()}",
    }[request.param]


def test_what_is_written_is_read_back(root: str) -> None:
    by_uri.write_bytes(f"{root}/a/b.bin", b"\x00\xff")
    by_uri.write_bytes(f"{root}/a/t.txt", "Zürich\n".encode())
    assert by_uri.read_bytes(f"{root}/a/b.bin") == b"\x00\xff"
    assert by_uri.read_text(f"{root}/a/t.txt") == "Zürich\n"
    by_uri.write_bytes(f"{root}/a/b.bin", b"new")
    assert by_uri.read_bytes(f"{root}/a/b.bin") == b"new"


def test_a_missing_file_is_missing_and_no_other_error(root: str) -> None:
    assert by_uri.stat(f"{root}/no") is None
    assert not by_uri.exists(f"{root}/no")
    with pytest.raises(MissingFileError, match="'no' does not exist") as raised:
        by_uri.read_bytes(f"{root}/no")
    assert isinstance(raised.value, FileNotFoundError)
    assert isinstance(raised.value, StorageError)
    with pytest.raises(MissingFileError):
        by_uri.local_copy(f"{root}/no")
    by_uri.delete(f"{root}/no")


def test_a_folder_is_no_file(root: str) -> None:
    by_uri.write_bytes(f"{root}/a/b.txt", b"x")
    assert by_uri.stat(f"{root}/a") is None
    assert not by_uri.exists(root)


def test_stat_says_the_size(root: str) -> None:
    by_uri.write_bytes(f"{root}/a.txt", b"four")
    info = by_uri.stat(f"{root}/a.txt")
    assert info is not None
    assert info.size == 4
    assert info.mtime_ns is not None


def test_list_files_is_recursive_and_relative(root: str) -> None:
    for name in ("x/a.txt", "x/y/b.txt", "z.txt", "xa.txt"):
        by_uri.write_bytes(f"{root}/{name}", name.encode())
    assert {name: info.size for name, info in by_uri.list_files(root).items()} == {
        "x/a.txt": 7,
        "x/y/b.txt": 9,
        "z.txt": 5,
        "xa.txt": 6,
    }
    assert set(by_uri.list_files(f"{root}/x")) == {"a.txt", "y/b.txt"}
    assert set(by_uri.list_files(f"{root}/x/")) == {"a.txt", "y/b.txt"}
    assert by_uri.list_files(f"{root}/nothing") == {}
    assert by_uri.list_files(f"{root}/z.txt") == {}


def test_a_deleted_file_is_gone(root: str) -> None:
    by_uri.write_bytes(f"{root}/a.txt", b"x")
    by_uri.delete(f"{root}/a.txt")
    assert not by_uri.exists(f"{root}/a.txt")


def test_read_many_and_stat_many_leave_missing_files_out(root: str) -> None:
    by_uri.write_bytes(f"{root}/a", b"1")
    by_uri.write_bytes(f"{root}/b", b"22")
    wanted = [f"{root}/{name}" for name in "abca"]
    assert by_uri.read_many(wanted) == {f"{root}/a": b"1", f"{root}/b": b"22"}
    assert {uri: info.size for uri, info in by_uri.stat_many(wanted).items()} == {f"{root}/a": 1, f"{root}/b": 2}
    assert by_uri.read_many([]) == {}


def test_write_once_creates_once_and_leaves_the_first(root: str) -> None:
    assert by_uri.write_once(f"{root}/m/marker", b"first")
    assert not by_uri.write_once(f"{root}/m/marker", b"second")
    assert by_uri.read_bytes(f"{root}/m/marker") == b"first"
    assert set(by_uri.list_files(root)) == {"m/marker"}


def test_of_many_writers_at_once_one_creates(root: str) -> None:
    start = threading.Barrier(8)
    won: list[int] = []

    def write(index: int) -> None:
        start.wait()
        if by_uri.write_once(f"{root}/marker", b"%d" % index):
            won.append(index)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert by_uri.read_bytes(f"{root}/marker") == b"%d" % won[0]


@pytest.mark.parametrize("is_full", [False, True])
def test_without_hard_links_a_file_is_still_created_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    def no_links(source: str, target: str) -> None:
        if is_full:
            monkeypatch.setattr(os, "write", no_space)
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def no_space(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", no_links)
    if is_full:
        with pytest.raises(StorageError, match="disk is full"):
            by_uri.write_once(f"{tmp_path}/marker", b"1")
        assert _names_below(tmp_path) == set()
        return
    assert by_uri.write_once(f"{tmp_path}/marker", b"1")
    assert not by_uri.write_once(f"{tmp_path}/marker", b"2")
    assert (tmp_path / "marker").read_bytes() == b"1"
    assert _names_below(tmp_path) == {"marker"}


def test_text_that_is_not_utf8_is_an_error_with_the_place(root: str) -> None:
    by_uri.write_bytes(f"{root}/a.txt", b"\xff\xfe")
    with pytest.raises(StorageError, match="not UTF-8") as raised:
        by_uri.read_text(f"{root}/a.txt")
    assert raised.value.block.where == f"{root}/a.txt"


def test_variables_are_filled_in_when_opened_and_not_shown(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PLACE", root)
    by_uri.write_bytes("${TEST_PLACE}/a.txt", b"x")
    assert by_uri.read_bytes(f"{root}/a.txt") == b"x"
    assert set(by_uri.read_many(["${TEST_PLACE}/a.txt", "${TEST_PLACE}/no"])) == {"${TEST_PLACE}/a.txt"}
    with pytest.raises(MissingFileError) as raised:
        by_uri.read_bytes("${TEST_PLACE}/no.txt")
    assert raised.value.block.where == "${TEST_PLACE}/no.txt"
    assert raised.value.__cause__ is None


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ConfigError, match="NOT_SET_HERE"):
        by_uri.exists("${NOT_SET_HERE}/a")


def test_storage_writes_reads_and_records_outputs(root: str) -> None:
    seen: list[object] = []
    bound = Storage(root, on_output=seen.append, on_written=lambda name, output: seen.append((name, output)))
    bound.write_text("a/t.txt", "héllo")
    with bound.output_file("b/f.bin") as path:
        path.write_bytes(b"x" * 3_000_000)
    assert bound.read_text("a/t.txt") == "héllo"
    assert bound.input_file("b/f.bin").read_bytes() == b"x" * 3_000_000
    assert seen == [
        "a/t.txt",
        ("a/t.txt", FileOutput("a/t.txt", 6, hashlib.sha256("héllo".encode()).hexdigest())),
        "b/f.bin",
        ("b/f.bin", FileOutput("b/f.bin", 3_000_000, hashlib.sha256(b"x" * 3_000_000).hexdigest())),
    ]
    assert bound.uri("a/t.txt") == f"{root}/a/t.txt"
    assert bound.exists("a/t.txt")
    assert not bound.exists("a/no.txt")
    assert set(bound.list_files()) == {"a/t.txt", "b/f.bin"}
    assert set(bound.list_files("a")) == {"t.txt"}
    bound.delete("a/t.txt")
    assert set(by_uri.list_files(root)) == {"b/f.bin"}


def test_an_output_is_announced_before_its_first_byte(root: str) -> None:
    states: list[bool] = []
    bound = Storage(root, on_output=lambda name: states.append(by_uri.exists(f"{root}/{name}")))
    bound.write_bytes("a", b"1")
    with bound.output_file("b") as path:
        assert states == [False, False]
        path.write_bytes(b"2")


def test_an_output_file_that_fails_leaves_the_old_one_and_nothing_else(root: str, tmp_path: Path) -> None:
    written: list[str] = []
    bound = Storage(root, on_written=lambda name, _: written.append(name))
    bound.write_bytes("a.tif", b"old")
    written.clear()
    with pytest.raises(RuntimeError, match="half-way"), bound.output_file("a.tif") as path:
        path.write_bytes(b"new")
        path.with_name(path.name + ".aux.xml").write_bytes(b"side")
        raise RuntimeError("half-way")
    assert bound.read_bytes("a.tif") == b"old"
    assert written == []
    assert _names_below(tmp_path / "root") <= {"a.tif"}
    assert not [name for name in _names_below(scratch_folder()) if ".tmp" in name]


def test_an_interrupted_output_file_is_removed(root: str, tmp_path: Path) -> None:
    bound = Storage(root)
    with pytest.raises(KeyboardInterrupt), bound.output_file("a.tif") as path:
        path.write_bytes(b"new")
        raise KeyboardInterrupt
    assert _names_below(tmp_path / "root") == set()
    assert not bound.exists("a.tif")


def test_errors_of_the_caller_pass_through_unchanged(root: str) -> None:
    bound = Storage(root)
    with pytest.raises(FileNotFoundError) as raised, bound.output_file("a.tif"):
        Path("/no/such/input").read_bytes()
    assert not isinstance(raised.value, StorageError)


def test_an_output_that_was_not_written_is_an_error_that_names_what_was(root: str, tmp_path: Path) -> None:
    bound = Storage(root)
    with pytest.raises(StorageError, match="nothing was written") as raised, bound.output_file("a") as path:
        path.with_name(path.name + ".npy").write_bytes(b"numpy adds an ending")
    assert ".npy" in raised.value.block.why
    with pytest.raises(StorageError, match="nothing was written"), bound.output_file("a"):
        pass
    assert _names_below(tmp_path / "root") == set()


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "a\nb", "", ".a.host-12-3.tmp"])
def test_names_that_leave_the_root_or_look_half_written_are_refused(root: str, name: str) -> None:
    bound = Storage(root)
    with pytest.raises(StorageError, match="refused name"):
        bound.write_bytes(name, b"")
    with pytest.raises(StorageError, match="refused name"), bound.output_file(name):
        pass
    if not name.startswith("."):
        with pytest.raises(StorageError, match="refused name"):
            bound.read_bytes(name)


def test_links_that_leave_the_root_are_refused(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "file.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    bound = Storage(str(root))
    for name in ("folder/secret.txt", "file.txt"):
        for ask in (bound.read_bytes, bound.read_text, bound.exists, bound.input_file):
            with pytest.raises(StorageError, match="leaves the root"):
                ask(name)
    with pytest.raises(StorageError, match="leaves the root"):
        bound.write_bytes("folder/new.txt", b"x")
    with pytest.raises(StorageError, match="leaves the root"):
        bound.delete("folder/secret.txt")
    with pytest.raises(StorageError, match="leaves the root"), bound.output_file("folder/sub/new.txt"):
        pass
    assert _names_below(tmp_path / "outside") == {"secret.txt"}


def test_a_link_in_the_place_of_an_output_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.txt").symlink_to(tmp_path / "outside.txt")
    Storage(str(root)).write_text("a.txt", "mine")
    assert (tmp_path / "outside.txt").read_text() == "outside"
    assert not (root / "a.txt").is_symlink()


def test_links_within_the_root_and_a_root_that_is_a_link_work(tmp_path: Path) -> None:
    (tmp_path / "real" / "data").mkdir(parents=True)
    (tmp_path / "real" / "alias").symlink_to("data")
    (tmp_path / "root").symlink_to("real")
    bound = Storage(str(tmp_path / "root"))
    bound.write_text("alias/a.txt", "x")
    assert bound.read_text("data/a.txt") == "x"


def test_list_files_leaves_half_written_files_out_and_survives_loops(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.txt").write_text("x")
    (tmp_path / "a" / ".x.txt.tag.host-1-0.tmp").write_text("half")
    (tmp_path / "a" / ".hidden").write_text("counts")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "nowhere").symlink_to("missing")
    (tmp_path / "b").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    listed = set(by_uri.list_files(str(tmp_path)))
    assert {"a/x.txt", "a/.hidden"} <= listed
    assert "b/x.txt" in listed
    assert not any("tmp" in name or "nowhere" in name or "pipe" in name for name in listed)
    assert len(listed) <= 8


def test_ten_thousand_files_are_listed_in_about_a_tenth_of_a_second(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for name in range(200):
            os.close(os.open(tmp_path / str(folder) / str(name), os.O_CREAT))
    times_s: list[float] = []
    for _ in range(5):
        start = time.process_time()
        assert len(by_uri.list_files(str(tmp_path))) == 2_000
        times_s.append(time.process_time() - start)
    assert 5 * min(times_s) < 0.2  # 0.035 s where this was written; room for slow machines


def test_two_writers_of_one_output_share_no_temporary_file(tmp_path: Path) -> None:
    first, second = (Storage(str(tmp_path), attempt_tag="pipe.chip.1-of-2.1") for _ in range(2))
    with first.output_file("a") as path_1, second.output_file("a") as path_2:
        assert path_1 != path_2
        path_1.write_bytes(b"1")
        path_2.write_bytes(b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
    assert _names_below(tmp_path) == {"a"}


def test_the_temporary_file_is_beside_the_target_and_names_the_attempt(tmp_path: Path) -> None:
    with Storage(str(tmp_path), attempt_tag="pipe1.chip/2").output_file("x/a.tif") as path:
        path.write_bytes(b"")
        assert path.parent == tmp_path / "x"
        assert path.name.startswith(".a.tif.pipe1_chip_2.")
        assert path.name.endswith(f"-{path.name.split('-')[-1]}")
        assert str(os.getpid()) in path.name


def test_names_as_long_as_a_file_system_takes_can_be_written(tmp_path: Path) -> None:
    name = "ä" * 120 + ".geojson"
    bound = Storage(str(tmp_path), attempt_tag="t" * 200)
    bound.write_bytes(name, b"x")
    with bound.output_file(name) as path:
        path.write_bytes(b"y")
    assert bound.read_bytes(name) == b"y"


def test_killed_writers_leave_what_a_sweep_removes(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from rv_core.files.storage import Storage
with Storage(sys.argv[1], attempt_tag="t").output_file("x/a.bin") as path:
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert process.returncode == -9
    assert by_uri.list_files(str(tmp_path)) == {}
    assert len(_names_below(tmp_path)) == 1
    with Storage(str(tmp_path)).output_file("y.bin") as path:
        path.write_bytes(b"being written by a living process")
        assert by_uri.sweep_temporary(str(tmp_path), elsewhere_too=True) == 1
    assert _names_below(tmp_path) == {"y.bin"}
    assert by_uri.sweep_temporary("memory://nothing", elsewhere_too=True) == 0


def test_a_file_in_the_place_of_a_folder_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("file")
    with pytest.raises(StorageError, match="cannot write 'b.txt'") as raised:
        by_uri.write_bytes(f"{tmp_path}/a/b.txt", b"")
    assert raised.value.block.why
    (tmp_path / "d").mkdir()
    with pytest.raises(StorageError, match="cannot write 'd'"):
        by_uri.write_bytes(f"{tmp_path}/d", b"")
    with pytest.raises(StorageError, match="cannot read 'd'"):
        by_uri.read_bytes(f"{tmp_path}/d")
    assert _names_below(tmp_path) == {"a"}


def test_a_file_uri_of_another_machine_is_refused() -> None:
    with pytest.raises(StorageError, match="not a file on this machine"):
        by_uri.read_bytes("file://server/share/a")


def test_local_files_import_no_fsspec_and_no_network(tmp_path: Path) -> None:
    code = """
import sys
from rv_core.files.by_uri import list_files
from rv_core.files.storage import Storage
s = Storage(sys.argv[1])
s.write_text("a", "x"); s.read_text("a"); list_files(sys.argv[1])
with s.output_file("b") as p: p.write_text("y")
heavy = {"fsspec", "obstore", "boto3", "urllib.request", "socket", "platformdirs", "typer", "marshmallow", "asyncio"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_file_info_is_a_plain_value() -> None:
    assert FileInfo(3) == FileInfo(3, None, None)


def _names_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}
