"""Compares every digest that is recorded under a root with what lies there, as `git fsck` does for a repository.

Recorded are the outputs that manifests name, the archives of code by their names, and the files of a run's record that
are written once. Files are compared as they are found, a batch at a time: memory does not grow with their number or
size.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from rv_core.errors import StorageError
from rv_core.files import by_uri, local, uris
from rv_core.files.stores import path_of
from rv_core.plan.manifests import DONE_FOLDER, read_manifest
from rv_core.record.layout import RUNS_FOLDER, RunPaths
from rv_core.record.reading import known_run_ids, no_run_error
from rv_core.record.run_record import RunRecord

_CODE_FOLDER = ".rv/code"
_CODE_NAME = re.compile(r"([0-9a-f]{64})\.zip")
#: Files that are read at the same time from a store, and that a batch holds.
_BATCH = 64


class Comparison(NamedTuple):
    """What came of looking at one file.

    Args:
        path: the file, by name relative to the root.
        problem: how it differs from what is recorded; "" if it does not.
        recorded_in: the file that tells what it should be, by name relative to the root; "" where that is its own name
            or its own content.
    """

    path: str
    problem: str
    recorded_in: str = ""


class _Recorded(NamedTuple):
    path: str
    sha256: str
    size: int | None
    recorded_in: str


def verify(root_uri: str) -> Iterator[Comparison]:
    """Look at every file of which a digest is recorded under a root, and at the files that record them.

    Args:
        root_uri: an absolute root.

    Raises:
        UsageError: if nothing is recorded there.
        StorageError: if the store cannot be asked.
    """
    run_ids = known_run_ids(root_uri)
    manifests = sorted(n for n in by_uri.list_files(uris.join(root_uri, DONE_FOLDER)) if n.endswith(".json"))
    if not (run_ids or manifests):
        raise no_run_error(root_uri)
    wanted: list[_Recorded] = []
    for found in _recorded(root_uri, run_ids, manifests):
        if isinstance(found, Comparison):
            yield found
            continue
        try:
            uris.check_relative_name(found.path)
        except StorageError:
            yield Comparison(found.path, "no file below the root can have this name", found.recorded_in)
            continue
        wanted.append(found)
        if len(wanted) == _BATCH:
            yield from _compared(root_uri, wanted)
            wanted = []
    yield from _compared(root_uri, wanted)


def _recorded(root_uri: str, run_ids: list[str], manifests: list[str]) -> Iterator[_Recorded | Comparison]:
    """What should be under a root; what of the record itself is damaged, or sound, comes as a comparison."""
    yield from _of_manifests(root_uri, manifests)
    archives: dict[str, str] = {}
    for run_id in run_ids:
        yield from _of_run(root_uri, run_id, archives)
    there = {name: "" for name in by_uri.list_files(uris.join(root_uri, _CODE_FOLDER)) if _CODE_NAME.fullmatch(name)}
    for name, recorded_in in sorted({**archives, **there}.items()):
        yield _Recorded(f"{_CODE_FOLDER}/{name}", name.removesuffix(".zip"), None, recorded_in)


def _of_manifests(root_uri: str, names: list[str]) -> Iterator[_Recorded | Comparison]:
    for batch in _batches(names):
        texts = by_uri.read_many([uris.join(root_uri, DONE_FOLDER, name) for name in batch])
        for name in batch:
            path = f"{DONE_FOLDER}/{name}"
            text = texts.get(uris.join(root_uri, DONE_FOLDER, name))
            if text is None:
                continue  # retired meanwhile
            try:
                manifest = read_manifest(text, name)
            except ValueError as error:
                yield Comparison(path, f"the manifest is damaged: {error}")
                continue
            yield Comparison(path, "")
            for output in manifest.outputs:
                if output.get("may_change"):
                    continue  # whatever lies there is as good
                yield _Recorded(output["path"], output["sha256"], output["bytes"], path)


def _of_run(root_uri: str, run_id: str, archives: dict[str, str]) -> Iterator[_Recorded | Comparison]:
    """The files of a run's record; the archive of its code is added to `archives`, with where that is recorded."""
    paths = RunPaths(root_uri, run_id)
    folder = f"{RUNS_FOLDER}/{run_id}"
    try:
        record = RunRecord.from_text(by_uri.read_bytes(paths.run))
    except ValueError as error:
        yield Comparison(f"{folder}/run.json", f"the record is damaged: {error}")
        return
    except StorageError as error:
        if not uris.is_local(root_uri):
            raise
        yield Comparison(f"{folder}/run.json", f"it cannot be read: {error.block.why or error.block.what}")
        return
    yield Comparison(f"{folder}/run.json", "")
    for name, sha256 in record.files.items():
        yield _Recorded(f"{folder}/{name}", sha256, None, f"{folder}/run.json")
    name = str(record.code.get("archive", "")).removeprefix(f"{_CODE_FOLDER}/")
    if _CODE_NAME.fullmatch(name):
        archives.setdefault(name, f"{folder}/run.json")


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _compared(root_uri: str, wanted: list[_Recorded]) -> Iterator[Comparison]:
    found = _found_locally if uris.is_local(root_uri) else _found_in_store
    for recorded, now in zip(wanted, found(root_uri, wanted), strict=True):
        problem = now if isinstance(now, str) else _difference(recorded, *now)
        yield Comparison(recorded.path, problem, recorded.recorded_in)


def _difference(recorded: _Recorded, size: int, sha256: str) -> str:
    if recorded.size is not None and size != recorded.size:
        return f"it has {size} bytes instead of {recorded.size}"
    if sha256 != recorded.sha256:
        return f"it has other bytes: SHA-256 {sha256[:16]}… instead of {recorded.sha256[:16]}…"
    return ""


def _found_locally(root_uri: str, wanted: list[_Recorded]) -> Iterator[tuple[int, str] | str]:
    """(size, digest) of what lies there, or why there is none."""
    root = path_of(root_uri)
    for recorded in wanted:
        path = os.path.join(root, recorded.path)
        try:
            if local.leaves_folder(root, recorded.path.split("/")):
                yield "a link on the way leaves the root"
            elif os.path.isdir(path):
                yield "it is a folder"
            elif (info := local.stat(path)) is None:
                yield "it is no file" if os.path.lexists(path) else "it is missing"
            elif recorded.size is not None and info.size != recorded.size:
                yield info.size, ""
            else:
                yield by_uri.digest(path)
        except StorageError as error:
            yield f"it cannot be read: {error.block.why or error.block.what}"


def _found_in_store(root_uri: str, wanted: list[_Recorded]) -> Iterator[tuple[int, str] | str]:
    """The same under a root that is not on this machine; sizes first, so that only what may be right is read."""
    places = [uris.join(root_uri, recorded.path) for recorded in wanted]
    infos = by_uri.stat_many(places)
    pairs = list(zip(places, wanted, strict=True))
    to_read = [uri for uri, r in pairs if uri in infos and r.size in (None, infos[uri].size)]
    digests = by_uri.digest_many(to_read)
    for uri, _ in pairs:
        yield digests.get(uri) or ((infos[uri].size, "") if uri in infos and uri not in to_read else "it is missing")
