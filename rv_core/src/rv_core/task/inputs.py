"""What a task is given and reads before it begins: its share, record, config and code; and whether it may begin at all.

And whether that still holds while it works: the root is this run's.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rv_core.errors import StorageError, UsageError, unknown_name
from rv_core.files import uris
from rv_core.plan.manifests import requirement_error, unmet_requirements

if TYPE_CHECKING:
    from rv_core.pipeline.pipeline import Pipeline
    from rv_core.record.layout import RunPaths
    from rv_core.record.root_watch import RootWatch

_Answer = TypeVar("_Answer")
#: Pauses before a file in a store that ought to be there is called missing.
PATIENCE_S = (0.2, 0.5, 1.0, 2.0)


def when_written(uri: str, read: Callable[[], _Answer]) -> _Answer:
    """What a read says of a file that was written before this task was started: some stores show one a moment later.

    Args:
        uri: the file.
        read: reads it.

    Raises:
        MissingFileError: if it is not there after some seconds either.
    """
    from rv_core.files.problems import MissingFileError

    for pause_s in () if uris.is_local(uri) else PATIENCE_S:
        try:
            return read()
        except MissingFileError:
            time.sleep(pause_s)
    return read()


def read_written(uri: str) -> bytes:
    """A file that was written before this task was started; errors as for `when_written`."""
    from rv_core.files import by_uri

    return when_written(uri, lambda: by_uri.read_bytes(uri))


def read_record(paths: "RunPaths", command: str, config_uri: str) -> dict[str, Any]:
    """`items/<job>.json` of a command of a run.

    Args:
        paths: the run, under the pipeline's root.
        command: the command's name.
        config_uri: what was typed, for messages.

    Raises:
        UsageError: if the pipeline has no such command.
    """
    plan = _read_state(paths.plan, _is_plan, _PLAN)
    roots = {pipeline["root_uri"] for pipeline in plan["pipelines"].values()}
    if not any(uris.root_name(root) == uris.root_name(paths.root_uri) for root in roots):
        raise UsageError(
            f"this run worked under {', '.join(sorted(roots))}, and its record lies elsewhere now",
            where=config_uri,
            fix=f"start a run of the saved config there: --set root_uri={paths.root_uri}",
        )
    jobs = {
        entry["command"]: entry["job"]
        for pipeline in plan["pipelines"].values()
        if uris.root_name(pipeline["root_uri"]) == uris.root_name(paths.root_uri)
        for entry in pipeline["commands"]
    }
    if command not in jobs:
        what, fix = unknown_name("command", command, jobs)
        raise UsageError(what, where=config_uri, fix=fix)
    return _items(paths, jobs[command])


def _items(paths: "RunPaths", job: str) -> dict[str, Any]:
    return _read_state(paths.items(job), _is_items, _ITEMS)


_REQUIRED = {str: {str: str}}
_PLAN = {"pipelines": {str: {"root_uri": str, "commands": [{"command": str, "job": str}]}}}
_ITEM = {"id": str, "key": str, "group": str, "inputs": {str: str}}
_ITEMS = {
    **dict.fromkeys(("job", "command", "key"), str),
    **dict.fromkeys(("reads", "inputs", "requires"), dict),
    "version": int,
    "required_jobs": [str],
    "resources": {"gpus": range(1 << 16), "timeout_s": (int, float, type(None))},
    "items": [_ITEM],
    "done": [{"id": str, "key": str}],
    "input_states?": {str: (list, str, type(None))},
    "also_for?": {str: [str]},
}


def _read_state(uri: str, is_right: Callable[[Any], bool], shape: dict[str, Any]) -> dict[str, Any]:
    """A file of the record of a run.

    Args:
        uri: the file.
        is_right: looks at what is used of it, in one pass: every task of a plan of many items reads them all.
        shape: the same for `state_json`, which finds the words for what is wrong.

    Raises:
        StorageError: if it is damaged; errors as for `when_written`.
    """
    data = read_written(uri)
    try:
        value = json.loads(data)
        if is_right(value):
            return dict(value)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        pass
    from rv_core import state_json

    why = "it is not what rv writes"
    try:
        state_json.read(data, shape)
    except ValueError as error:
        why = str(error)
    raise StorageError(
        f"the record of this run is damaged: {uris.name_of(uri)}",
        where=uri,
        why=why,
        fix="run the same command as before: it looks at what is done, and makes a new record",
    )


def _has_required(record: Any) -> bool:
    needs = list(record.get("required", {}).values())
    return _are_texts([text for need in needs for pair in need.items() for text in pair])


def _is_plan(plan: Any) -> bool:
    pipelines = list(plan["pipelines"].values())
    entries = [entry for pipeline in pipelines for entry in pipeline["commands"]]
    return _are_texts([*(p["root_uri"] for p in pipelines), *(e[name] for e in entries for name in ("command", "job"))])


def _is_items(record: Any) -> bool:
    items, done, resources = record["items"], record["done"], record["resources"]
    texts = [*(e[name] for e in items for name in ("id", "key", "group")), *(e[n] for e in done for n in ("id", "key"))]
    objects = [*(record[name] for name in ("reads", "inputs", "requires")), *(entry["inputs"] for entry in items)]
    timeout_s, states = resources["timeout_s"], record.get("input_states", {})  # a record of 0.1.0 has none of these
    also_for = record.get("also_for", {})
    return (
        type(items) is type(done) is list
        and all(type(names) is list and _are_texts([root, *names]) for root, names in also_for.items())
        and _are_texts([*texts, *record["required_jobs"], *(record[name] for name in ("job", "command", "key"))])
        and all(type(value) is dict for value in objects)
        and all(type(state) in (list, str, type(None)) for state in states.values())
        and (type(resources["gpus"]), type(record["version"])) == (int, int)
        and resources["gpus"] >= 0
        and (timeout_s is None or (type(timeout_s) in (int, float) and timeout_s > 0))
    )


def _are_texts(values: list[Any]) -> bool:
    """Whether all are texts, and none holds half a character."""
    "".join(values).encode()
    return True


def check_environment(paths: "RunPaths") -> None:
    """On another machine than the one that submitted: refuse to work with other code than that of the run.

    Raises:
        RunnerError: naming what differs.
    """
    required = _read_state(paths.run, _has_required, {"required?": _REQUIRED}).get("required", {})
    if required:
        from rv_core.task.environment import check_required

        check_required(required)


def check_requirements(paths: "RunPaths", request: "TaskRequest") -> None:
    """Refuse to start while a required job is not done; a store that may list late is asked for some seconds.

    Raises:
        TaskError: naming what is not done.
    """
    problems: list[str] = []
    for pause_s in (0.0,) if uris.is_local(paths.root_uri) else (0.0, *PATIENCE_S):
        time.sleep(pause_s)
        problems = unmet_requirements(paths.root_uri, request.record, lambda job: _items(paths, job))
        if not problems:
            return
    raise requirement_error(request.command, problems)


def load_pipeline(paths: "RunPaths") -> "Pipeline":
    """The pipeline of a run, built from the run's own immutable config and the code that travels with it."""
    from rv_core.config import saved as config_file
    from rv_core.pipeline.pipeline import PipelineConfig

    text = read_written(paths.config).decode("utf-8", "surrogateescape")
    activate_code_of(text, paths.root_uri)
    saved = config_file.parse_trusted(text, source=paths.config, expected=PipelineConfig)
    return saved.config.build()


