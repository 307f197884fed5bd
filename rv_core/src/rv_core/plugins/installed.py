"""The plugins of this process: what they declare, what is wrong with them, and how their parts are imported.

Loading imports the hooks module of every plugin and nothing that a declaration names. `RV_DISABLE_PLUGINS=a,b` skips
plugins by entry point or distribution; `RV_STRICT_PLUGINS=1` makes whatever is wrong with any plugin an error.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, TypeVar

from rv_core.errors import Finding, PluginError, RvError, UsageError, unknown_name
from rv_core.plugins.declarations import (
    CommandSpec,
    ConfigSpec,
    PipelineSpec,
    ReportSectionsSpec,
    RunnerSpec,
    StoreSpec,
)
from rv_core.plugins.discovery import candidates, is_strict, normalised, unknown_disabled_names
from rv_core.plugins.lifecycle import LifecycleHooks
from rv_core.plugins.loading import (
    BUILTIN_DISTRIBUTION,
    Key,
    LoadedPlugin,
    load,
    load_builtins,
    new_manager,
    without_clashes,
)
from rv_core.plugins.records import HookFailure, Kind, PluginRecord, word_of
from rv_core.plugins.validation import implementations
from rv_core.version import __version__

Spec = TypeVar("Spec", RunnerSpec, PipelineSpec, CommandSpec, ConfigSpec, StoreSpec, ReportSectionsSpec)

#: What plugins of this project declare, by the package that is installed for it.
_PACKAGES: Mapping[str, Mapping[Kind, Sequence[str]]] = {
    "rv-report": {"command": ("report", "compare")},
    "rv-runner-batch": {"runner": ("batch",)},
    "rv-runner-local": {"runner": ("local",)},
    "rv-runner-slurm": {"runner": ("slurm",)},
    "rv-store-s3": {"store": ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")},
}


class Plugins:
    """All plugins that were found, built-ins first.

    Args:
        loaded: the plugins, names that clash taken out.
        hooks: calls their lifecycle hooks.
        clashes: why a name is not usable, or who wanted a built-in's name.
        unknown_disabled: names in `RV_DISABLE_PLUGINS` that fit nothing.
    """

    def __init__(
        self,
        loaded: Sequence[LoadedPlugin],
        hooks: LifecycleHooks,
        *,
        clashes: Mapping[Key, str],
        unknown_disabled: Sequence[str] = (),
    ) -> None:
        self.records = [plugin.record for plugin in loaded]
        self.clashes = dict(clashes)
        self.unknown_disabled = tuple(unknown_disabled)
        self._loaded = list(loaded)
        self._hooks = hooks

    def runner_specs(self) -> dict[str, RunnerSpec]:
        """The usable runners by name."""
        return {spec.name: spec for spec in self._specs(RunnerSpec)}

    def pipeline_specs(self) -> dict[str, PipelineSpec]:
        """The usable pipelines by name."""
        return {spec.name: spec for spec in self._specs(PipelineSpec)}

    def command_specs(self) -> dict[str, CommandSpec]:
        """The usable verbs by name, built-in ones first."""
        return {spec.name: spec for spec in self._specs(CommandSpec)}

    def config_specs(self) -> dict[str, ConfigSpec]:
        """The usable config declarations by the plugin's name in saved configs."""
        return {spec.plugin: spec for spec in self._specs(ConfigSpec)}

    def store_specs(self) -> dict[str, StoreSpec]:
        """The usable stores by scheme; `*` serves every other one."""
        return {spec.scheme: spec for spec in self._specs(StoreSpec)}

    def report_specs(self) -> list[ReportSectionsSpec]:
        """The usable declarations of report sections, in the order of the plugins."""
        return list(self._specs(ReportSectionsSpec))

    def _specs(self, cls: type[Spec]) -> Iterator[Spec]:
        return (spec for plugin in self._loaded for spec in plugin.specs if isinstance(spec, cls))

    def specs_of(self, record: PluginRecord) -> tuple[Any, ...]:
        """The usable declarations of one plugin."""
        return next((plugin.specs for plugin in self._loaded if plugin.record == record), ())

    def runner_spec(self, name: str) -> RunnerSpec:
        """The runner of a name.

        Raises:
            UsageError: if no working plugin declares it.
            PluginError: if the plugin that should is broken, or two declare it.
        """
        specs = self.runner_specs()
        if name not in specs:
            raise self.missing("runner", name, specs)
        return specs[name]

    def store_spec(self, scheme: str) -> StoreSpec:
        """The store of a scheme, which is that of every other one (`*`) where nobody declares it.

        Raises:
            PluginError: if the plugin that should declare it is broken, or two do.
        """
        specs = self.store_specs()
        if scheme not in specs and isinstance(error := self.missing("store", scheme, specs), PluginError):
            raise error
        return specs.get(scheme) or specs["*"]

    def missing(self, kind: Kind, name: str, known: Mapping[str, Any]) -> RvError:
        """The error for a name that no working plugin declares: a clash, a broken or disabled plugin, or a mistake."""
        word = word_of(kind)
        if (kind, name) in self.clashes:
            fix = "uninstall one of them, or switch it off with RV_DISABLE_PLUGINS"
            return PluginError(f"the {word} {name!r} is not usable", why=self.clashes[kind, name], fix=fix)
        suspect = self._likely_provider(name)
        if suspect and suspect.status == "broken":
            what = f"the {word} {name!r} is not usable: {suspect.label} cannot be loaded"
            return PluginError(what, why=suspect.error, fix=f"rv plugins show {suspect.name}")
        what, fix = unknown_name(word, name, known)
        if suspect:
            return UsageError(what, why=f"{suspect.label} is disabled by RV_DISABLE_PLUGINS")
        broken = [record.label for record in self.records if record.status == "broken"]
        why = f"not loaded: {', '.join(broken)}; see rv plugins list" if broken else ""
        own = [package for package, offers in _PACKAGES.items() if name in offers.get(kind, ())]
        return UsageError(what, why=why, fix=f"pip install {own[0]}" if own else fix)

    def _likely_provider(self, name: str) -> PluginRecord | None:
        """The plugin that is broken or disabled and by its name should have declared this one."""
        wanted = normalised(name)
        for record in self.records:
            names = (normalised(record.name), normalised(record.distribution))
            if record.status != "ok" and any(own == wanted or own.endswith(f"-{wanted}") for own in names):
                return record
        return None

    def owner_of(self, kind: Kind, name: str) -> PluginRecord:
        """The plugin that declares a usable name.

        Raises:
            KeyError: if none does.
        """
        for record in self.records:
            if any(provided.key == (kind, name) for provided in record.provides):
                return record
        raise KeyError(f"no plugin declares the {word_of(kind)} {name!r}")

    def owner_of_module(self, module: str) -> PluginRecord | None:
        """The plugin to whose package a module belongs, or None."""
        owners = [
            (len(package), record)
            for record in self.records
            for package in _packages_of(record)
            if module == package or module.startswith(f"{package}.")
        ]
        return max(owners, key=lambda owner: owner[0])[1] if owners else None

    def call(self, hook: str, **arguments: object) -> list[HookFailure]:
        """Call a lifecycle hook of every plugin; none can fail or hold up the caller for long.

        Returns:
            What went wrong, by plugin.
        """
        return self._hooks.call(hook, arguments)

    @cached_property
    def signers(self) -> list[tuple[PluginRecord, Callable[..., Any]]]:
        """The plugins that sign addresses, each with its function."""
        modules = [(plugin.record, plugin.module) for plugin in self._loaded if plugin.module is not None]
        found = [(record, pair) for record, module in modules for pair in implementations(module)]
        return [(record, function) for record, (hook, function) in found if hook == "rv_sign_uri"]

    def implements(self, *hooks: str) -> bool:
        """Whether any plugin implements one of these hooks."""
        return any(hook in record.hooks for record in self.records for hook in hooks)

    def findings(self) -> list[Finding]:
        """Everything that is wrong: broken plugins, names that clash, names that `RV_DISABLE_PLUGINS` has in vain."""
        broken = [
            Finding(record.label, f"cannot be loaded: {record.error}", f"rv plugins show {record.name}")
            for record in self.records
            if record.status == "broken"
        ]
        clashes = [Finding("", text) for text in self.clashes.values()]
        unknown = [
            Finding("RV_DISABLE_PLUGINS", f"no plugin is called {name!r}", severity="warning")
            for name in self.unknown_disabled
        ]
        return [*broken, *clashes, *unknown]

    def warning(self) -> str:
        """What is wrong: a line for a single problem, a headline and a line each for several, "" for none."""
        findings = self.findings()
        if len(findings) > 1:
            lines = (f"  {_short(finding)}" for finding in findings)
            return "\n".join([f"{len(findings)} problems with plugins; see rv plugins list", *lines])
        return str(findings[0]) if findings else ""


