"""The manifests of a store in few objects: `.rv/index/<command>/<who>.jsonl`, so that a plan reads none of them singly.

An entry is evidence only as long as the listing shows its manifest with the very ETag and size that it was put with. What
is not listed so, and whatever an index does not hold, is read from the manifest itself. Nothing depends on an index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rv_core.errors import StorageError

if TYPE_CHECKING:
    from rv_core.files.local import FileInfo

INDEX_FOLDER = ".rv/index"
_FORMAT = 1
#: So few manifests are read as fast as an index.
_MIN_ENTRIES = 16
#: More parts than these are made one.
_MAX_PARTS = 4


def write(root_uri: str, command: str, who: str, manifests: Mapping[str, tuple[bytes, str]]) -> None:
    """Leave the manifests that a task has put.

    Args:
        root_uri: a root in a store.
        command: their command.
        who: names the task and which part of its manifests this is, and no other one.
        manifests: name relative to the root -> (content, ETag).

    Raises:
        StorageError: if it cannot be written.
    """
    if len(manifests) < _MIN_ENTRIES:
        return
    from rv_core.files import by_uri, uris

    entries = (
        {"name": name.rpartition("/")[2], "etag": etag, "text": text.decode()}
        for name, (text, etag) in manifests.items()
    )
    by_uri.write_bytes(uris.join(root_uri, INDEX_FOLDER, command, f"{who}.jsonl"), _to_text(command, entries))


def known_texts(root_uri: str, listed: Mapping[str, FileInfo]) -> dict[str, str]:
    """The content of manifests that indexes hold and the listing confirms, by name below the folder of all manifests.

    Args:
        root_uri: a root in a store.
        listed: what the listing of that folder shows.
    """
    if len(listed) < _MIN_ENTRIES:
        return {}
    from rv_core.files import by_uri, uris

    folder = uris.join(root_uri, INDEX_FOLDER)
    commands = {name.partition("/")[0] for name in listed}
    try:
        parts = [name for name in by_uri.list_files(folder) if name.partition("/")[0] in commands]
        texts = by_uri.read_many([uris.join(folder, name) for name in parts])
    except StorageError:  # whoever reads the manifests says what is wrong with the store
        return {}
    known: dict[str, str] = {}
    for name in parts:
        command = name.partition("/")[0]
        for entry in _confirmed(_entries(texts.get(uris.join(folder, name), b""), command), command, listed):
            known[f"{command}/{entry['name']}"] = entry["text"]
    return known


def put_together(root_uri: str, commands: Iterable[str]) -> None:
    """Make one index of many, and drop what the listing no longer confirms; for whoever has the root.

    Raises:
        StorageError: if the store cannot be asked or written to.
    """
    from rv_core.files import by_uri, uris

    folder = uris.join(root_uri, INDEX_FOLDER)
    there = list(by_uri.list_files(folder))
    for command in commands:
        parts = [uris.join(folder, name) for name in there if name.startswith(f"{command}/")]
        if len(parts) <= _MAX_PARTS:
            continue
        done = by_uri.list_files(uris.join(root_uri, ".rv/done", command))
        listed = {f"{command}/{name}": info for name, info in done.items()}
        kept: dict[str, Mapping[str, Any]] = {}
        for text in by_uri.read_many(parts).values():
            kept.update({entry["name"]: entry for entry in _confirmed(_entries(text, command), command, listed)})
        whole = _to_text(command, [kept[name] for name in sorted(kept)])
        target = uris.join(folder, command, f"all-{hashlib.sha256(whole).hexdigest()[:16]}.jsonl")
        by_uri.write_bytes(target, whole)
        for part in parts:
            if part != target:
                by_uri.delete(part)


def _to_text(command: str, entries: Iterable[Mapping[str, Any]]) -> bytes:
    lines = [json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in entries]
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    header = {"format": _FORMAT, "command": command, "sha256": digest.hexdigest()}
    return b"".join([json.dumps(header).encode() + b"\n", *lines])


def _entries(text: bytes, command: str) -> list[Any]:
    """The entries of an index; none of one that is cut, edited, of another command or of another make."""
    first, _, body = text.partition(b"\n")
    try:
        header = json.loads(first)
        if header["format"] != _FORMAT or header["command"] != command:
            return []
        if header["sha256"] != hashlib.sha256(body).hexdigest():
            return []
        return [json.loads(line) for line in body.splitlines()]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _confirmed(entries: Iterable[Any], command: str, listed: Mapping[str, FileInfo]) -> list[Mapping[str, Any]]:
    """The entries whose manifest is listed as it was put."""
    confirmed: list[Mapping[str, Any]] = []
    for entry in entries:
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(part), str) for part in ("name", "etag", "text")
        ):
            continue
        info = listed.get(f"{command}/{entry['name']}")
        size = len(entry["text"].encode("utf-8", "surrogatepass"))
        if info is not None and entry["etag"] and (info.etag, info.size) == (entry["etag"], size):
            confirmed.append(entry)
    return confirmed
