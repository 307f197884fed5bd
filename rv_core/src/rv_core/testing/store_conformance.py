"""`StoreConformance`: everything that a store has to do, as tests to inherit.

Every test is one rule, named by what has to hold. The store is asked as rv asks it; only where two writers meet, each
has a store of its own, as two processes have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, cast

import pytest

from rv_core.errors import EXIT_ENVIRONMENT, StorageError
from rv_core.files import asking, by_uri
from rv_core.files.problems import MissingFileError
from rv_core.files.stores import Store
from rv_core.files.uris import scheme_of

_NAMES = (
    "with space",
    "ü",
    "a#b",
    "100%",
    "a%20b",
    "a+b&c=d",
    "a?b",
    "(1)",
    "a'b",
    "~a",
    ".hidden",
    "a.b.c",
    "x" * 200,
)
_ROUNDS, _WRITERS, _READS = 20, 4, 60
_LARGE_BYTES = 6 << 20


class StoreConformance:
    """Inherit it in a class named `Test…`, name a folder of the store, and every rule is a test of that class.

    What a class attribute cannot say, a fixture of the same meaning can: redefine `rv_store_uri`, `rv_refused_uri` or
    `rv_unreachable_uri` in the class, the test module or `conftest.py`.
    """

    #: A folder that is the kit's own: what it writes below it, it removes again.
    store_uri: ClassVar[str] = ""
    #: A file that the store refuses to read and to write; without it the rule about it is skipped.
    refused_uri: ClassVar[str] = ""
    #: A file of a store that cannot be asked: no such bucket, no such server; without it its rule is skipped.
    unreachable_uri: ClassVar[str] = ""

    @pytest.mark.parametrize(
        "data", [b"text\n", bytes(range(256)), b"x" * _LARGE_BYTES], ids=["text", "bytes", "large"]
    )
    def test_a_file_comes_back_as_it_was_written(self, rv_scratch: str, data: bytes) -> None:
        """What is read is what was written, byte for byte, and `stat` knows its size."""
        by_uri.write_bytes(f"{rv_scratch}/a/b", data)
        assert by_uri.read_bytes(f"{rv_scratch}/a/b") == data
        info = by_uri.stat(f"{rv_scratch}/a/b")
        assert info is not None, "stat finds no file where one was written"
        assert info.size == len(data), f"stat says {info.size} bytes of {len(data)}"

    def test_an_empty_file_is_a_file(self, rv_scratch: str) -> None:
        """A file without a byte is there, is listed and is created once."""
        by_uri.write_bytes(f"{rv_scratch}/empty", b"")
        assert by_uri.exists(f"{rv_scratch}/empty"), "an empty file counts as none"
        assert by_uri.read_bytes(f"{rv_scratch}/empty") == b""
        assert by_uri.list_files(rv_scratch)["empty"].size == 0
        assert not by_uri.write_once(f"{rv_scratch}/empty", b"more"), "an empty file was created again"

    def test_a_file_is_known_by_a_mark(self, rv_scratch: str) -> None:
        """`stat` has an ETag or a time: without either a change of equal size would be overlooked."""
        by_uri.write_bytes(f"{rv_scratch}/a", b"1")
        info = by_uri.stat(f"{rv_scratch}/a")
        assert info is not None
        assert info.etag is not None or info.mtime_ns is not None, "neither an ETag nor a time"

    @pytest.mark.parametrize("name", _NAMES)
    def test_a_file_may_have_any_name(self, rv_scratch: str, name: str) -> None:
        """A name comes back from a listing as it was written, and reads the same file."""
        by_uri.write_bytes(f"{rv_scratch}/{name}/{name}", b"content")
        assert set(by_uri.list_files(rv_scratch)) == {f"{name}/{name}"}
        assert by_uri.read_bytes(f"{rv_scratch}/{name}/{name}") == b"content"

    def test_writing_replaces_the_whole_file(self, rv_scratch: str) -> None:
        """Nothing of a longer file is left behind a shorter one."""
        by_uri.write_bytes(f"{rv_scratch}/a", b"a long content")
        by_uri.write_bytes(f"{rv_scratch}/a", b"short")
        assert by_uri.read_bytes(f"{rv_scratch}/a") == b"short"

    def test_who_reads_while_it_is_written_gets_a_whole_file(self, rv_scratch: str) -> None:
        """The old one or the new one: never a part, and never none."""
        contents = (b"a" * 1_000_000, b"b" * 1_500_000)
        uri = f"{rv_scratch}/a"
        by_uri.write_bytes(uri, contents[0])
        writing, reading = other_store(uri), other_store(uri)
        with _in_the_background(lambda turn: writing.write(uri, contents[turn % 2])):
            for _ in range(_READS):
                data = reading.read(uri)
                assert data in contents, f"a reader got {len(data)} bytes, a part of a file that is being written"

    def test_write_once_changes_nothing_that_is_there(self, rv_scratch: str) -> None:
        """The first one creates; later ones are told False, and the content stays."""
        assert by_uri.write_once(f"{rv_scratch}/a/once", b"first") is True
        assert by_uri.write_once(f"{rv_scratch}/a/once", b"second") is False
        assert by_uri.read_bytes(f"{rv_scratch}/a/once") == b"first"

    def test_of_several_writers_at_once_one_creates(self, rv_scratch: str) -> None:
        """Exactly one gets True, and its content is there: by this rv knows the one unfinished run of a root."""
        stores = [other_store(rv_scratch) for _ in range(_WRITERS)]
        with ThreadPoolExecutor(_WRITERS) as pool:
            for turn in range(_ROUNDS):
                uri, start = f"{rv_scratch}/marker-{turn}", threading.Barrier(_WRITERS)

                def create(number: int, uri: str = uri, start: threading.Barrier = start) -> bool:
                    start.wait()
                    return stores[number].write_once(uri, b"writer %d" % number)

                won = list(pool.map(create, range(_WRITERS)))
                assert won.count(True) == 1, f"{won.count(True)} of {_WRITERS} writers were told that they created it"
                assert by_uri.read_bytes(uri) == b"writer %d" % won.index(True), "the content is not the winner's"

    def test_a_missing_file_is_missing(self, rv_scratch: str, tmp_path: Path) -> None:
        """It is told apart from a store that could not be asked: None, {} or `FileNotFoundError`."""
        uri = f"{rv_scratch}/no/such"
        assert by_uri.stat(uri) is None
        assert by_uri.list_files(uri) == {}
        with pytest.raises(MissingFileError):
            by_uri.read_bytes(uri)
        with pytest.raises(MissingFileError):
            asking.ask("read", uri, lambda store: store.download(uri, str(tmp_path / "a")))

    def test_a_folder_is_no_file(self, rv_scratch: str) -> None:
        """What only other files lie below does not exist."""
        by_uri.write_bytes(f"{rv_scratch}/a/b/c", b"1")
        assert by_uri.stat(f"{rv_scratch}/a") is None
        assert by_uri.stat(f"{rv_scratch}/a/b") is None

    def test_a_deleted_file_is_gone_and_may_be_deleted_again(self, rv_scratch: str) -> None:
        """What is beside it stays, and deleting what is not there is no error."""
        by_uri.write_bytes(f"{rv_scratch}/a", b"1")
        by_uri.write_bytes(f"{rv_scratch}/ab", b"2")
        by_uri.delete(f"{rv_scratch}/a")
        assert not by_uri.exists(f"{rv_scratch}/a"), "a deleted file is still there"
        by_uri.delete(f"{rv_scratch}/a")
        assert set(by_uri.list_files(rv_scratch)) == {"ab"}
        assert by_uri.write_once(f"{rv_scratch}/a", b"3"), "a deleted file cannot be created again"

    def test_a_listing_names_every_file_below(self, rv_scratch: str) -> None:
        """By its path relative to the folder, at any depth, with its size; also with a slash at the end."""
        sizes = {"a": 1, "b/c": 2, "b/d/e/f": 3, **{f"many/{number:04}": 0 for number in range(30)}}
        for name, size in sizes.items():
            by_uri.write_bytes(f"{rv_scratch}/{name}", b"x" * size)
        assert {name: info.size for name, info in by_uri.list_files(rv_scratch).items()} == sizes
        assert set(by_uri.list_files(f"{rv_scratch}/b/")) == {"c", "d/e/f"}

    def test_a_listing_keeps_to_its_folder(self, rv_scratch: str) -> None:
        """`ab` begins with `a` and does not lie below it."""
        for name in ("a/in", "ab", "ab/c", "a.txt", "b/a/in"):
            if name != "ab":
                by_uri.write_bytes(f"{rv_scratch}/{name}", b"1")
        assert set(by_uri.list_files(f"{rv_scratch}/a")) == {"in"}

    def test_a_listing_is_up_to_date(self, rv_scratch: str) -> None:
        """What was written or deleted a moment ago counts, whoever did it."""
        writer = other_store(rv_scratch)
        for number in range(3):
            writer.write(f"{rv_scratch}/{number}", b"1")
            assert len(by_uri.list_files(rv_scratch)) == number + 1, "a file that was just written is not listed"
            assert by_uri.exists(f"{rv_scratch}/{number}"), "a file that was just written does not exist"
        writer.delete(f"{rv_scratch}/0")
        assert set(by_uri.list_files(rv_scratch)) == {"1", "2"}

    def test_an_upload_is_the_file(self, rv_scratch: str, tmp_path: Path) -> None:
        """Also where it is large, empty, or replaces another one."""
        uri, path = f"{rv_scratch}/a/up", tmp_path / "up"
        for data in (b"y" * _LARGE_BYTES, b"", b"z"):
            path.write_bytes(data)
            asking.ask("write", uri, lambda store: store.upload(str(path), uri))
            assert by_uri.read_bytes(uri) == data, "what was uploaded is not the file"
        assert path.read_bytes() == b"z", "an upload changed its source"

    def test_a_download_is_the_file_and_says_what_it_took(self, rv_scratch: str, tmp_path: Path) -> None:
        """The size and identity that it returns are those of `stat`: by them a copy is known to be the present one."""
        uri, path = f"{rv_scratch}/down", tmp_path / "down"
        for data in (b"y" * _LARGE_BYTES, b""):
            by_uri.write_bytes(uri, data)
            info = asking.ask("read", uri, lambda store: store.download(uri, str(path)))
            assert path.read_bytes() == data, "what was downloaded is not the file"
            assert info == by_uri.stat(uri), "a download does not say the size and identity of what it took"
            path.unlink()

    def test_a_part_of_a_file_is_that_part(self, rv_scratch: str) -> None:
        """From one byte to before another, fewer where the file ends before; a store that reads no parts says so."""
        data = bytes(range(256))
        by_uri.write_bytes(f"{rv_scratch}/a", data)
        for start, end in ((0, 16), (100, 200), (250, 300), (256, 300), (0, 256)):
            part = by_uri.read_range(f"{rv_scratch}/a", start, end)
            assert part in (None, data[start:end]), f"bytes {start} to {end} are not those of the file"

    def test_a_copy_is_the_file_or_is_not_made(self, rv_scratch: str) -> None:
        """A store that copies by itself puts the whole file in place of what is there; one that does not says so."""
        source, target = f"{rv_scratch}/a/from", f"{rv_scratch}/b/to"
        for data in (b"y" * _LARGE_BYTES, b"", b"z"):
            by_uri.write_bytes(source, data)
            before = by_uri.read_bytes(target) if by_uri.exists(target) else None
            is_copied = asking.ask("write", target, lambda store: store.copy(source, target))
            after = by_uri.read_bytes(target) if by_uri.exists(target) else None
            assert after == (data if is_copied else before), "what the store has copied is not the file"
            assert by_uri.read_bytes(source) == data, "a copy changed its source"

    def test_a_refusal_is_an_error(self, rv_refused_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the rights are missing the file is never called missing, and the exit code is 3: the environment."""
        for error in _errors_of(rv_refused_uri, monkeypatch):
            assert error.exit_code == EXIT_ENVIRONMENT, f"a refusal is not told as one: {error}"

    def test_a_store_that_cannot_be_asked_is_an_error(
        self, rv_unreachable_uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No answer is never taken for a file that is missing."""
        _errors_of(rv_unreachable_uri, monkeypatch)


def _errors_of(uri: str, monkeypatch: pytest.MonkeyPatch) -> list[StorageError]:
    monkeypatch.setenv("RV_RETRY_S", "0.5")
    questions: dict[str, Callable[[], object]] = {
        "stat": lambda: by_uri.stat(uri),
        "read": lambda: by_uri.read_bytes(uri),
        "write": lambda: by_uri.write_bytes(uri, b"1"),
        "write_once": lambda: by_uri.write_once(uri, b"1"),
    }
    errors = []
    for verb, question in questions.items():
        try:
            answer = question()
        except MissingFileError:
            pytest.fail(f"{verb} calls a file missing that it could not ask for")
        except StorageError as err:
            errors.append(err)
        else:
            pytest.fail(f"{verb} answered {answer!r} though it could not ask")
    return errors


def other_store(uri: str) -> Store:
    """Another store of the same scheme, as another process has."""
    return cast("Callable[[str], Store]", type(asking.store_for(uri)))(scheme_of(uri) or "file")


@contextmanager
def _in_the_background(act: Callable[[int], object]) -> Iterator[None]:
    """Does something again and again until the block ends; what it raises is raised then."""
    has_ended = threading.Event()

    def work() -> None:
        turn = 0
        while not has_ended.is_set():
            act(turn)
            turn += 1

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            yield
        finally:
            has_ended.set()
        future.result()
