"""What a plugin's hooks module must look like, and what its hooks must return. Every refusal says what to change."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from rv_core.errors import nearest
from rv_core.plugins import hookspecs
from rv_core.plugins.declarations import (
    CommandSpec,
    ConfigSpec,
    PipelineSpec,
    ReportSectionsSpec,
    RunnerSpec,
    StoreSpec,
)
from rv_core.plugins.records import Kind, Provided

DECLARING_HOOKS: Mapping[str, type] = {
    "rv_runners": RunnerSpec,
    "rv_pipelines": PipelineSpec,
    "rv_commands": CommandSpec,
    "rv_configs": ConfigSpec,
    "rv_stores": StoreSpec,
    "rv_report_sections": ReportSectionsSpec,
}
KNOWN_HOOKS: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if hasattr(function, "rv_spec")
}

# No patterns: to compile them would be a part of every start.
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "._-")
_SCHEME_CHARACTERS = frozenset(string.ascii_lowercase + string.digits + "+.-")


class InvalidPluginError(Exception):
    """A plugin does not keep to the contract of the hooks."""


def check_module(loaded: object) -> ModuleType:
    """Check the version and the hooks of what an entry point names.

    Returns:
        The hooks module.

    Raises:
        InvalidPluginError: with the first thing that is wrong.
    """
    if not isinstance(loaded, ModuleType):
        raise InvalidPluginError(
            f"its entry point names a {type(loaded).__name__}; it must name a module, such as my_plugin.hooks"
        )
    _check_api_version(loaded)
    hooks = {name: value for name, value in vars(loaded).items() if _marks(value) is not None}
    for name, function in hooks.items():
        _check_hook(name, function)
    _check_unmarked(loaded, hooks)
    if not hooks:
        raise InvalidPluginError(f"{loaded.__name__} implements no hook; mark its functions with @rv_core.hookimpl")
    return loaded


def _check_api_version(module: ModuleType) -> None:
    version = getattr(module, "RV_HOOK_API_VERSION", hookspecs.HOOK_API_VERSION)
    if type(version) is not int:
        raise InvalidPluginError(f"RV_HOOK_API_VERSION is {version!r}; it must be a whole number")
    if version != hookspecs.HOOK_API_VERSION:
        remedy = "rv-core" if version > hookspecs.HOOK_API_VERSION else "the plugin"
        raise InvalidPluginError(
            f"it was written for version {version} of the hooks and this rv-core has version "
            f"{hookspecs.HOOK_API_VERSION}; install a newer release of {remedy}"
        )


def _marks(value: object) -> dict[str, Any] | None:
    """The options of `@hookimpl` on a function; None for everything else."""
    marks = getattr(value, "rv_impl", None) if inspect.isfunction(value) else None
    return marks if isinstance(marks, dict) else None


def _check_hook(name: str, function: Callable[..., Any]) -> None:
    marks = _marks(function) or {}
    hook = marks.get("specname") or name
    if hook not in KNOWN_HOOKS:
        if marks.get("optionalhook"):
            return
        near = nearest(hook, KNOWN_HOOKS)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(KNOWN_HOOKS)}"
        raise InvalidPluginError(f"there is no hook named {hook}; {hint}")
    if marks.get("wrapper") or marks.get("hookwrapper"):
        raise InvalidPluginError(
            f"{hook} is a hook wrapper; rv calls each plugin on its own, so nothing can be wrapped"
        )
    _check_signature(hook, function)


def _check_signature(hook: str, function: Callable[..., Any]) -> None:
    known = KNOWN_HOOKS[hook]
    passed = f"{hook}({', '.join(known)})"
    if inspect.iscoroutinefunction(function):
        raise InvalidPluginError(f"{hook} is an async function; rv would never await it")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in known:
            near = nearest(parameter.name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise InvalidPluginError(f"{hook} takes {parameter.name}, which rv does not pass; it is {passed}{hint}")
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or parameter.default is not parameter.empty:
            # pluggy fills neither of these: they would silently keep their default.
            raise InvalidPluginError(f"{hook} must take {parameter.name} as a plain argument without a default")


def _check_unmarked(module: ModuleType, hooks: Iterable[str]) -> None:
    for name in KNOWN_HOOKS.keys() - set(hooks):
        function = vars(module).get(name)
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            raise InvalidPluginError(f"{name} is not marked with @rv_core.hookimpl, so it would never be called")


def implementations(module: ModuleType) -> list[tuple[str, Callable[..., Any]]]:
    """The hooks that a checked module implements, by name, each with its function."""
    marked = ((name, value, _marks(value)) for name, value in vars(module).items())
    found = [(marks.get("specname") or name, value) for name, value, marks in marked if marks is not None]
    return sorted(((hook, function) for hook, function in found if hook in KNOWN_HOOKS), key=lambda pair: pair[0])


def check_specs(hook: str, returned: object) -> list[Any]:
    """Check what a declaring hook returned, before anything is made of it.

    Raises:
        InvalidPluginError: for a wrong type, or a name or a target that cannot be one.
    """
    expected = DECLARING_HOOKS[hook]
    if not isinstance(returned, list | tuple):
        raise InvalidPluginError(f"{hook} returned {_a(returned)}; it must return a list of {expected.__name__}")
    for spec in returned:
        if not isinstance(spec, expected):
            raise InvalidPluginError(f"{hook} returned a list with {_a(spec)} in it; all must be {expected.__name__}")
        if isinstance(spec, ConfigSpec):
            _check_config_spec(spec)
        else:
            _check_named_spec(hook, spec)
    return list(returned)


def check_unique(specs: Iterable[Any]) -> None:
    """Check that one plugin declares no name twice.

    Raises:
        InvalidPluginError: if it does.
    """
    seen = set()
    for provided in (provided for spec in specs for provided in provided_by(spec)):
        if provided.key in seen:
            raise InvalidPluginError(f"it declares the {provided} twice")
        seen.add(provided.key)


def _a(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _check_named_spec(hook: str, spec: Any) -> None:
    if isinstance(spec, StoreSpec):
        _check_scheme(hook, spec.scheme)
    else:
        _check_name(hook, spec.name)
    _check_target(hook, spec.name, spec.target)
    if isinstance(spec, RunnerSpec) and spec.settings:
        _check_target(hook, spec.name, spec.settings)
    if isinstance(spec, ReportSectionsSpec) and spec.outcomes:
        _check_target(hook, spec.name, spec.outcomes)
    for field in ("summary", "panel", "config"):
        if not isinstance(getattr(spec, field, ""), str):
            raise InvalidPluginError(f"{hook}: the {field} of {spec.name!r} is not a text")
    if not isinstance(getattr(spec, "takes_arguments", False), bool):
        raise InvalidPluginError(f"{hook}: takes_arguments of {spec.name!r} is neither True nor False")


def _check_config_spec(spec: Any) -> None:
    hook = "rv_configs"
    _check_name(hook, spec.plugin)
    if type(spec.version) is not int or spec.version < 1:
        raise InvalidPluginError(f"{hook}: the version of {spec.plugin!r} is {spec.version!r}; versions count from 1")
    if not isinstance(spec.types, Mapping) or not isinstance(spec.upgraders, Mapping):
        raise InvalidPluginError(f"{hook}: types and upgraders of {spec.plugin!r} must be dicts")
    for name, target in spec.types.items():
        _check_name(hook, name)
        _check_target(hook, name, target)
    for version, target in spec.upgraders.items():
        if type(version) is not int or not 1 <= version < spec.version:
            raise InvalidPluginError(
                f"{hook}: {spec.plugin!r} has an upgrader from version {version!r}; "
                f"its versions are 1 to {spec.version}, so upgraders start from 1 to {spec.version - 1}"
            )
        _check_target(hook, f"upgrader {version}", target)


def _check_name(hook: str, name: object) -> None:
    if not isinstance(name, str) or not _is_name(name):
        raise InvalidPluginError(f"{hook}: {name!r} cannot be a name; use letters, digits, '-', '_' and '.'")


def _check_scheme(hook: str, scheme: object) -> None:
    if not isinstance(scheme, str) or not _is_scheme(scheme):
        raise InvalidPluginError(f"{hook}: {scheme!r} cannot be a scheme; write what stands before ://, in lower case")


def _check_target(hook: str, name: str, target: object) -> None:
    if not isinstance(target, str) or not _is_target(target):
        raise InvalidPluginError(f'{hook}: the target of {name!r} is {target!r}; write "module:attribute"')


def provided_by(spec: Any) -> list[Provided]:
    """What one declaration provides, each with its name."""
    if isinstance(spec, ConfigSpec):
        version = Provided("config", spec.plugin, summary=f"config version {spec.version}")
        return [version, *(Provided("type", name, target) for name, target in spec.types.items())]
    kind = next(kind for cls, kind in _KINDS.items() if isinstance(spec, cls))
    return [Provided(kind, spec.name, spec.target, spec.summary)]


_KINDS: Mapping[type, Kind] = {
    RunnerSpec: "runner",
    PipelineSpec: "pipeline",
    CommandSpec: "command",
    StoreSpec: "store",
    ReportSectionsSpec: "report",
}


def _is_name(text: str) -> bool:
    return text[:1].isalnum() and _NAME_CHARACTERS.issuperset(text)


def _is_scheme(text: str) -> bool:
    return text == "*" or (text[:1].isalpha() and _SCHEME_CHARACTERS.issuperset(text))


def _is_target(text: str) -> bool:
    """Whether it is two dotted names with a colon in between."""
    module, colon, attribute = text.partition(":")
    return bool(colon) and all(part.isidentifier() for name in (module, attribute) for part in name.split("."))
