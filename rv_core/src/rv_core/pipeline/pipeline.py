"""What a pipeline is: commands, the items they work through, and what they may read.

A pipeline is a class whose methods are marked with `@command`. rv calls them, each in a process of its own or all in
one, whole or a share of the items at a time; a command never knows which.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, Protocol, TypeVar

from rv_core.config.classes import Config, Uri
from rv_core.errors import ConfigError, Finding

if TYPE_CHECKING:
    from rv_core.files.storage import Storage
    from rv_core.pipeline.summary import Summary

F = TypeVar("F", bound=Callable[..., None])

#: Items are named by a (dotted) field of the config or made by a function of it; a dict of these makes groups.
ItemSource = str | Callable[[Any], Sequence[Any]]
ItemSpec = ItemSource | Mapping[str, ItemSource] | None


class TaskStopped(BaseException):
    """The task was asked to stop (TERM) and what it has done so far is saved. Not an error: it is run again."""


class CommandInfo(NamedTuple):
    """What `@command` declared.

    Args:
        name: the method's name, which is the command's.
        items: where its items come from, or None for a command that is a single task.
        requires: commands whose every item must be done first.
        reads: (dotted) fields of the config that it may read besides its items; they enter its keys.
        ignores: (dotted) fields of `reads`, or within those, that cannot change its outputs, such as how many threads
            read ahead, or that enter its keys by way of what it requires; it may read them, and they do not enter.
        version: raise it when the command's outputs change for the same inputs; it enters the keys.
        cpus: cores that a task wants, or None for the runner's default.
        memory_mib: memory that a task wants, or None.
        gpus: whole GPUs that a task takes.
        timeout_s: a task is ended after this many seconds.
        attempts: how often a task is started at most, when it dies by a signal or was stopped with its state saved.
        completes: the command that it completes, for instance by putting parts together: it is there only where it has
            items, runs whenever that one is asked for, after it and before whatever requires it. An item of both by one id
            is one thing: either has it, and what one of them had done of it counts no longer once the other writes it.
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
    completes: str = ""


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
    completes: str = "",
) -> Callable[[F], F]:
    """Mark a method of a `Pipeline` as one of its commands; the arguments are those of `CommandInfo`."""

    def mark(method: F) -> F:
        method.__rv_command__ = CommandInfo(  # type: ignore[attr-defined]
            method.__name__, items, tuple(requires), tuple(reads), tuple(ignores), version, cpus, memory_mib, gpus,
            timeout_s, attempts, completes,
        )  # fmt: skip
        return method

    return mark


def siblings_of(commands: Mapping[str, CommandInfo], name: str) -> list[str]:
    """The commands that an item may be of instead of a command: what that completes, and what completes it."""
    return [other for other in commands if commands[other].completes == name or commands[name].completes == other]


