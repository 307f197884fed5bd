"""The core of rv: what pipelines, runners and extra commands are written against.

Names are imported when they are first used, so that `from rv_core import RunnerSpec, hookimpl` costs a plugin's hooks
module neither marshmallow nor Typer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rv_core.version import __version__

if TYPE_CHECKING:
    from rv_core.config.classes import Config as Config
    from rv_core.config.classes import Range as Range
    from rv_core.config.classes import Secret as Secret
    from rv_core.config.classes import Uri as Uri
    from rv_core.errors import CheckError as CheckError
    from rv_core.errors import ConfigError as ConfigError
    from rv_core.errors import DataError as DataError
    from rv_core.errors import Finding as Finding
    from rv_core.errors import PlanError as PlanError
    from rv_core.errors import PluginError as PluginError
    from rv_core.errors import RunnerError as RunnerError
    from rv_core.errors import RvError as RvError
    from rv_core.errors import StorageError as StorageError
    from rv_core.errors import TaskError as TaskError
    from rv_core.errors import UsageError as UsageError
    from rv_core.errors import nearest as nearest
    from rv_core.events import TaskState as TaskState
    from rv_core.hookspecs import HOOK_API_VERSION as HOOK_API_VERSION
    from rv_core.hookspecs import hookimpl as hookimpl
    from rv_core.pipeline import Items as Items
    from rv_core.pipeline import Pipeline as Pipeline
    from rv_core.pipeline import command as command
    from rv_core.plan import Job as Job
    from rv_core.plan import Plan as Plan
    from rv_core.plan import Resources as Resources
    from rv_core.plan import Task as Task
    from rv_core.run_state import RunRecord as RunRecord
    from rv_core.runner import Capabilities as Capabilities
    from rv_core.runner import RunContext as RunContext
    from rv_core.runner import Runner as Runner
    from rv_core.status_values import Observation as Observation
    from rv_core.storage import Storage as Storage

_HOMES = {
    "config.classes": (
        "Config",
        "Range",
        "Secret",
        "Uri",
    ),
    "errors": (
        "CheckError",
        "ConfigError",
        "DataError",
        "Finding",
        "PlanError",
        "PluginError",
        "RunnerError",
        "RvError",
        "StorageError",
        "TaskError",
        "UsageError",
        "nearest",
    ),
    "events": ("TaskState",),
    "hookspecs": ("HOOK_API_VERSION", "hookimpl"),
    "pipeline": ("Items", "Pipeline", "command"),
    "plan": ("Job", "Plan", "Resources", "Task"),
    "run_state": ("RunRecord",),
    "runner": ("Capabilities", "RunContext", "Runner"),
    "status_values": ("Observation",),
    "storage": ("Storage",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
