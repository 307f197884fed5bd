"""`Storage`: the files below one root, by name relative to it. Files of any URI are in `by_uri`."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rv_core.errors import StorageError
from rv_core.files import by_uri, local, uris
from rv_core.files.local import FileInfo
from rv_core.files.problems import missing
from rv_core.files.stores import path_of
from rv_core.machine.folders import is_temporary


class FileOutput(NamedTuple):
    """A file that a task has written.

    Args:
        path: its name relative to the root.
        bytes: its size.
        sha256: the hash of its content, in hexadecimal.
        may_change: whether it counts as long as it is there, whatever others write into it.
    """

    path: str
    bytes: int
    sha256: str
    may_change: bool = False


class Storage:
    """The files below one root, by relative name. Names with `..` and links that leave the root are refused.

    Args:
        root_uri: local or remote.
        attempt_tag: enters the names of temporary files, so that two copies of one task share none.
        reserved: names, of files and folders in the root, that are neither written nor deleted.
        on_output: called with the name before the first byte of an output is written.
        on_placing: called with the name when `output_file` has all of an output and is about to put it in place.
        on_written: called with the name and its `FileOutput` when the output is in place.
        on_bytes: called with an output that is held in memory, in place of the others; True where it is put in place by
            whoever was called, now or later.
        on_look: called before anything below the root is looked at.
    """

    def __init__(
        self,
        root_uri: str,
        *,
        attempt_tag: str = "",
        reserved: Collection[str] = (),
        on_output: Callable[[str], object] | None = None,
        on_placing: Callable[[str], object] | None = None,
        on_written: Callable[[str, FileOutput], object] | None = None,
        on_bytes: Callable[[FileOutput, bytes], bool] | None = None,
        on_look: Callable[[], object] | None = None,
    ) -> None:
        self.root_uri = root_uri
        self.attempt_tag = attempt_tag
        self.reserved = reserved
        self.on_output = on_output
        self.on_placing = on_placing
        self.on_written = on_written
        self.on_bytes = on_bytes
        self.on_look = on_look

    def uri(self, name: str) -> str:
        """The URI of a name; what has been written is in place when this returns, whoever opens it.

        Raises:
            StorageError: if the name is not a plain relative one, or what was written cannot be put in place.
        """
        self._look()
        return uris.join(self.root_uri, name)

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return by_uri.exists(self._readable(name))

    def read_bytes(self, name: str) -> bytes:
        """The whole file.

        Raises:
            MissingFileError: if it is not there.
            StorageError: if it cannot be read, or is a link that leaves the root.
        """
        return by_uri.read_bytes(self._readable(name))

    def read_text(self, name: str) -> str:
        """The whole file as UTF-8 text; errors as for `read_bytes`, and if it is not UTF-8."""
        return by_uri.read_text(self._readable(name))

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """Whole files by name, read at the same time where the root is in a store.

        Raises:
            MissingFileError: if one of them is not there.
            StorageError: if one cannot be read, or is a link that leaves the root.
        """
        wanted = {self._readable(name): name for name in names}
        found = by_uri.read_many(wanted)
        if absent := [uri for uri in wanted if uri not in found]:
            raise missing(absent[0])
        return {name: found[uri] for uri, name in wanted.items()}

    def write_bytes(self, name: str, data: bytes, *, may_change: bool = False) -> None:
        """Puts an output in place, whole; in a store at the latest when the item is done, or when it is looked for here.

        Args:
            name: its name.
            data: its content.
            may_change: whether other programs may write into it, as a viewer does into the description of an image: it
                then counts for as long as it is there.

        Raises:
            StorageError: if it cannot be written, or would leave the root.
        """
        uri = self._writable(name)
        output = FileOutput(name, len(data), hashlib.sha256(data).hexdigest(), may_change)
        if self.on_bytes is not None and self.on_bytes(output, data):
            return
        self._announce(name)
        by_uri.write_bytes(uri, data, attempt_tag=self.attempt_tag)
        self._record(output)

    def write_text(self, name: str, text: str, *, may_change: bool = False) -> None:
        """Puts UTF-8 text in place, whole; arguments and errors as for `write_bytes`."""
        self.write_bytes(name, text.encode("utf-8"), may_change=may_change)

    def delete(self, name: str) -> None:
        """Removes a file; one that is not there is fine."""
        uri = self._writable(name)
        self._look()
        by_uri.delete(uri)

    def list_files(self, name: str = "") -> dict[str, FileInfo]:
        """Every file below a folder of the root ("" for the root), by its path relative to that folder."""
        if not name:
            self._look()
        return by_uri.list_files(self._readable(name) if name else self.root_uri)

    def input_file(self, name: str) -> Path:
        """A local path to read a file from: its own, or for a remote root a checked copy in the cache.

        Raises:
            MissingFileError: if it is not there.
            StorageError: if it cannot be read, or is a link that leaves the root.
        """
        return by_uri.local_copy(self._readable(name))

    @contextmanager
    def output_file(self, name: str) -> Iterator[Path]:
        """A local path to write an output to. It is put in place at the end of the block, or not at all.

        The path is new and must be written as it is; files that a library puts beside it are removed.

        Raises:
            StorageError: if nothing was written to the path, or it cannot be put in place, or the disk is full.
        """
        from rv_core.files import outputs

        uri = self._writable(name)
        self._look()
        self._announce(name)
        with by_uri.opened_uri(uri) as opened:
            if uris.is_local(opened):
                pending = outputs.local_output(path_of(opened), self.attempt_tag)
            else:
                pending = outputs.remote_output(opened)
            with pending as output:
                yield output.path
                if self.on_placing is not None:
                    self.on_placing(name)
        self._record(FileOutput(name, output.bytes, output.sha256))

    @contextmanager
    def copied(self, source_uri: str, recorded: FileOutput) -> Iterator[Callable[[], None]]:
        """Makes a checked copy of a file from elsewhere aside, and gives what puts it in place as an output.

        Args:
            source_uri: the file; nothing is changed there.
            recorded: what it must be, and the name that it gets. One that others may write into is taken as it is.

        Raises:
            UnusableSourceError: if the file cannot be read, or is not as recorded.
            StorageError: if the copy cannot be written.
        """
        from rv_core.files import outputs

        uri = self._writable(recorded.path)
        expected = None if recorded.may_change else (recorded.bytes, recorded.sha256)
        with outputs.checked_copy(source_uri, uri, expected, self.attempt_tag) as place:

            def put() -> None:
                self._look()
                self._announce(recorded.path)
                self._record(FileOutput(recorded.path, *place(), recorded.may_change))

            yield put

    def _announce(self, name: str) -> None:
        if self.on_output is not None:
            self.on_output(name)

    def _record(self, output: FileOutput) -> None:
        if self.on_written is not None:
            self.on_written(output.path, output)

    def _look(self) -> None:
        if self.on_look is not None:
            self.on_look()

    def _readable(self, name: str) -> str:
        uri = self.uri(name)
        self._refuse_leaving(name, len(name.split("/")))
        return uri

    def _writable(self, name: str) -> str:
        uri = uris.join(self.root_uri, name)
        parts = name.split("/")
        if is_temporary(parts[-1]):
            raise StorageError(f"refused name {name!r}", why="this is how half-written files are named")
        if parts[0] in self.reserved:
            raise StorageError(f"refused name {name!r}", why="the record of runs is kept there", fix="use another name")
        # A target that is itself a link is replaced, not followed.
        self._refuse_leaving(name, len(parts) - 1)
        return uri

    def _refuse_leaving(self, name: str, num_parts: int) -> None:
        root = uris.expand(self.root_uri)
        if uris.is_local(root) and local.leaves_folder(path_of(root), name.split("/")[:num_parts]):
            raise StorageError(
                f"refused {name!r}: a link on the way leaves the root",
                where=self.root_uri,
                fix="put the real file or folder there",
            )