class TaskControl(Protocol):
    """What a running task offers to the pipeline's methods."""

    #: The key of the job, or of the item in hand.
    key: str
    stop_requested: bool

    def progress(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Report how far the command is."""

    def record(self, counts: Mapping[str, float]) -> None:
        """Put numbers into the manifest of the item in hand."""

    def stop_gracefully(self) -> Any:
        """A context in which TERM only sets `stop_requested`."""


class _NoTask:
    """Stands in for a task while a command is called directly, for instance in a test."""

    def __init__(self) -> None:
        self.key = ""
        self.stop_requested = False
        self.counts: dict[str, float] = {}

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
    #: Fields that cannot change its findings. Not None: these depend on nothing but the other fields, inputs, facts, code
    #: and what is installed, and more items have all findings of fewer, so that it need not be made twice of the same.
    deep_check_ignores: tuple[str, ...] | None = None
    _rv_commands: ClassVar[dict[str, CommandInfo]]

    def __init__(self, config: "PipelineConfig") -> None:
        self._config = config
        self._view: Any = config
        self._storage: Storage | None = None
        self._task: TaskControl = _NoTask()
        # What is the same for all items of a command, by command: planning asks for each of them.
        self._annotations: dict[str, Any] = {}
        self._read_uris: dict[str, list[str]] = {}

    @classmethod
    def commands(cls) -> dict[str, CommandInfo]:
        """The commands in the order of their definition, base classes first."""
        # Asked for every item, and a class is not changed once it has been asked.
        if (found := vars(cls).get("_rv_commands")) is None:
            found = {}
            for owner in reversed(cls.__mro__):
                for name, attribute in vars(owner).items():
                    info = getattr(attribute, "__rv_command__", None)
                    if info is not None:
                        found[name] = info
            cls._rv_commands = found
        return dict(found)

    @property
    def config(self) -> Any:
        """The config. Inside a command, a view of it that raises on fields which the command did not declare."""
        return self._view

    @property
    def storage(self) -> "Storage":
        """The files under `root_uri`; names are relative to it. What a command writes is recorded as its output."""
        if self._storage is None:
            from rv_core.files.storage import Storage

            self._storage = Storage(self._config.root_uri, attempt_tag="direct")
        return self._storage

    @property
    def key(self) -> str:
        """The key of the job (or of the item in hand): state that is kept between attempts belongs to one key."""
        return self._task.key

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
        from rv_core.config.values import uris_of

        if item is None:
            return []
        if command not in self._annotations:
            self._annotations[command] = self._item_annotation(command)
        return [uri for _, uri in uris_of(item, self._annotations[command])]

    def inputs_of_reads(self, command: str) -> list[str]:
        """Every `Uri` in the fields that the command reads; the same for all items."""
        from rv_core.config.values import uris_at

        if command not in self._read_uris:
            reads = self.commands()[command].reads
            self._read_uris[command] = [uri for name in reads for _, uri in uris_at(self._config, name)]
        return list(self._read_uris[command])

    def facts(self, command: str) -> Mapping[str, Any]:
        """Plain JSON values by name that enter the keys of a command beside the fields that it reads.

        For what outputs depend on and is no field and no file, as the text of code. Pure and cheap: every plan asks.
        """
        return {}

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

    def summary(self, storage: "Storage", done: Collection[str]) -> "Summary | None":
        """What came out, in a few lines: shown at the end of a run and by `rv status`. None where there is nothing to say.

        It reads small files that commands have written, computes and imports nothing heavy and writes nothing. An
        exception in it is told and costs the run nothing.

        Args:
            storage: the files under the root, to read.
            done: the commands all of whose items are done under this config. What others have left, from another
                config, may lie there too: say nothing of it.
        """
        return None

    def smoke(self, config: Any) -> Any:
        """The config of `rv run --smoke`: all commands, little to do. By default the first item of each group.

        Args:
            config: the user's config, checked; it is not to be changed.

        Returns:
            A config of the same class; its root is set by rv.
        """
        from rv_core.pipeline.smoke import first_of_each_group

        specs = [info.items for info in self.commands().values()]
        sources = [source for spec in specs for source in (spec.values() if isinstance(spec, Mapping) else [spec])]
        return first_of_each_group(config, [source for source in sources if isinstance(source, str)])

    def _items_from(self, source: ItemSource) -> Sequence[Any]:
        from rv_core.config.dotted_paths import field_at

        return source(self._config) if callable(source) else field_at(self._config, source)

    def _item_annotation(self, command: str) -> Any:
        from rv_core.config.dotted_paths import annotation_at

        spec = self.commands()[command].items
        sources = list(spec.values()) if isinstance(spec, Mapping) else [spec]
        named = [source for source in sources if isinstance(source, str)]
        return annotation_at(type(self._config), f"{named[0]}[0]") if named else None


@dataclass(kw_only=True)
class PipelineConfig(Config):
    """Base of the config of every pipeline.

    Args:
        root_uri: folder or object-store prefix under which the pipeline writes everything.
        name: the pipeline's name in plans and task ids; "" becomes the class's name (`GreetConfig` is `greet`).
    """

    is_abstract: ClassVar[bool] = True
    #: `"module:Class"` of the pipeline that is configured; imported when it is built, and no field of the config.
    pipeline: ClassVar[str]

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
        # Declared without a value: it would be the default of a field of this name.
        target = getattr(cls, "pipeline", "")
        if not target:
            raise ConfigError(
                f"{cls.__name__} does not say which pipeline it configures",
                where=declared_by,
                fix='give it the line `pipeline: ClassVar[str] = "package.pipeline:MyPipeline"`, '
                "or a method `def build(self): return MyPipeline(self)`",
            )
        from rv_core.plugins.targets import resolve

        pipeline: Pipeline = resolve(target, declared_by=declared_by)(self)
        return pipeline

    def _rv_findings(self) -> Iterable[Finding]:
        from rv_core.pipeline.names import problem_with_name

        problem = problem_with_name(self.name)
        return [Finding("name", problem)] if problem else []
