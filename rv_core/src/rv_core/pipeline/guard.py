"""The view of its config that a command gets: only the fields that it declares to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MethodType
from typing import TYPE_CHECKING, Any

from rv_core.errors import ConfigError, TaskError, nearest
from rv_core.pipeline.pipeline import CommandInfo, Pipeline, PipelineConfig, TaskControl

if TYPE_CHECKING:
    from rv_core.files.storage import Storage

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
        return _view(value, allowed[name], command, full) if allowed[name] and value is not None else value

    def __setattr__(self, name: str, value: Any) -> None:
        raise ConfigError(
            f"a command tried to set config.{name}",
            fix="commands get their config as it was saved; keep state elsewhere",
        )

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        # For the processes of a pool; the default goes by __class__, which is that of the config.
        return _view, object.__getattribute__(self, "_rv")

    def __repr__(self) -> str:
        target, _, command, path = object.__getattribute__(self, "_rv")
        return f"<{type(target).__name__}{f' .{path}' if path else ''} as {command} may read it>"


def _view(target: Any, allowed: Mapping[str, Any], command: str, path: str = "") -> GuardedConfig:
    """The view of a config or of a part of it."""
    return _view_class(type(target))(target, allowed, command, path)


_VIEW_CLASSES: dict[type, type[GuardedConfig]] = {}


def _view_class(target: type) -> type[GuardedConfig]:
    """Views of a class: `asdict` and `replace` look at the type, and read the fields through the view."""
    if target not in _VIEW_CLASSES:
        fields = getattr(target, "__dataclass_fields__", None)
        names = {"__dataclass_fields__": fields} if fields else {}
        _VIEW_CLASSES[target] = type(f"View of {target.__qualname__}", (GuardedConfig,), names)
    return _VIEW_CLASSES[target]


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


class ConfigWatch:
    """Notices that a command changed what it reads: who else saw that would depend on the runner and on the splits.

    Args:
        config: the config.
        info: the command.
    """

    #: Above this many characters it is too long to be compared after each item.
    MANY_CHARACTERS = 2_000

    def __init__(self, config: PipelineConfig, info: CommandInfo) -> None:
        self._config = config
        self._command = info.name
        self._before = {name: self._plain(name) for name in info.reads}
        self._is_long = len(repr(self._before)) > self.MANY_CHARACTERS

    def check(self, *, is_end: bool) -> None:
        """Called when an item is complete, and when the command has returned.

        Raises:
            TaskError: if something is not as it was.
        """
        if self._is_long and not is_end:
            return
        changed = [name for name, before in self._before.items() if self._plain(name) != before]
        if changed:
            names = " and ".join(f"config.{name}" for name in changed)
            raise TaskError(
                f"the command {self._command!r} changed {names}",
                why="whether its other items and later commands see that depends on the runner and on the splits",
                fix="commands get their config as it was saved: change a copy (`copy.deepcopy`), or keep state elsewhere",
            )

    def _plain(self, name: str) -> Any:
        from rv_core.config.dotted_paths import field_at
        from rv_core.config.values import walk_to_plain

        return walk_to_plain(field_at(self._config, name))


def guarded(config: PipelineConfig, info: CommandInfo) -> GuardedConfig:
    """The view of `config` that the command `info` gets."""
    return _view(config, _tree(declared_fields(info)), info.name)


@contextmanager
def as_command(pipeline: Pipeline, info: CommandInfo, storage: Storage, task: TaskControl) -> Iterator[None]:
    """Inside it a pipeline is what the command `info` gets: its view of the config, its storage, its task."""
    before = pipeline._view, pipeline._storage, pipeline._task
    pipeline._view, pipeline._storage, pipeline._task = guarded(pipeline._config, info), storage, task
    try:
        yield
    finally:
        pipeline._view, pipeline._storage, pipeline._task = before
