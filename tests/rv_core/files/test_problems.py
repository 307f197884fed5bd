"""Full disks, read-only file systems and missing rights: real ones, in a mount namespace of their own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest

from rv_core.errors import StorageError
from rv_core.files import by_uri, local, problems
from rv_core.files.problems import MissingFileError


def _run_on_small_disk(tmp_path: Path, code: str, mount_options: str = "size=1m") -> str:
    """Run Python code with a tmpfs of 1 MiB mounted at `sys.argv[1]`; what it prints."""
    if shutil.which("unshare") is None:
        pytest.skip("no program unshare to mount a small disk with")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o {mount_options} tmpfs "$1" || exit 99; shift; exec "$@"'
    namespace = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(disk)]
    done = subprocess.run(
        [*namespace, sys.executable, "-c", code, str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_full_disk_says_where_how_much_is_free_and_what_next(tmp_path: Path) -> None:
    out = _run_on_small_disk(
        tmp_path,
        """
import os, sys
from rv_core.files.storage import Storage
s = Storage(sys.argv[1] + "/root")
s.write_bytes("old.bin", b"old")
for write in ("bytes", "file"):
    try:
        if write == "bytes":
            s.write_bytes("old.bin", b"x" * 2_000_000)
        else:
            with s.output_file("old.bin") as path, open(path, "wb") as file:
                file.write(b"x" * 2_000_000)
    except Exception as err:
        print(type(err).__name__, err)
print(s.read_text("old.bin"), sorted(os.listdir(sys.argv[1] + "/root")))
""",
    )
    assert out.count("StorageError storage error: cannot write 'old.bin'") == 2
    assert out.count(f"where: {tmp_path}/disk/root/old.bin") == 2
    assert "the disk is full:" in out
    assert "of 1.0 MiB free" in out
    assert out.count("next: free some space") == 2
    assert out.endswith("old ['old.bin']\n")


def test_a_library_that_hides_the_error_number_of_a_full_disk_is_explained(tmp_path: Path) -> None:
    out = _run_on_small_disk(
        tmp_path,
        """
import sys
from rv_core.files.storage import Storage
s = Storage(sys.argv[1])
try:
    with s.output_file("a.tif") as path:
        try:
            path.write_bytes(b"x" * 2_000_000)
        except OSError:
            raise RuntimeError("CPLE_FileIOError: write failed") from None
except Exception as err:
    print(err, repr(err.__cause__))
""",
    )
    assert "the disk is full" in out
    assert "CPLE_FileIOError" in out


def test_a_cache_on_a_full_disk_is_explained_and_not_asked_again(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "big.bin").write_bytes(b"x" * 2_000_000)
    out = _run_on_small_disk(
        tmp_path,
        f"""
import functools, http.server, os, sys, threading, time
serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory={str(served)!r})
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["RV_CACHE_DIR"] = sys.argv[1]
from rv_core.files.by_uri import local_copy
start = time.monotonic()
try:
    local_copy(f"http://127.0.0.1:{{server.server_address[1]}}/big.bin")
except Exception as err:
    print(type(err).__name__, err)
print(time.monotonic() - start < 5, [name for _, _, names in os.walk(sys.argv[1]) for name in names if "tmp" in name])
""",
    )
    assert "StorageError storage error: no room for a local copy of 'big.bin'" in out
    assert "the disk is full" in out
    assert "RV_CACHE_DIR" in out
    assert out.endswith("True []\n")


def test_a_disk_without_room_for_another_file_is_explained(tmp_path: Path) -> None:
    out = _run_on_small_disk(
        tmp_path,
        """
import sys
from rv_core.files.storage import Storage
s = Storage(sys.argv[1])
try:
    for index in range(50):
        s.write_bytes(f"{index}", b"")
except Exception as err:
    print(err)
""",
        mount_options="size=1m,nr_inodes=20",
    )
    assert "no inodes left" in out


def test_a_disk_without_room_for_a_line_of_a_log_is_called_full(tmp_path: Path) -> None:
    out = _run_on_small_disk(
        tmp_path,
        """
import os, sys
from rv_core.files.problems import full_disk
print([full_disk(sys.argv[1] + "/no/such/folder")])
with open(sys.argv[1] + "/big", "wb") as file:
    file.write(b"x" * 1_040_000)
print(full_disk(sys.argv[1]))
""",
    )
    first, second = out.splitlines()
    assert first == "['']"
    assert second.startswith("the disk is full: ")


def test_a_read_only_root_is_explained(tmp_path: Path) -> None:
    out = _run_on_small_disk(
        tmp_path,
        """
import sys
from rv_core.files.by_uri import delete
from rv_core.files.storage import Storage
s = Storage(sys.argv[1])
for act in (lambda: s.write_text("a/b.txt", "x"), lambda: s.write_text("b.txt", "x"), s.output_file("c").__enter__):
    try:
        act()
    except Exception as err:
        print(type(err).__name__, err)
