"""Resolves every target that plugins declare and says what is wrong with it: what `rv plugins check` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rv_core.errors import RvError
from rv_core.plugins.declarations import (
    CommandSpec,
    ConfigSpec,
    PipelineSpec,
    ReportSectionsSpec,
    RunnerSpec,
    StoreSpec,
)
from rv_core.plugins.installed import Plugins
from rv_core.plugins.targets import resolve


@dataclass(frozen=True)
class TargetProblem:
    """A declaration that does not keep what it promises.

    Args:
        plugin: the plugin's entry point name.
        distribution: the package that it is in.
        declaration: what is declared, for instance `runner threads`.
        target: what it names.
        problem: what is wrong.
    """

    plugin: str
    distribution: str
    declaration: str
    target: str
    problem: str

    def __str__(self) -> str:
        target = f" → {self.target}" if self.target else ""
        return f"{self.plugin} ({self.distribution}): {self.declaration}{target}: {self.problem}"


def check_targets(plugins: Plugins, command_problem: Callable[[CommandSpec], str]) -> list[TargetProblem]:
    """Import everything that working plugins declare and look whether it is what it should be.

    Args:
        plugins: the plugins.
        command_problem: what is wrong with a verb whose target can be imported, or "": only the command line knows.
    """
    problems = []
    for record in plugins.records:
        for spec in plugins.specs_of(record):
            for declaration, target, problem in _problems_of(spec, command_problem):
                problems.append(TargetProblem(record.name, record.distribution, declaration, target, problem))
    return problems


def _problems_of(spec: object, command_problem: Callable[[CommandSpec], str]) -> Iterator[tuple[str, str, str]]:
    for declaration, target, kind in _targets_of(spec):
        problem = _problem_of(target, kind, declaration)
        if not problem and isinstance(spec, CommandSpec):
            problem = command_problem(spec)
        if problem:
            yield declaration, target, problem
    if isinstance(spec, ConfigSpec):
        for version in sorted(set(range(1, spec.version)) - set(spec.upgraders)):
            yield f"config {spec.plugin}", "", f"there is no upgrader from version {version}"


def _targets_of(spec: object) -> Iterator[tuple[str, str, str]]:
    """(declaration, target, kind of target) of everything in a declaration that can be imported."""
    if isinstance(spec, RunnerSpec):
        yield f"runner {spec.name}", spec.target, "runner"
        if spec.settings:
            yield f"settings of runner {spec.name}", spec.settings, "settings"
    elif isinstance(spec, PipelineSpec):
        yield f"pipeline {spec.name}", spec.target, "pipeline"
    elif isinstance(spec, StoreSpec):
        yield f"store {spec.scheme}", spec.target, "store"
    elif isinstance(spec, ReportSectionsSpec):
        yield f"report sections {spec.name}", spec.target, "function"
        if spec.outcomes:
            yield f"outcomes of {spec.name}", spec.outcomes, "function"
    elif isinstance(spec, CommandSpec):
        yield f"verb {spec.name}", spec.target, "command"
    elif isinstance(spec, ConfigSpec):
        for name, target in spec.types.items():
            yield f"type {name}", target, "type"
        for version, target in spec.upgraders.items():
            yield f"upgrader of {spec.plugin} from version {version}", target, "upgrader"


def _problem_of(target: str, kind: str, declaration: str) -> str:
    try:
        value = resolve(target, declared_by=declaration)
    except RvError as error:
        return error.block.why or error.block.what
    return _mismatch(value, kind)


def _mismatch(value: object, kind: str) -> str:
    """Why a resolved value cannot be what it is declared as, or ""."""
    from rv_core.config.classes import Config
    from rv_core.files.stores import Store
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.runner.contract import Runner

    bases: dict[str, type] = {"runner": Runner, "pipeline": PipelineConfig, "type": Config, "store": Store}
    if kind in bases:
        base = bases[kind]
        is_one = isinstance(value, type) and base in value.__mro__
        return "" if is_one else f"is not a subclass of rv_core.{base.__name__}"
    if kind == "settings":
        return "" if isinstance(value, type) and dataclasses.is_dataclass(value) else "is not a dataclass"
    if kind in ("upgrader", "function"):
        return "" if callable(value) else "is not a function"
    return ""
