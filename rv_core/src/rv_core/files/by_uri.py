"""Bytes and files by URI: the one way in which rv reads, writes and lists small files, local or remote.

The functions take any URI; `${NAME}` in it is filled in from the environment when it is opened, and never shown in a
message. Local files never import fsspec. Every write is whole or not at all. "It is not there" (None, False,
`MissingFileError`) and "could not ask" (`StorageError`) are never mixed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rv_core.errors import StorageError
from rv_core.files import local, problems, uris
from rv_core.files.local import FileInfo
from rv_core.files.problems import MissingFileError
from rv_core.files.stores import LocalStore, Store, path_of, refuse_links_out
from rv_core.machine import folders

_Answer = TypeVar("_Answer")

#: Local files are asked at once: what they raise is explained already.
_LOCAL = LocalStore()


def stat(uri: str) -> FileInfo | None:
    """Size, time and ETag of a file; None if there is none (a folder is none).

    Raises:
        StorageError: if the store cannot be asked.
    """
    return _ask("look at", uri, lambda store, opened: store.stat(opened))


def exists(uri: str) -> bool:
    """Whether there is a file at this URI. A folder is none: an object store has no folders.

    Raises:
        StorageError: if the store cannot be asked.
    """
    return stat(uri) is not None


def read_bytes(uri: str) -> bytes:
    """The whole file.

    Raises:
        MissingFileError: if it is not there.
        StorageError: if it cannot be read.
    """
    return _ask("read", uri, lambda store, opened: store.read(opened))


def read_range(uri: str, start: int, end: int) -> bytes | None:
    """The bytes of a file from `start` to before `end`, fewer where it ends before; None where its store reads no parts.

    Raises:
        MissingFileError: if it is not there.
        StorageError: if it cannot be read.
    """
    return _ask("read", uri, lambda store, opened: store.read_range(opened, start, end))


def read_starts(uris_to_read: Iterable[str], num_bytes: int) -> dict[str, bytes]:
    """The first bytes of many files by URI, asked at the same time where they are remote.

    Missing ones, and those of stores that read no parts, are left out.

    Raises:
        StorageError: if any of them cannot be read, with a finding for each.
    """
    found = _many(uris_to_read, lambda uri: read_range(uri, 0, num_bytes))
    return {uri: data for uri, data in found.items() if data is not None}


def read_text(uri: str, *, may_be_pipe: bool = False) -> str:
    """The whole file as UTF-8 text; one that the user has named may be a pipe.

    Raises:
        MissingFileError: if it is not there.
        StorageError: if it cannot be read or is not UTF-8.
    """
    return _decode(_ask("read", uri, _read_named) if may_be_pipe else read_bytes(uri), uri)


def _read_named(store: Store, opened: str) -> bytes:
    return local.read(path_of(opened), may_be_pipe=True) if store is _LOCAL else store.read(opened)


def write_bytes(uri: str, data: bytes, *, attempt_tag: str = "", is_synced: bool = True) -> str | None:
    """Puts a file in place, whole; folders are created. The ETag of exactly this content, where a store tells it.

    Args:
        uri: the target; what is there is replaced.
        data: its content.
        attempt_tag: enters the name of the temporary file beside a local one.
        is_synced: wait until a local file is on the disk. Only for what may be lost in a power cut can this be left
            out.

    Raises:
        StorageError: if it cannot be written. The target is then what it was before.
    """
    with opened_uri(uri) as opened:
        if uris.is_local(opened):
            refuse_links_out(path_of(opened))
            local.write(path_of(opened), data, attempt_tag=attempt_tag, is_synced=is_synced)
            return None
        from rv_core.files import asking

        return asking.ask("write", opened, lambda store: store.write(opened, data))


def write_once(uri: str, data: bytes) -> bool:
    """Creates a file that nobody has created yet; False (and nothing changed) if it is there.

    Of several writers at once exactly one gets True: locally by a hard link, on S3 by a conditional put. Where a store
    has no conditional put, its plugin's check-then-put is used, and two writers in the same instant may both get True.
    An answer that is lost on the way and asked again comes back as False although the content is this writer's own.

    Raises:
        StorageError: if it cannot be written.
    """
    return _change("write", uri, lambda store, opened: store.write_once(opened, data))


def delete(uri: str) -> None:
    """Removes a file; one that is not there is fine.

    Raises:
        StorageError: if it cannot be removed.
    """
    _change("delete", uri, lambda store, opened: store.delete(opened))


def swap(uri: str, old: bytes, new: bytes | None) -> bool:
    """Replaces a file whose content is `old` by `new`; False (and nothing changed) if it holds something else by now.

    Of several processes at once exactly one gets True: locally by a lock of the file itself, on S3 by a put on the
    condition of its ETag, elsewhere as far as `write_once` of the store goes. An answer that is lost on the way and
    asked again comes back as False although the content is this writer's own.

    Args:
        uri: the file.
        old: what it is known to hold.
        new: what it is to hold; None removes it (a store that cannot do so on a condition leaves an empty line).

    Raises:
        StorageError: if it cannot be read or written.
    """
    return _change("replace", uri, lambda store, opened: store.swap(opened, old, new), is_followed=True)


def list_files(uri_prefix: str) -> dict[str, FileInfo]:
    """Every file below a folder, by its path relative to it, from one recursive listing; {} if there is none.

    Files that are being written (`.<name>.<tag>.tmp`) are left out.

    Raises:
        StorageError: if the store cannot be asked, or cannot list (http).
    """
    return _ask("list", uri_prefix, lambda store, opened: store.list_files(opened))


def read_many(uris_to_read: Iterable[str]) -> dict[str, bytes]:
    """The files by URI, read at the same time where they are remote; missing ones are left out.

    Raises:
        StorageError: if any of them cannot be read, with a finding for each.
    """
    return _many(uris_to_read, read_bytes)


def stat_many(uris_to_ask: Iterable[str]) -> dict[str, FileInfo]:
    """`stat` of many URIs, asked at the same time where they are remote; missing ones are left out.

    Raises:
        StorageError: if any store cannot be asked, with a finding for each URI.
    """
    return {uri: info for uri, info in _many(uris_to_ask, stat).items() if info is not None}


def digest(uri: str) -> tuple[int, str]:
    """(bytes, SHA-256 in hexadecimal) of a file, as it is now and without holding it in memory.

    Raises:
        MissingFileError: if it is not there.
        StorageError: if it cannot be read.
    """
    with opened_uri(uri) as opened:
        if uris.is_local(opened):
            with problems.explained("read", opened):
                return local.digest(str(_existing_path(path_of(opened), opened)))
        from rv_core.files import asking

        # Not the cache: it tells what a file holds by what the store says of it.
        target = str(folders.scratch_folder() / uris.name_of(opened))
        with local.temporary_file(target, "digest") as temporary:
            asking.ask("read", opened, lambda store: asking.download_anew(store, opened, temporary))
            return local.digest(temporary)


def digest_many(uris_to_read: Iterable[str]) -> dict[str, tuple[int, str]]:
    """`digest` of many URIs, read at the same time where they are remote; missing ones are left out.

    Raises:
        StorageError: if any of them cannot be read, with a finding for each.
    """
    return _many(uris_to_read, digest)


def local_copy(uri: str) -> Path:
    """A local path to read a file from: its own, or for a remote one a checked copy in the user's cache.

    The copy is compared with the store (ETag or time, and size) on every call, downloaded once by parallel processes,
    and never evicted while this process lives. It must not be changed.

    Raises:
        MissingFileError: if the file is not there.
        StorageError: if it cannot be read.
    """
    with opened_uri(uri) as opened:
        if uris.is_local(opened):
            return _existing_path(path_of(opened), uri)
        from rv_core.files import download_cache

        return download_cache.fetch(opened)


def sweep_temporary(root_uri: str, *, elsewhere_too: bool) -> int:
    """Removes what killed processes have left half-written below a local root; how many files.

    Remote stores keep no half-written files (a bucket should have a rule that aborts old multipart uploads).

    Args:
        root_uri: the root.
        elsewhere_too: see `machine.folders.sweep_temporary`.
    """
    with opened_uri(root_uri) as opened:
        return folders.sweep_temporary(path_of(opened), elsewhere_too=elsewhere_too) if uris.is_local(opened) else 0


def refuse_redirect(uri: str) -> None:
    """Ask a web server for a file that others (GDAL) will read: they must not be sent on to another host.

    Raises:
        StorageError: if they are, or a signature is refused. Whatever else goes wrong is left to who reads the file.
    """
    with opened_uri(uri) as opened:
        if uris.scheme_of(opened) not in ("http", "https"):
            return
        from http.client import HTTPException

        from rv_core.files.asking import store_for

        store = store_for(opened)
        try:
            store.stat(opened)
        except (OSError, ValueError, HTTPException) as err:
            if own := store.explain(err, f"cannot open {uris.name_of(opened)}", opened):
                raise own from None


def _change(action: str, uri: str, question: Callable[[Store, str], _Answer], *, is_followed: bool = False) -> _Answer:
    def guarded(store: Store, opened: str) -> _Answer:
        if store is _LOCAL:
            refuse_links_out(path_of(opened), is_followed=is_followed)
        return question(store, opened)

    return _ask(action, uri, guarded)


def _ask(action: str, uri: str, question: Callable[[Store, str], _Answer]) -> _Answer:
    """What the store of a URI answers when it is asked about it, variables filled in."""
    with opened_uri(uri) as opened:
        if uris.is_local(opened):
            return question(_LOCAL, opened)
        from rv_core.files import asking

        return asking.ask(action, opened, lambda store: question(store, opened))


@contextmanager
def opened_uri(uri: str) -> Iterator[str]:
    """The URI with its variables filled in; errors inside the block show it as it was written.

    A password in it is hidden in whatever is printed or written from now on: libraries quote it in their messages.
    """
    opened = uris.expand(uri)
    if secrets := uris.secrets_in(opened):
        from rv_core.redaction import register_secret

        for secret in secrets:
            register_secret(secret)
    try:
        yield opened
    except StorageError as err:
        concealed = _concealed(err, uri)
        if concealed is None:
            raise
        # Without its cause: that one shows what the variables hold.
        raise concealed from None


def _concealed(err: StorageError, uri: str) -> StorageError | None:
    block = err.block
    texts = (block.what, block.where, block.why, block.fix)
    what, where, why, fix = (uris.conceal(text, uri) for text in texts)
    is_same = (what, where, why, fix) == texts
    return None if is_same else type(err)(what, where=where, why=why, fix=fix, findings=block.findings)


def _existing_path(path: str, uri: str) -> Path:
    if local.stat(path) is None:
        raise problems.missing(uri, path)
    return Path(path)


def _decode(data: bytes, uri: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise StorageError("the file is not UTF-8 text", where=uri, why=str(err)) from err


def _many(wanted: Iterable[str], question: Callable[[str], _Answer]) -> dict[str, _Answer]:
    answers: dict[str, _Answer] = {}
    errors: dict[str, StorageError] = {}
    remote: list[str] = []
    for uri in dict.fromkeys(wanted):
        if not uris.is_local(uris.expand(uri)):
            remote.append(uri)
            continue
        try:
            answers[uri] = question(uri)
        except MissingFileError:
            continue
        except StorageError as err:
            errors[uri] = err
    if errors or remote:
        from rv_core.files import asking
    if errors:
        raise asking.all_of(errors)
    if remote:
        answers.update(asking.ask_many(question, remote))
    return answers
