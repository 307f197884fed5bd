"""What a pipeline is: commands, the items they work through, and what they may read.

A pipeline is a class whose methods are marked with `@command`. rv calls them, each in a process of its own or all in
one, whole or a share of the items at a time; a command never knows which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, TypeVar

from rv_core.config_classes import Config, Uri
from rv_core.errors import ConfigError, Finding, PlanError, nearest

if TYPE_CHECKING:
    from rv_core.files.storage import Storage

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., None])

#: Items are named by a (dotted) field of the config or made by a function of it; a dict of these makes groups.
ItemSource = str | Callable[[Any], Sequence[Any]]
ItemSpec = ItemSource | Mapping[str, ItemSource] | None


class TaskStopped(BaseException):
    """The task was asked to stop (TERM) and what it has done so far is saved. Not an error: it is run again."""


@dataclass(frozen=True)
class CommandInfo:
    """What `@command` declared.

    Args:
        name: the method's name, which is the command's.
        items: where its items come from, or None for a command that is a single task.
        requires: commands whose every item must be done first.
        reads: (dotted) fields of the config that it may read besides its items; they enter its keys.
        ignores: (dotted) fields within those of `reads` that cannot change its outputs, such as how many threads read
            ahead; it may read them, and they do not enter its keys.
        version: raise it when the command's outputs change for the same inputs; it enters the keys.
        cpus: cores that a task wants, or None for the runner's default.
        memory_mib: memory that a task wants, or None.
        gpus: whole GPUs that a task takes.
        timeout_s: a task is ended after this many seconds.
        attempts: how often a task is started at most, when it dies by a signal or was stopped with its state saved.
    """

    name: str
    items: ItemSpec = None
    requires: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    ignores: tuple[str, ...] = ()
    version: int = 1
    cpus: int | None = None
    memory_mib: int | None = None
    gpus: int = 0
    timeout_s: int | None = None
    attempts: int = 1


def command(
    *,
    items: ItemSpec = None,
    requires: Sequence[str] = (),
    reads: Sequence[str] = (),
    ignores: Sequence[str] = (),
    version: int = 1,
    cpus: int | None = None,
    memory_mib: int | None = None,
    gpus: int = 0,
    timeout_s: int | None = None,
    attempts: int = 1,
) -> Callable[[F], F]:
    """Mark a method of a `Pipeline` as one of its commands; the arguments are those of `CommandInfo`."""

    def mark(method: F) -> F:
        method.__rv_command__ = CommandInfo(  # type: ignore[attr-defined]
            name=method.__name__,
            items=items,
            requires=tuple(requires),
            reads=tuple(reads),
            ignores=tuple(ignores),
            version=version,
            cpus=cpus,
            memory_mib=memory_mib,
            gpus=gpus,
            timeout_s=timeout_s,
            attempts=attempts,
        )
        return method

    return mark


@dataclass(frozen=True)
class WorkItem(Generic[T]):
    """One item of a share: its id, key and group, and the value that the command gets."""

    id: str
    key: str
    group: str
    value: T


class ItemRecorder(Protocol):
    """What `Items` reports to: it decides what is done already and writes the manifests."""

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item's manifest and outputs are there under its key."""

    def begin(self, item: WorkItem[Any]) -> None:
        """The command is about to get this item."""

    def finish(self, item: WorkItem[Any]) -> None:
        """The command has asked for the next item, so this one is done."""


class Items(Generic[T]):
    """This task's share of a command's items; asking for the next item marks the one before as done.

    Leaving the loop early leaves the item in hand, and those after it, not done.
    """

    def __init__(self, share: Sequence[WorkItem[T]], recorder: ItemRecorder) -> None:
        self._share = share
        self._recorder = recorder
        self._current: WorkItem[T] | None = None
        self._left = len(share)

    def __len__(self) -> int:
        return len(self._share)

    def __iter__(self) -> Iterator[T]:
        for item in self._share[len(self._share) - self._left :]:
            if not self._recorder.is_done(item):
                self._current = item
                self._recorder.begin(item)
                yield item.value
                self._recorder.finish(item)
                self._current = None
            self._left -= 1

    @property
    def group(self) -> str:
        """The group of the item in hand ("" where items have no groups)."""
        return self._current.group if self._current else ""

    @property
    def num_left(self) -> int:
        """How many items of the share are not done yet, the one in hand included."""
        return self._left


