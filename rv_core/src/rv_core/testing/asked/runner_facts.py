"""What a runner says of itself, found out in a fresh process: `python -m rv_core.testing.asked.runner_facts NAME`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunnerFacts:
    """What the rules have to know of a runner.

    Args:
        name: its name.
        distribution: the package that declares it.
        module: the module of that package's hooks; "" for a runner of the core.
        target: its class, as declared.
        capabilities: the fields of its `Capabilities`.
        settings: its settings: name -> {"secret": whether it is one, "value": its value here, as text}.
        secret_entries: the values in settings that are mappings, such as variables for tasks, whose names say that they
            are secret: `setting.name` -> its value here.
    """

    name: str
    distribution: str
    module: str
    target: str
    capabilities: Mapping[str, bool]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secret_entries: Mapping[str, str] = field(default_factory=dict)

    def claims(self, capability: str) -> bool:
        """Whether the runner has a capability; `not NAME` asks for the opposite.

        Raises:
            KeyError: if there is no such capability.
        """
        name = capability.removeprefix("not ")
        return self.capabilities[name] != capability.startswith("not ")

    def why_unclaimed(self, capability: str) -> str:
        """Why a rule that needs a capability is skipped."""
        name = capability.removeprefix("not ")
        says = "claims" if capability.startswith("not ") else "does not claim"
        return f"the runner {self.name!r} {says} {name!r} (rv_core.Capabilities.{name})"


def find_facts(name: str, profile: str | None = None) -> RunnerFacts:
    """Load a runner and its settings here.

    Raises:
        RvError: if there is no such runner, or it cannot be imported or made.
    """
    from rv_core.plugins.installed import plugin_manager
    from rv_core.runner.loading import make_runner

    plugins = plugin_manager()
    spec = plugins.runner_spec(name)
    owner = plugins.owner_of("runner", name)
    runner = make_runner(name, profile)
    return RunnerFacts(
        name=name,
        distribution=owner.distribution,
        module=owner.module,
        target=spec.target,
        capabilities=asdict(runner.capabilities),
        settings=_settings_of(runner.settings),
        secret_entries=_secret_entries_of(runner.settings),
    )


def _settings_of(settings: Any) -> dict[str, dict[str, Any]]:
    if settings is None:
        return {}
    from rv_core.settings.sections import saved_settings

    saved = saved_settings(settings)
    names = type(settings).__dataclass_fields__
    return {name: {"secret": name not in saved, "value": str(getattr(settings, name) or "")} for name in names}


def _secret_entries_of(settings: Any) -> dict[str, str]:
    from rv_core.redaction import is_secret_variable

    mappings = (
        {} if settings is None else {name: getattr(settings, name) for name in type(settings).__dataclass_fields__}
    )
    return {
        f"{setting}.{name}": str(value)
        for setting, mapping in mappings.items()
        if isinstance(mapping, Mapping)
        for name, value in mapping.items()
        if is_secret_variable(str(name))
    }


def main(argv: list[str]) -> int:
    """Print the facts as JSON, or why there are none."""
    from rv_core.errors import RvError

    try:
        print(json.dumps(asdict(find_facts(argv[0], argv[1] if len(argv) > 1 else None))))
    except RvError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