def _short(finding: Finding) -> str:
    return f"{finding.where}: {finding.what}" if finding.where else finding.what


def _packages_of(record: PluginRecord) -> set[str]:
    modules = [record.module, *(provided.target for provided in record.provides if provided.target)]
    names = {module.partition(":")[0] for module in modules if module}
    packages = {name.rpartition(".")[0] or name for name in names}
    # A plugin may name something of the core, which does not make the core its own.
    return packages if record.distribution == BUILTIN_DISTRIBUTION else packages - {"rv_core"}


def load_plugins(environ: Mapping[str, str], *, is_looked_at: bool = False) -> Plugins:
    """Find and load all plugins.

    Args:
        environ: read for `RV_DISABLE_PLUGINS` and `RV_STRICT_PLUGINS`.
        is_looked_at: load them also where `RV_STRICT_PLUGINS` is set and something is wrong, which is to be shown.

    Raises:
        PluginError: if `RV_STRICT_PLUGINS` is set and anything is wrong with any plugin.
    """
    manager = new_manager()
    found = candidates(environ)
    builtin = load_builtins(manager, __version__)
    loaded, clashes = without_clashes([builtin, *(load(manager, candidate) for candidate in found)])
    unknown = unknown_disabled_names(environ, found)
    plugins = Plugins(loaded, LifecycleHooks(manager, loaded), clashes=clashes, unknown_disabled=unknown)
    findings = plugins.findings()
    if is_strict(environ) and not is_looked_at and any(finding.severity == "error" for finding in findings):
        fix = "mend or uninstall them, or unset RV_STRICT_PLUGINS; rv plugins tells more"
        raise PluginError("RV_STRICT_PLUGINS is set and not every plugin works", findings=findings, fix=fix)
    return plugins


def plugin_manager() -> Plugins:
    """The plugins of this process, loaded when they are first asked for: once, however many threads ask.

    Raises:
        PluginError: as `load_plugins`.
    """
    # Loading keeps stdout clean for its time; two at once would put back each other's streams.
    with _LOADING:
        return _plugins_of_process()


@cache
def _plugins_of_process() -> Plugins:
    return load_plugins(os.environ, is_looked_at=_IS_LOOKED_AT[0])


def forget_plugins() -> None:
    """Have the plugins loaded anew when they are next asked for."""
    _plugins_of_process.cache_clear()


#: A plugin may ask for others while it is imported.
_LOADING = threading.RLock()


#: Whether this process shows what is wrong with plugins, and so must not end for it.
_IS_LOOKED_AT = [False]


def look_at_plugins(is_looked_at: bool) -> None:
    """Say whether plugins are loaded also where `RV_STRICT_PLUGINS` would forbid it: for the verb that shows them."""
    if _IS_LOOKED_AT[0] != is_looked_at:
        _IS_LOOKED_AT[0] = is_looked_at
        forget_plugins()
