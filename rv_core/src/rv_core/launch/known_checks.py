"""Deep checks that were made before: where nothing has changed that could change the answer, it is not asked for again.

Only a cache in the user's folder. Its key covers all that an answer depends on, what cannot be read whole is not there,
and an error is never kept: it is looked for anew until it is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple

from rv_core.errors import Finding, RvError, StorageError
from rv_core.files import local
from rv_core.files.fingerprints import ContentHashes, fingerprint_many
from rv_core.machine.folders import cache_folder, cache_subfolder
from rv_core.pipeline.overrides import method_of
from rv_core.pipeline.pipeline import Pipeline
from rv_core.plan.decisions import CommandPlan
from rv_core.plan.items import input_uris
from rv_core.version import __version__

Todo = Mapping[str, Sequence[str]]

_FOLDER = "checks"
_FORMAT = 1
#: Whatever else an answer may depend on, such as a library of the system, it is asked for again after a week.
_MAX_AGE_S = 7 * 86_400
_MAX_CHECKS, _MAX_FILES = 16, 200
#: Variables that what opens images and vector files, and what finds modules, look at.
_VARIABLES = re.compile(
    r"(GDAL|CPL|OGR|OSR|PROJ|VSI|GTIFF|RASTERIO|AWS|AZURE|GS|GOOGLE|CURL|SSL|RV|PYTHON|LD|HTTPS?|NO|ALL)_.*"
    r"|PYTHON\w*|https?_proxy|no_proxy|all_proxy|HOME|PATH",
)
_REFERENCE = re.compile(r"\$\{(\w+)\}")


class Subject(NamedTuple):
    """What a deep check would look at.

    Args:
        key: the digest of all that its answer depends on, but for what is to do.
        pipeline: the pipeline.
        tokens: URI -> fingerprint of every input, as it was planned with.
    """

    key: str
    pipeline: Pipeline
    tokens: Mapping[str, str]


def subject_of(
    pipeline: Pipeline,
    commands: Iterable[CommandPlan],
    config_text: str,
    code_archive: bytes = b"",
    path: Sequence[str] = (),
) -> Subject | None:
    """What the deep check of a pipeline looks at; None where it may depend on more than is known.

    Args:
        pipeline: the pipeline.
        commands: all of its commands, as planned.
        config_text: its saved config.
        code_archive: the zip of the code that travels.
        path: folders that the check imports from besides.
    """
    ignored = _ignored(pipeline)
    if ignored is None:
        return None
    tokens = _tokens(pipeline, commands)
    # Of a file that a server tells no more of than its size, a change may go unseen.
    if any(token.startswith("size:") for token in tokens.values()):
        return None
    sources = _state_of_sources(pipeline)
    if sources is None:
        return None
    parts = {
        "format": _FORMAT,
        "check": pipeline.deep_check,
        "rv": __version__,
        "python": [sys.version, sys.executable, sys.platform],
        "installed": _state_of_installed(),
        "sources": sources,
        "config": _without(json.loads(config_text), ("root_uri", "name", *ignored)),
        "facts": {name: dict(method_of(pipeline, "facts")(name)) for name in type(pipeline).commands()},
        "code": hashlib.sha256(code_archive).hexdigest(),
        "path": list(path),
        "environ": _environ(config_text),
        "inputs": tokens,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return Subject(hashlib.sha256(text.encode()).hexdigest(), pipeline, tokens)


def findings_before(subject: Subject, todo: Todo) -> list[Finding] | None:
    """What the check has found when it was made of the same, or nothing where it found nothing in more; else None."""
    asked = _sets_of(todo)
    checks = _load(subject.key)
    for check in reversed(checks):
        if _sets_of(check["todo"]) == asked:
            return [Finding(**entry) for entry in check["findings"]]
    is_clean = any(not check["findings"] and _covers(_sets_of(check["todo"]), asked) for check in checks)
    return [] if is_clean else None


def remember(subject: Subject, todo: Todo, findings: Sequence[Finding]) -> None:
    """Keep what a check has found, unless that is an error, or an input is not what the key says any more."""
    if any(finding.severity == "error" for finding in findings) or not _is_as_planned(subject):
        return
    asked = _sets_of(todo)
    others = [check for check in _load(subject.key) if _sets_of(check["todo"]) != asked]
    made = {
        "todo": {command: sorted(ids) for command, ids in asked.items()},
        "findings": [finding.to_json() for finding in findings],
        "made": time.time(),
    }
    checks = [*others, made][-_MAX_CHECKS:]
    content = {"format": _FORMAT, "key": subject.key, "checks": checks, "sha256": _digest(checks)}
    try:
        folder = cache_subfolder(_FOLDER)
        local.write(str(folder / f"{subject.key}.json"), json.dumps(content).encode(), is_synced=False)
        _remove_oldest(str(folder))
    except (StorageError, OSError):  # the check will be made again, which costs time and nothing else
        return


def _ignored(pipeline: Pipeline) -> tuple[str, ...] | None:
    """What the pipeline declares; nothing where a class derived from the one that declares it has another check."""
    for cls in type(pipeline).__mro__:
        if "deep_check_ignores" in vars(cls):
            return pipeline.deep_check_ignores
        if "deep_check" in vars(cls):
            return None
    return None


def _tokens(pipeline: Pipeline, commands: Iterable[CommandPlan]) -> dict[str, str]:
    """URI -> fingerprint of all inputs; what lies under the root is named in full."""
    root = pipeline.config.root_uri
    tokens: dict[str, str] = {}
    for entry in commands:
        taken = (one.item for one in entry.taken)
        items = (*entry.to_do, *entry.done, *taken, *entry.shared_items)
        for inputs in (entry.parts.inputs, *(item.inputs for item in items)):
            tokens |= inputs
    return {f"{root}/{uri[2:]}" if uri.startswith("./") else uri: token for uri, token in tokens.items()}


def _is_as_planned(subject: Subject) -> bool:
    """Whether the inputs have stayed as they were while the check looked at them."""
    pipeline = subject.pipeline
    try:
        wanted = input_uris(pipeline, type(pipeline).commands().values())
        found = fingerprint_many(wanted, ContentHashes.of_root(pipeline.config.root_uri))
    except RvError:
        return False
    return {uri: fingerprint.token for uri, fingerprint in found.items()} == subject.tokens


def _environ(config_text: str) -> dict[str, str | None]:
    """The variables that the config names and those that decide how files are opened."""
    named = {name: os.environ.get(name) for name in _REFERENCE.findall(config_text)}
    return named | {name: value for name, value in os.environ.items() if _VARIABLES.fullmatch(name)}


def _without(saved: dict[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    """A saved config without some (dotted) fields."""
    for field_path in ignored:
        *parents, last = field_path.split(".")
        inner = saved["config"]
        for name in parents:
            inner = inner.get(name) or {}
        inner.pop(last, None)
    return saved


def _state_of_installed() -> list[Any]:
    """What is installed, by the names and times of what installers leave; nothing of it is read."""
    found: list[Any] = []
    for folder in dict.fromkeys(sys.path):
        try:
            with os.scandir(folder or ".") as entries:
                marks = [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info", ".pth"))]
                found.append([folder, sorted((entry.name, entry.stat().st_mtime_ns) for entry in marks)])
        except OSError:  # a zip, or nothing at all
            found.append([folder, _times_of(folder)])
    return [*found, _times_of(os.path.join(sys.prefix, "conda-meta"))]


def _state_of_sources(pipeline: Pipeline) -> list[Any] | None:
    """Names, sizes and times of the core's files and of those of the packages that a pipeline is made of."""
    classes = (*type(pipeline).__mro__, *type(pipeline.config).__mro__)
    modules = {cls.__module__ for cls in classes} | {pipeline.deep_check.partition(":")[0], __name__}
    found = []
    for name in sorted({module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names)):
        try:
            spec = find_spec(name)
        except (ImportError, ValueError):
            return None
        if spec is None or not (spec.submodule_search_locations or spec.origin):
            return None
        places = list(spec.submodule_search_locations or [str(spec.origin)])
        found.append([name, [[place, sorted(_files_in(place))] for place in places]])
    return found


