"""Loads plugins: each inside one error boundary, so that a broken one becomes a record and never half a plugin.

`pluggy.PluginManager.load_setuptools_entrypoints` has no such boundary, and `check_pending` raises for all plugins
because of one; names and signatures of hooks are therefore checked here, plugin by plugin, before pluggy sees them.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, NamedTuple

import pluggy

from rv_core.plugins import builtins, hookspecs
from rv_core.plugins.declarations import ConfigSpec
from rv_core.plugins.discovery import Candidate
from rv_core.plugins.records import Kind, PluginRecord, word_of
from rv_core.plugins.validation import (
    DECLARING_HOOKS,
    InvalidPluginError,
    check_module,
    check_specs,
    check_unique,
    implementations,
    provided_by,
)

#: Name of the core's own plugin and of the distribution that it is in.
BUILTIN_NAME, BUILTIN_DISTRIBUTION = "core", "rv-core"
_MAX_CAUSE_CHARS = 400

Key = tuple[Kind, str]


class LoadedPlugin(NamedTuple):
    """A record with what was loaded for it: no module and no specs where the plugin is broken or disabled."""

    record: PluginRecord
    module: ModuleType | None = None
    specs: tuple[Any, ...] = ()

    @property
    def is_builtin(self) -> bool:
        """Whether this is the core's own plugin, whose names nothing replaces."""
        return self.module is builtins


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks and no plugin."""
    manager = pluggy.PluginManager("rv")
    manager.add_hookspecs(hookspecs)
    return manager


def load_builtins(manager: pluggy.PluginManager, version: str) -> LoadedPlugin:
    """Register the core's own plugin; a mistake in it is a bug and is raised."""
    record = PluginRecord(BUILTIN_NAME, BUILTIN_DISTRIBUTION, version, builtins.__name__)
    return _registered(manager, record, check_module(builtins))


def load(manager: pluggy.PluginManager, candidate: Candidate) -> LoadedPlugin:
    """Load, check and register one plugin; whatever goes wrong ends up in its record."""
    entry_point = candidate.entry_point
    record = PluginRecord(entry_point.name, candidate.distribution, candidate.version, entry_point.value)
    if candidate.is_disabled:
        return LoadedPlugin(record._replace(status="disabled"))
    try:
        # What a plugin prints while it is imported must not get into the output of `--json`.
        with contextlib.redirect_stdout(sys.stderr):
            return _registered(manager, record, check_module(entry_point.load()))
    except KeyboardInterrupt:
        from rv_core.terminal import say

        # Whether somebody pressed Ctrl-C or the plugin raised this itself, nobody else says where rv was.
        say(f"rv: interrupted while the {record.label} was imported", file=sys.stderr)
        raise
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a plugin must not be able to end rv
        trace = "" if _is_plain_refusal(error) else "".join(traceback.format_exception(error))
        return LoadedPlugin(
            record._replace(status="broken", error=cause_of(error, entry_point.module), traceback=trace)
        )


def _is_plain_refusal(error: BaseException) -> bool:
    return isinstance(error, InvalidPluginError) and error.__cause__ is None


def _registered(manager: pluggy.PluginManager, record: PluginRecord, module: ModuleType) -> LoadedPlugin:
    if manager.is_registered(module):
        raise InvalidPluginError(f"its entry point names {module.__name__}, which another entry point names as well")
    try:
        manager.register(module, f"{record.distribution}:{record.name}")
        specs = _declared(module)
    except BaseException:
        if manager.is_registered(module):
            manager.unregister(module)
        raise
    hooks = tuple(hook for hook, _ in implementations(module))
    provides = tuple(provided for spec in specs for provided in provided_by(spec))
    return LoadedPlugin(record._replace(hooks=hooks, provides=provides), module, specs)


def _declared(module: ModuleType) -> tuple[Any, ...]:
    specs: list[Any] = []
    for hook, function in implementations(module):
        if hook not in DECLARING_HOOKS:
            continue
        try:
            returned = function()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise InvalidPluginError(f"{hook} raised {cause_of(error)}") from error
        specs += check_specs(hook, returned)
    check_unique(specs)
    return tuple(specs)


def cause_of(error: BaseException, module: str = "") -> str:
    """An exception in one line.

    Args:
        error: what was raised.
        module: the module that was being imported, to tell it from one that it needs.
    """
    text = " ".join(str(error).split())
    if isinstance(error, InvalidPluginError):
        return text
    if isinstance(error, SystemExit):
        return f"SystemExit: it tried to end the process with {error.code!r}"
    if isinstance(error, ModuleNotFoundError) and error.name:
        is_own = module == error.name or module.startswith(f"{error.name}.")
        return f"its module {module} does not exist" if is_own else f"No module named {error.name!r}"
    name = type(error).__name__
    line = f"{name}: {text}" if text else name
    return line if len(line) <= _MAX_CAUSE_CHARS else line[: _MAX_CAUSE_CHARS - 1] + "…"


def without_clashes(loaded: Sequence[LoadedPlugin]) -> tuple[list[LoadedPlugin], dict[Key, str]]:
    """Take out every name that two plugins declare; the rest of both stays, and a built-in keeps its name.

    Returns:
        (the plugins, why a name is not usable or who wanted it too).
    """
    owners: dict[Key, list[LoadedPlugin]] = {}
    for plugin in loaded:
        for provided in plugin.record.provides:
            owners.setdefault(provided.key, []).append(plugin)
    clashes = {key: plugins for key, plugins in owners.items() if len(plugins) > 1}
    texts = {key: _clash_text(key, plugins) for key, plugins in clashes.items()}
    return [_without(plugin, clashes, texts) for plugin in loaded], texts


def _clash_text(key: Key, plugins: Sequence[LoadedPlugin]) -> str:
    what = f"{word_of(key[0])} {key[1]!r}"
    foreign = [plugin.record.label for plugin in plugins if not plugin.is_builtin]
    if len(foreign) < len(plugins):
        return f"the {what} of {' and '.join(foreign)} is left out: the built-in one is never replaced"
    return f"the {what} is declared by {' and by '.join(foreign)}: neither is usable"


def _without(plugin: LoadedPlugin, clashes: dict[Key, list[LoadedPlugin]], texts: dict[Key, str]) -> LoadedPlugin:
    own = {key for key, plugins in clashes.items() if plugin in plugins}
    if plugin.is_builtin or not own:
        return plugin
    kept = tuple(spec for spec in (_spec_without(spec, own) for spec in plugin.specs) if spec is not None)
    record = plugin.record._replace(
        provides=tuple(provided for spec in kept for provided in provided_by(spec)),
        problems=tuple(texts[key] for key in sorted(own)),
    )
    return plugin._replace(record=record, specs=kept)


def _spec_without(spec: Any, keys: Iterable[Key]) -> Any:
    """The declaration without the types that clash, or None if its own name does."""
    if not isinstance(spec, ConfigSpec):
        return None if provided_by(spec)[0].key in keys else spec
    if ("config", spec.plugin) in keys:
        return None
    return replace(spec, types={name: target for name, target in spec.types.items() if ("type", name) not in keys})