def activate_code_of(text: str, root_uri: str) -> None:
    """Put the code that a saved config names at the end of the path, so that its own classes can be found."""
    from rv_core.config.saved import is_code

    try:
        code = json.loads(text)["rv"].get("code") or {}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return  # whoever parses the config says what is wrong with it
    if not (code and isinstance(code, dict) and is_code(code)):
        return
    from rv_core.user_code import archive as code_archive

    if not code.get("archive"):
        code_archive.activate_code(code, "", code.get("folder"))
        return
    from rv_core.files.storage import Storage

    storage = Storage(root_uri, attempt_tag="code")
    archive = when_written(root_uri, lambda: storage.input_file(code["archive"]))
    code_archive.activate_code(code, archive, code.get("folder"))


class RootCheck:
    """Refuses to work under a root that another run has taken: each would undo the other's work.

    Args:
        root_uri: the root.
        run_id: the task's own run; "" for a task that is planned by hand.
    """

    def __init__(self, root_uri: str, run_id: str) -> None:
        self._root = root_uri
        self._run_id = run_id
        self._was_in_run = False
        self._watch: RootWatch | None = None

    def __call__(self) -> None:
        """Look at the marker of the root.

        Raises:
            UsageError: naming the run that has the root, or that has had it meanwhile; or saying that the task's own has
                lost it.
        """
        text = self._marker()
        is_own = bool(self._run_id) and f'"run_id": "{self._run_id}"'.encode() in text
        if is_own and b'"runner": "run-command"' not in text:
            self._was_in_run = True
            return
        if self._watch is None:
            # A task needs it only where it is not, or no longer, one of a run that is going on.
            from rv_core.record.root_watch import RootWatch

            self._watch = RootWatch(self._root, self._run_id)
        self._watch.refuse_beside_another()
        if self._was_in_run:
            raise _lost(self._root, self._run_id)
        self._watch.check()

    def _marker(self) -> bytes:
        from rv_core.files import by_uri
        from rv_core.files.problems import MissingFileError
        from rv_core.record.layout import MARKER

        try:
            return by_uri.read_bytes(uris.join(self._root, MARKER))
        except MissingFileError:
            return b""


def _lost(root_uri: str, run_id: str) -> UsageError:
    return UsageError(
        f"run {run_id} has lost this root",
        where=root_uri,
        why="it was cancelled, the root was removed, or another run has taken it over: what this task writes would undo "
        "its work",
        fix="run the command again",
    )


class TaskRequest(NamedTuple):
    """Which share of which command is to be done, and what was planned for it.

    Args:
        task: the task's id.
        command: the command's name.
        split_index, num_splits: the share.
        attempt: the number of this attempt, from 1.
        run_id: the run, or "" for a task that is run by hand.
        record: `items/<job>.json` of the command.
        root_uri: where the pipeline's files are.
    """

    task: str
    command: str
    split_index: int
    num_splits: int
    attempt: int
    run_id: str
    record: Mapping[str, Any]
    root_uri: str

    def for_hooks(self) -> dict[str, Any]:
        """What every hook of a task is told of it."""
        return {
            "run_id": self.run_id,
            "task": self.task,
            "attempt": self.attempt,
            "root_uri": self.root_uri,
            "key": self.record["key"],
        }