def _files_in(place: str) -> Iterator[tuple[str, list[int] | None]]:
    if not os.path.isdir(place):
        yield place, _times_of(place)
        return
    for folder, subfolders, names in os.walk(place):
        subfolders[:] = [name for name in subfolders if name != "__pycache__"]
        for name in names:
            path = os.path.join(folder, name)
            yield path, _times_of(path)


def _times_of(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _sets_of(todo: Todo) -> dict[str, set[str]]:
    return {command: set(ids) for command, ids in todo.items() if ids}


def _covers(more: Mapping[str, set[str]], less: Mapping[str, set[str]]) -> bool:
    return all(ids <= more.get(command, set()) for command, ids in less.items())


def _digest(checks: Any) -> str:
    return hashlib.sha256(json.dumps(checks, sort_keys=True).encode()).hexdigest()


def _load(key: str) -> list[dict[str, Any]]:
    """The checks that were made under a key; none where the file is not whole, of another key or of another make."""
    try:
        content = json.loads((cache_folder() / _FOLDER / f"{key}.json").read_bytes())
        checks = content["checks"]
        if content["format"] != _FORMAT or content["key"] != key or content["sha256"] != _digest(checks):
            return []
        return [check for check in checks if 0 <= time.time() - check["made"] < _MAX_AGE_S]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, StorageError):
        return []


def _remove_oldest(folder: str) -> None:
    with os.scandir(folder) as entries:
        files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".json"))
    for _, path in files[: max(0, len(files) - _MAX_FILES)]:
        os.unlink(path)