class TaskControl(Protocol):
    """What a running task offers to the pipeline's methods."""

    stop_requested: bool

    def progress(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Report how far the command is."""

    def record(self, counts: Mapping[str, float]) -> None:
        """Put numbers into the manifest of the item in hand."""

    def stop_gracefully(self) -> Any:
        """A context in which TERM only sets `stop_requested`."""


@dataclass
class _NoTask:
    """Stands in for a task while a command is called directly, for instance in a test."""

    stop_requested: bool = False
    counts: dict[str, float] = field(default_factory=dict)

    def progress(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        pass

    def record(self, counts: Mapping[str, float]) -> None:
        self.counts.update(counts)

    @contextmanager
    def stop_gracefully(self) -> Iterator[None]:
        yield


class Pipeline:
    """Base of every pipeline. Subclasses add methods marked with `@command`.

    Args:
        config: the validated config that built this pipeline.
    """

    #: Modules that the commands import. Where one is missing here, the deep check is reported as skipped.
    requires_modules: ClassVar[tuple[str, ...]] = ()
    #: `"module:function"`, run in a child process by `rv check`: (config, {command: [ids of items to do]}) -> findings.
    deep_check: ClassVar[str] = ""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._view: Any = config
        self._storage: Storage | None = None
        self._task: TaskControl = _NoTask()
        self._key = ""

    @classmethod
    def commands(cls) -> dict[str, CommandInfo]:
        """The commands in the order of their definition, base classes first."""
        found: dict[str, CommandInfo] = {}
        for owner in reversed(cls.__mro__):
            for name, attribute in vars(owner).items():
                info = getattr(attribute, "__rv_command__", None)
                if info is not None:
                    found[name] = info
        return found

    @property
    def config(self) -> Any:
        """The config. Inside a command, a view of it that raises on fields which the command did not declare."""
        return self._view

    @property
    def storage(self) -> Storage:
        """The files under `root_uri`; names are relative to it. What a command writes is recorded as its output."""
        if self._storage is None:
            from rv_core.files.storage import Storage

            self._storage = Storage(self._config.root_uri, attempt_tag="direct")
        return self._storage

    @property
    def key(self) -> str:
        """The key of the job (or of the item in hand): state that is kept between attempts belongs to one key."""
        return self._key

    @property
    def stop_requested(self) -> bool:
        """Whether TERM has arrived inside `stop_gracefully()`."""
        return self._task.stop_requested

    def stop_gracefully(self) -> Any:
        """A context in which TERM only sets `stop_requested`: save the state, then call `stopped()`."""
        return self._task.stop_gracefully()

    def stopped(self) -> NoReturn:
        """End this task with exit code 75: stopped by TERM with its state saved, run it again."""
        raise TaskStopped("stopped with its state saved")

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Report how far the command is, for status and the live display; at most 5 a second are kept."""
        self._task.progress(done, total, numbers)

    def record(self, **counts: float) -> None:
        """Put numbers into the manifest of the item in hand (or of the whole command)."""
        self._task.record(counts)

    def inputs(self, command: str, item: Any) -> list[str]:
        """The URIs whose fingerprints enter the key of one item (`item` is None for a command without items).

        By default every `Uri` in the item and in the fields of `reads`. Must be pure.
        """
        return [*self.inputs_of_item(command, item), *self.inputs_of_reads(command)]

    def inputs_of_item(self, command: str, item: Any) -> list[str]:
        """Every `Uri` in one item."""
        from rv_core.config import uris_of

        if item is None:
            return []
        return [uri for _, uri in uris_of(item, self._item_annotation(command))]

    def inputs_of_reads(self, command: str) -> list[str]:
        """Every `Uri` in the fields that the command reads; the same for all items."""
        from rv_core.config import uris_at

        return [uri for name in self.commands()[command].reads for _, uri in uris_at(self._config, name)]

    def items_of(self, command: str) -> dict[str, list[Any]] | None:
        """The items of a command by group ({"": items} without groups), or None for a command without items."""
        spec = self.commands()[command].items
        if spec is None:
            return None
        groups: Mapping[str, ItemSource] = spec if isinstance(spec, Mapping) else {"": spec}
        return {group: list(self._items_from(source)) for group, source in groups.items()}

    def preflight(self, todo: Mapping[str, Sequence[str]]) -> Iterable[Finding]:
        """Cheap checks before anything is started: no heavy import, no pixel read.

        Args:
            todo: ids of the items that will be worked through, by command.
        """
        return ()

    def _items_from(self, source: ItemSource) -> Sequence[Any]:
        from rv_core.config_paths import field_at

        return source(self._config) if callable(source) else field_at(self._config, source)

    def _item_annotation(self, command: str) -> Any:
        from rv_core.config_paths import annotation_at

        spec = self.commands()[command].items
        sources = list(spec.values()) if isinstance(spec, Mapping) else [spec]
        named = [source for source in sources if isinstance(source, str)]
        return annotation_at(type(self._config), f"{named[0]}[0]") if named else None


def item_id(item: Any) -> str:
    """The id of an item: its `id` attribute, else its text.

    Raises:
        PlanError: if the item has neither a usable id nor is a plain value.
    """
    own = getattr(item, "id", None)
    if isinstance(own, str) and own:
        return own
    if isinstance(item, (str, int)) and not isinstance(item, bool) and str(item):
        return str(item)
    raise PlanError(
        f"an item of type {type(item).__name__} has no id",
        why="rv names the manifest of every item after its id",
        fix="give the item's class a field `id: str`, or use strings or integers as items",
    )


def items_by_id(pipeline: Pipeline, command: str) -> dict[str, tuple[str, Any]]:
    """Item id -> (group, item), in order.

    Raises:
        PlanError: if two items of the command have one id.
    """
    found: dict[str, tuple[str, Any]] = {}
    for group, items in (pipeline.items_of(command) or {}).items():
        for item in items:
            name = item_id(item)
            if name in found:
                raise PlanError(f"two items of {command} have the id {name!r}", fix="give every item an id of its own")
            found[name] = (group, item)
    return found


# --- the view of the config that a command gets -----------------------------------------------------------------------

_EVERYTHING: dict[str, Any] = {}


def declared_fields(info: CommandInfo) -> tuple[str, ...]:
    """The (dotted) config fields that a command may read: `items`, `reads`, `root_uri` and `name`."""
    spec = info.items
    sources = list(spec.values()) if isinstance(spec, Mapping) else [spec]
    return ("root_uri", "name", *(s for s in sources if isinstance(s, str)), *info.reads)


def _tree(paths: Iterable[str]) -> dict[str, Any]:
    """Nested dict of allowed names; an empty dict allows everything below."""
    root: dict[str, Any] = {}
    for path in sorted(paths, key=len):
        node, parts = root, path.split(".")
        for depth, part in enumerate(parts):
            if part in node and not node[part]:
                break
            if depth == len(parts) - 1:
                node[part] = _EVERYTHING
            else:
                node = node.setdefault(part, {})
    return root


class GuardedConfig:
    """A view of a config that raises `ConfigError` on a field that the running command did not declare.

    So a forgotten `reads` is an error at the first run, never a stale result later. Methods and properties of the
    config work through the same view.
    """

    def __init__(self, target: Any, allowed: Mapping[str, Any], command: str, path: str = "") -> None:
        object.__setattr__(self, "_rv", (target, allowed, command, path))

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(object.__getattribute__(self, "_rv")[0])

    def __getattr__(self, name: str) -> Any:
        target, allowed, command, path = object.__getattribute__(self, "_rv")
        member = getattr(type(target), name, None)
        if isinstance(member, property) and member.fget:
            return member.fget(self)
        if callable(member) and not name.startswith("__") and name not in _field_names(target):
            return MethodType(member, self) if hasattr(member, "__code__") else getattr(target, name)
        value = getattr(target, name)
        full = f"{path}.{name}" if path else name
        if name not in allowed:
            raise _undeclared(command, full, allowed)
        return GuardedConfig(value, allowed[name], command, full) if allowed[name] and value is not None else value

    def __setattr__(self, name: str, value: Any) -> None:
        raise ConfigError(
            f"a command tried to set config.{name}",
            fix="commands get their config as it was saved; keep state elsewhere",
        )

    def __repr__(self) -> str:
        target, _, command, path = object.__getattribute__(self, "_rv")
        return f"<{type(target).__name__}{f' .{path}' if path else ''} as {command} may read it>"


def _field_names(target: Any) -> Iterable[str]:
    return getattr(type(target), "__dataclass_fields__", {})


def _undeclared(command: str, full: str, allowed: Mapping[str, Any]) -> ConfigError:
    near = nearest(full.rsplit(".", 1)[-1], allowed)
    hint = f" (or did you mean {near!r}?)" if near else ""
    return ConfigError(
        f"the command {command!r} reads config.{full}, which it does not declare",
        why="what a command reads enters its key; an undeclared field would leave stale results in place",
        fix=f"add {full!r} to reads=(…) of @command on {command!r}{hint}",
    )


def guarded(config: PipelineConfig, info: CommandInfo) -> GuardedConfig:
    """The view of `config` that the command `info` gets."""
    return GuardedConfig(config, _tree(declared_fields(info)), info.name)


@dataclass(kw_only=True)
class PipelineConfig(Config):
    """Base of the config of every pipeline.

    Args:
        root_uri: folder or object-store prefix under which the pipeline writes everything.
        name: the pipeline's name in plans and task ids; "" becomes the class's name (`GreetConfig` is `greet`).
    """

    is_abstract: ClassVar[bool] = True
    #: `"module:Class"` of the pipeline that is configured; imported when it is built, and no field of the config.
    pipeline: ClassVar[str] = ""

    root_uri: Uri
    name: str = ""

    def build(self) -> Pipeline:
        """The pipeline that works by this config: an object of the class that `pipeline` names.

        A class that makes its pipeline in another way overrides this; it must import nothing heavy.

        Raises:
            ConfigError: if the class neither names its pipeline nor overrides this.
            PluginError: if what it names cannot be imported.
        """
        cls = type(self)
        declared_by = f"{cls.__module__}:{cls.__qualname__}"
        if not cls.pipeline:
            raise ConfigError(
                f"{cls.__name__} does not say which pipeline it configures",
                where=declared_by,
                fix='give it the line `pipeline: ClassVar[str] = "package.pipeline:MyPipeline"`, '
                "or a method `def build(self): return MyPipeline(self)`",
            )
        from rv_core.plugins.installed import resolve

        pipeline: Pipeline = resolve(cls.pipeline, declared_by=declared_by)(self)
        return pipeline

    def _rv_findings(self) -> Iterable[Finding]:
        from rv_core.pipeline_names import problem_with_name

        problem = problem_with_name(self.name)
        return [Finding("name", problem)] if problem else []
