"""Manifests: `.rv/done/<command>/<item>.<key>.json`, written last. The presence of one is what "done" means."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rv_core.errors import TaskError
from rv_core.plan.shares import WHOLE

if TYPE_CHECKING:
    from rv_core.files.storage import FileOutput

DONE_FOLDER = ".rv/done"
_SHAPE = {
    "format": range(1, 2),
    "command": str,
    "item": str,
    "key": str,
    "outputs": [{"path": str, "bytes": range(1 << 63), "sha256": str, "may_change?": bool}],
    "parts?": {"version?": object, "reads?": dict, "inputs?": dict, "requires?": dict, "item_inputs?": dict},
    "counts?": dict,
    "timings?": dict,
    "versions?": dict,
    "run_id?": str,
    "task?": str,
    "attempt?": int,
    "taken_from?": str,
}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


@lru_cache(maxsize=65536)
def item_file_name(item: str) -> str:
    """The part of a manifest's name that stands for an item: its id, or a slug and a hash of an id unfit for a file."""
    if _PLAIN_NAME.match(item):
        return item
    import hashlib

    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", item).strip("._-")[:60] or "item"
    return f"{slug}~{hashlib.sha256(item.encode()).hexdigest()[:12]}"


def manifest_file_name(item: str, key: str) -> str:
    """The name of a manifest's file, in the folder of its command."""
    return f"{item_file_name(item)}.{key}.json"


def manifest_name(command: str, item: str, key: str) -> str:
    """The manifest's name relative to the root."""
    return f"{DONE_FOLDER}/{command}/{manifest_file_name(item, key)}"


