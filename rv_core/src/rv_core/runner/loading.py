"""The runner of a name, with its settings: for a new run, and for one that was started before."""

from __future__ import annotations

import os
from typing import Any

from rv_core.errors import PluginError, UsageError, unknown_name
from rv_core.plugins.installed import plugin_manager
from rv_core.plugins.targets import resolve
from rv_core.record.run_record import RunRecord
from rv_core.runner.contract import Runner


def make_runner(name: str, profile: str | None) -> Runner:
    """The runner of a name, with its settings.

    Raises:
        UsageError: if no plugin declares it.
        PluginError: if the plugin that does is broken.
        ConfigError: if its settings are wrong.
    """
    spec = plugin_manager().runner_spec(name)
    cls = resolve(spec.target, declared_by=name)
    if not (isinstance(cls, type) and issubclass(cls, Runner)):
        raise PluginError(f"{spec.target}, declared as runner {name!r}, is not a subclass of rv_core.Runner")
    from rv_core.settings.sections import load_settings, run_settings

    run_settings(profile)  # a profile that does not exist is a mistake for runners without settings as well
    settings = None
    if spec.settings:
        settings = load_settings(resolve(spec.settings, declared_by=name), name, profile=profile)
    return cls(settings)


def runner_of(record: RunRecord) -> Any:
    """The runner of a run, with the settings that the run was started with.

    Raises:
        UsageError: if the runner's plugin is not installed here.
    """
    from rv_core.plugins.installed import plugin_manager
    from rv_core.plugins.targets import resolve

    specs = plugin_manager().runner_specs()
    spec = specs.get(record.runner)
    if spec is None:
        what, fix = unknown_name("runner", record.runner, specs)
        raise UsageError(what, fix=fix or "install the package of this runner; `rv plugins` lists what is here")
    runner: Any = resolve(spec.target, declared_by=spec.name)
    if not spec.settings:
        return runner()
    from rv_core.settings.sections import load_settings

    cls: Any = resolve(spec.settings, declared_by=spec.name)
    recorded = record.settings.get(spec.name, {})
    overrides = {name: value for name, value in recorded.items() if name in cls.__dataclass_fields__}
    return runner(load_settings(cls, spec.name, profile=_known_profile(record.profile), overrides=overrides))


def _known_profile(name: str) -> str | None:
    """A run's profile where it exists; another machine does without: but for secrets, the record has its settings."""
    from rv_core.settings.files import profile_names

    return name if name in profile_names(os.environ) else None