""",
        mount_options="size=1m,ro",
    )
    assert out.count("mounted read-only") == 3
    assert out.count("next: use a folder that can be written to") == 3


@pytest.fixture
def locked_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "locked"
    folder.mkdir()
    (folder / "a.txt").write_text("x")
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)
    folder.chmod(0o700)


def test_missing_rights_are_an_error_and_never_a_missing_file(locked_folder: Path) -> None:
    uri = str(locked_folder / "a.txt")
    for act in (by_uri.exists, by_uri.read_bytes, by_uri.delete, lambda uri: by_uri.write_bytes(uri, b"")):
        with pytest.raises(StorageError, match="permission denied") as raised:
            act(uri)
        assert not isinstance(raised.value, MissingFileError)
        assert raised.value.block.where == uri
    with pytest.raises(StorageError, match="permission denied"):
        by_uri.list_files(str(locked_folder))
    with pytest.raises(StorageError, match="2 files could not be asked for") as many:
        by_uri.stat_many([uri, uri + "2"])
    assert len(many.value.findings) == 2


def test_space_is_described_in_units() -> None:
    free_bytes, total_bytes, _ = problems.free_space("/")
    assert 0 <= free_bytes <= total_bytes
    text = problems.describe_space("/no/such/folder/file", is_quota=True)
    assert "quota" in text
    assert "file system of /" in text


@pytest.fixture
def no_files(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """What is opened like a file, and never ends or never begins."""
    places = {kind: tmp_path / kind for kind in ("pipe", "device", "socket")}
    os.mkfifo(places["pipe"])
    places["device"].symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        with chdir(tmp_path):  # a socket's address holds 107 bytes; the folder alone may have more
            listening.bind("socket")
        yield places


def test_no_pipe_device_or_socket_is_read_as_a_file(no_files: dict[str, Path], tmp_path: Path) -> None:
    reads: list[Callable[[str], object]] = [
        by_uri.read_bytes,
        by_uri.read_text,
        local.digest,
        lambda path: local.copy(path, str(tmp_path / "copy")),
    ]
    for path in no_files.values():
        for read in reads:
            with pytest.raises((OSError, StorageError), match="it is a pipe, a device or a socket"):
                read(str(path))


def test_what_is_no_file_is_not_said_to_be_missing(no_files: dict[str, Path]) -> None:
    for path in no_files.values():
        with pytest.raises(MissingFileError, match="is no plain file"):
            by_uri.local_copy(str(path))


def test_a_link_to_itself_keeps_no_folder_from_being_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    assert set(by_uri.list_files(str(tmp_path))) == {"file"}


def test_a_stream_that_is_asked_for_is_read(no_files: dict[str, Path]) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"through a descriptor")
    os.close(write_end)
    try:
        assert by_uri.read_text(f"/dev/fd/{read_end}") == "through a descriptor"
    finally:
        os.close(read_end)
    writer = threading.Thread(target=no_files["pipe"].write_text, args=("through a pipe",))
    writer.start()
    assert by_uri.read_text(str(no_files["pipe"]), may_be_pipe=True) == "through a pipe"
    writer.join()
    for kind in ("device", "socket"):
        with pytest.raises(StorageError, match="it is a pipe, a device or a socket"):
            by_uri.read_text(str(no_files[kind]), may_be_pipe=True)


def test_a_folder_in_place_of_a_file_says_what_to_do(tmp_path: Path) -> None:
    name = tmp_path / "all.txt"
    name.mkdir()

    for work in (by_uri.read_bytes, lambda path: by_uri.write_bytes(path, b"x")):
        with pytest.raises(StorageError, match="it is a folder") as caught:
            work(str(name))
        assert "move the folder away" in str(caught.value)


def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / "done"
    file.write_text("x")

    for work in (by_uri.read_bytes, lambda path: by_uri.write_bytes(path, b"x")):
        with pytest.raises(StorageError, match=re.escape(f"{file} is a file, and no folder")) as caught:
            work(str(file / "greet" / "n1.json"))
        assert "move that file away" in str(caught.value)


def test_a_folder_or_a_pipe_in_place_of_a_file_is_not_called_missing(no_files: dict[str, Path], tmp_path: Path) -> None:
    for path in (tmp_path, no_files["pipe"]):
        with pytest.raises(MissingFileError, match="is no plain file"):
            by_uri.local_copy(str(path))


def test_a_name_that_the_locale_cannot_write_is_explained(tmp_path: Path) -> None:
    code = "import sys; from rv_core.files import by_uri; by_uri.write_bytes(sys.argv[1] + '/caf\\xe9.txt', b'x')"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    argv = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, encoding="utf-8", check=False, env=env)
    assert "storage error: cannot write 'caf\u00e9.txt'" in done.stderr
    assert "the names of files are ascii here" in done.stderr
    assert "set LC_ALL=C.UTF-8" in done.stderr
