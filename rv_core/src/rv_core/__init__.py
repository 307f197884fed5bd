"""The core of rv: what pipelines, runners and extra commands are written against.

Names are imported when they are first used, so that `from rv_core import RunnerSpec, hookimpl` costs a plugin's hooks
module neither marshmallow nor Typer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rv_core.version import __version__

if TYPE_CHECKING:
    from rv_core.api import RunResult as RunResult
    from rv_core.api import check as check
    from rv_core.api import run as run
    from rv_core.config.classes import AsBefore as AsBefore
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
    from rv_core.files.local import FileInfo as FileInfo
    from rv_core.files.storage import Storage as Storage
    from rv_core.files.stores import Store as Store
    from rv_core.pipeline.items import Items as Items
    from rv_core.pipeline.pipeline import Pipeline as Pipeline
    from rv_core.pipeline.pipeline import PipelineConfig as PipelineConfig
    from rv_core.pipeline.pipeline import command as command
    from rv_core.pipeline.report import ReportChart as ReportChart
    from rv_core.pipeline.report import ReportMap as ReportMap
    from rv_core.pipeline.report import ReportMatrix as ReportMatrix
    from rv_core.pipeline.report import ReportOutcomes as ReportOutcomes
    from rv_core.pipeline.report import ReportPicture as ReportPicture
    from rv_core.pipeline.report import ReportPictures as ReportPictures
    from rv_core.pipeline.report import ReportSection as ReportSection
    from rv_core.pipeline.report import ReportSeries as ReportSeries
    from rv_core.pipeline.report import ReportSource as ReportSource
    from rv_core.pipeline.report import ReportText as ReportText
    from rv_core.pipeline.summary import Summary as Summary
    from rv_core.pipeline.summary import SummaryTable as SummaryTable
    from rv_core.plan.graph import Job as Job
    from rv_core.plan.graph import Plan as Plan
    from rv_core.plan.graph import Resources as Resources
    from rv_core.plan.graph import Task as Task
    from rv_core.plugins.declarations import CommandSpec as CommandSpec
    from rv_core.plugins.declarations import ConfigSpec as ConfigSpec
    from rv_core.plugins.declarations import PipelineSpec as PipelineSpec
    from rv_core.plugins.declarations import ReportSectionsSpec as ReportSectionsSpec
    from rv_core.plugins.declarations import RunnerSpec as RunnerSpec
    from rv_core.plugins.declarations import StoreSpec as StoreSpec
    from rv_core.plugins.hookspecs import HOOK_API_VERSION as HOOK_API_VERSION
    from rv_core.plugins.hookspecs import hookimpl as hookimpl
    from rv_core.record.events import TaskState as TaskState
    from rv_core.record.run_record import RunRecord as RunRecord
    from rv_core.runner.capabilities import Capabilities as Capabilities
    from rv_core.runner.context import RunContext as RunContext
    from rv_core.runner.contract import Runner as Runner
    from rv_core.runner.observation import Observation as Observation
    from rv_core.runner.submission import SubmissionError as SubmissionError
    from rv_core.runner.submission import command_table as command_table
    from rv_core.runner.submission import command_table_name as command_table_name
    from rv_core.runner.submission import exit_code_text as exit_code_text
    from rv_core.runner.submission import first_given as first_given
    from rv_core.runner.submission import missing_variables as missing_variables
    from rv_core.runner.submission import misspelt_tables as misspelt_tables
    from rv_core.runner.submission import passed_on as passed_on
    from rv_core.runner.submission import submit_in_order as submit_in_order

_HOMES = {
    "api": (
        "RunResult",
        "check",
        "run",
    ),
    "config.classes": (
        "AsBefore",
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
    "files.local": ("FileInfo",),
    "files.storage": ("Storage",),
    "files.stores": ("Store",),
    "pipeline.items": ("Items",),
    "pipeline.pipeline": (
        "Pipeline",
        "PipelineConfig",
        "command",
    ),
    "pipeline.report": (
        "ReportChart",
        "ReportMap",
        "ReportMatrix",
        "ReportOutcomes",
        "ReportPicture",
        "ReportPictures",
        "ReportSection",
        "ReportSeries",
        "ReportSource",
        "ReportText",
    ),
    "pipeline.summary": (
        "Summary",
        "SummaryTable",
    ),
    "plan.graph": (
        "Job",
        "Plan",
        "Resources",
        "Task",
    ),
    "plugins.declarations": (
        "CommandSpec",
        "ConfigSpec",
        "PipelineSpec",
        "ReportSectionsSpec",
        "RunnerSpec",
        "StoreSpec",
    ),
    "plugins.hookspecs": (
        "HOOK_API_VERSION",
        "hookimpl",
    ),
    "record.events": ("TaskState",),
    "record.run_record": ("RunRecord",),
    "runner.capabilities": ("Capabilities",),
    "runner.context": ("RunContext",),
    "runner.contract": ("Runner",),
    "runner.observation": ("Observation",),
    "runner.submission": (
        "SubmissionError",
        "command_table",
        "command_table_name",
        "exit_code_text",
        "first_given",
        "misspelt_tables",
        "missing_variables",
        "passed_on",
        "submit_in_order",
    ),
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