class Manifest(NamedTuple):
    """What one item produced.

    Args:
        command, item, key: which item under which key.
        outputs: `{"path" relative to the root, "bytes", "sha256"}` of every file; `"may_change": true` where others may
            write into it.
        parts: what the key was made of, for explaining a change later.
        counts: numbers that the command recorded.
        timings: started, ended (UTC), duration_s, cpu_s.
        versions: of Python and the rv packages.
        run_id, task, attempt: who wrote it.
        taken_from: the root that the outputs were taken from, with all that is said here of how they were made; "" for
            what was made in this root.
    """

    command: str
    item: str
    key: str
    outputs: tuple[Mapping[str, Any], ...] = ()
    parts: Mapping[str, Any] = {}
    counts: Mapping[str, float] = {}
    timings: Mapping[str, Any] = {}
    versions: Mapping[str, str] = {}
    run_id: str = ""
    task: str = ""
    attempt: int = 1
    taken_from: str = ""

    @property
    def name(self) -> str:
        """Its name relative to the root."""
        return manifest_name(self.command, self.item, self.key)

    def to_text(self) -> str:
        """The manifest as JSON, a line for each field."""
        # Neither `asdict`, which copies all that is in it, nor `indent`, for which Python walks through it all.
        plain = {"format": 1, **{name: getattr(self, name) for name in self._fields}}
        if not self.taken_from:
            del plain["taken_from"]
        lines = (f' "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in plain.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_text(cls, text: str | bytes) -> "Manifest":
        """Read one back.

        Raises:
            ValueError: if it is not a manifest of a known format, with what is wrong with it.
        """
        from rv_core import state_json  # most tasks read none

        plain = state_json.read(text, _SHAPE)
        for index, output in enumerate(plain["outputs"]):
            if not _is_below_the_root(output["path"]):
                raise ValueError(f"outputs[{index}].path is not a path below the root")
        known = {name: plain[name] for name in cls._fields if name in plain}
        return cls(**{**known, "outputs": tuple(plain["outputs"])})


def output_json(output: "FileOutput") -> dict[str, Any]:
    """A written file as it stands in a manifest."""
    plain = {"path": output.path, "bytes": output.bytes, "sha256": output.sha256}
    return {**plain, "may_change": True} if output.may_change else plain


class DoneState(NamedTuple):
    """The manifests under a root and the sizes of the outputs that they name; a value, so that planning is pure.

    Args:
        manifests: command -> item's file name -> key -> manifest.
        sizes: size in bytes of every output that is there, by name relative to the root.
        damaged: what is wrong with the files that should be manifests, by name relative to the root.
    """

    manifests: Mapping[str, Mapping[str, Mapping[str, Manifest]]] = {}
    sizes: Mapping[str, int] = {}
    damaged: Mapping[str, str] = {}

    def problem(self, command: str, item: str, key: str) -> str | None:
        """Why an item is not done under a key, or None if it is."""
        manifest = self.manifest(command, item, key)
        if manifest is not None:
            return output_problem(manifest, self.sizes)
        damage = self.damaged.get(manifest_name(command, item, key)) if self.damaged else None
        return f"its manifest is damaged: {damage}" if damage else "not done yet"

    def manifest(self, command: str, item: str, key: str) -> Manifest | None:
        """The manifest of an item under a key, or None if there is none."""
        return self.manifests.get(command, {}).get(item_file_name(item), {}).get(key)

    def last_parts(self, command: str, item: str) -> dict[str, Any] | None:
        """What the newest manifest of an item under any key was made of, or None if there is none."""
        others = self.manifests.get(command, {}).get(item_file_name(item), {})
        if not others:
            return None
        newest = max(others.values(), key=lambda manifest: str(manifest.timings.get("ended", "")))
        return dict(newest.parts)


def output_problem(manifest: Manifest, sizes: Mapping[str, int]) -> str | None:
    """What is wrong with the outputs that a manifest names, or None."""
    for output in manifest.outputs:
        size = sizes.get(output["path"])
        if size is None:
            return f"{output['path']} is missing"
        if size != output["bytes"] and not output.get("may_change"):
            return f"{output['path']} has {size} bytes instead of {output['bytes']}"
    return None


def read_done(root_uri: str, commands: Iterable[str]) -> DoneState:
    """Look at what is done under a root: one listing of the manifests, and one per folder of outputs."""
    from rv_core.files import by_uri, uris

    wanted = set(commands)
    there = by_uri.list_files(uris.join(root_uri, DONE_FOLDER))
    there = {name: info for name, info in there.items() if name.split("/")[0] in wanted and name.endswith(".json")}
    texts: dict[str, str | bytes] = {}
    if not uris.is_local(uris.expand(root_uri)):
        from rv_core.plan import manifest_index

        texts.update(manifest_index.known_texts(root_uri, there))
    by_place = {uris.join(root_uri, DONE_FOLDER, name): name for name in there if name not in texts}
    texts.update({by_place[place]: text for place, text in by_uri.read_many(list(by_place)).items()})
    manifests: dict[str, dict[str, dict[str, Manifest]]] = {}
    damaged: dict[str, str] = {}
    for name, text in texts.items():
        try:
            manifest = read_manifest(text, name)
        except ValueError as error:
            # A damaged manifest is no manifest: its item runs again and overwrites it.
            damaged[f"{DONE_FOLDER}/{name}"] = str(error)
            continue
        keys = manifests.setdefault(manifest.command, {}).setdefault(item_file_name(manifest.item), {})
        keys[manifest.key] = manifest
    return DoneState(manifests, _output_sizes(root_uri, manifests), damaged)


def read_manifest(text: str | bytes, name: str) -> Manifest:
    """The manifest in the content of a file.

    Args:
        text: the content.
        name: the file's name below the folder of all manifests.

    Raises:
        ValueError: if it is none, or that of another item, command or key than the file is named after.
    """
    manifest = Manifest.from_text(text)
    if manifest.name != f"{DONE_FOLDER}/{name}":
        raise ValueError("it is that of another item, command or key")
    return manifest


def manifest_at(uri: str) -> Manifest | None:
    """The manifest in a file; None where there is none, or what is there is no manifest."""
    from rv_core.files import by_uri

    try:
        return Manifest.from_text(by_uri.read_bytes(uri)) if by_uri.exists(uri) else None
    except (ValueError, KeyError, TypeError):
        return None


def _is_below_the_root(path: str) -> bool:
    return bool(path) and not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def _output_sizes(root_uri: str, manifests: Mapping[str, Any]) -> dict[str, int]:
    from rv_core.files import by_uri, uris

    outputs = [
        o["path"] for items in manifests.values() for keys in items.values() for m in keys.values() for o in m.outputs
    ]
    sizes: dict[str, int] = {}
    for folder in {path.split("/")[0] for path in outputs if "/" in path}:
        found = by_uri.list_files(uris.join(root_uri, folder))
        sizes.update({f"{folder}/{name}": info.size for name, info in found.items()})
    for path in outputs:
        if "/" not in path:
            info = by_uri.stat(uris.join(root_uri, path))
            if info is not None:
                sizes[path] = info.size
    return sizes


def done_names(root_uri: str, command: str) -> set[str]:
    """The file names of all manifests of a command: one listing, no reads."""
    from rv_core.files import by_uri, uris

    return set(by_uri.list_files(uris.join(root_uri, DONE_FOLDER, command)))


def names_of_item(names: Iterable[str], item: str) -> list[str]:
    """Those of a command's manifests, by file name, that are of an item, under whatever key."""
    prefix = f"{item_file_name(item)}."
    return [name for name in names if name.startswith(prefix) and name.count(".") == prefix.count(".") + 1]


def is_named(root_uri: str, path: str) -> bool:
    """Whether any manifest under the root names a file; every one is read."""
    from rv_core.files import by_uri, uris

    folder = uris.join(root_uri, DONE_FOLDER)
    names = [name for name in by_uri.list_files(folder) if name.endswith(".json")]
    marks = json.dumps(path, ensure_ascii=False).encode()
    return any(marks in text for text in by_uri.read_many([uris.join(folder, name) for name in names]).values())


def unmet_requirements(
    root_uri: str, record: Mapping[str, Any], record_of: Callable[[str], Mapping[str, Any]]
) -> list[str]:
    """What is not done of the jobs that a command requires, one line a job: by names of manifests, without reads."""
    problems = []
    for job in record["required_jobs"]:
        required = record_of(job)
        there = done_names(root_uri, required["command"])
        entries = [*required["items"], *required["done"]]
        missing = [e["id"] for e in entries if f"{item_file_name(e['id'])}.{e['key']}.json" not in there]
        if missing:
            names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            problems.append(f"{job} is not done" if missing == [WHOLE] else f"{job} is not done for {names}")
    return problems


def requirement_error(command: str, problems: Sequence[str]) -> TaskError:
    """The refusal to start a task whose requirements are not done."""
    return TaskError(
        f"{command} cannot start: {'; '.join(problems)}",
        why="a task starts only when every item of the jobs that it requires is done",
        fix="run the whole plan again; a runner that starts tasks before their requirements is faulty",
    )


def manifests_missing(root_uri: str, command: str, entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of planned items that have no manifest under their key: one listing."""
    there = done_names(root_uri, command)
    return [e["id"] for e in entries if manifest_name(command, e["id"], e["key"]).rsplit("/", 1)[1] not in there]
