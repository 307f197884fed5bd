"""Bringing the plain values of a saved config up to date: v → v + 1, plugin by plugin, on every load."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from importlib import import_module
from typing import Any, NamedTuple

from rv_core.config.dotted_paths import join
from rv_core.config.fields import fields_of
from rv_core.config.type_hints import TYPE_HINT, class_of
from rv_core.errors import ConfigError, Finding
from rv_core.plugins.declarations import ConfigSpec

#: What a file that names no version of a plugin was written with: before the plugin declared any.
FIRST_VERSION = 1


class SavedTypes(NamedTuple):
    """What a saved config says about the classes in it.

    Args:
        versions: plugin -> version of its config when it was saved.
        types: type hint -> `"module:Class"` when it was saved.
    """

    versions: Mapping[str, int]
    types: Mapping[str, str]

    def package_of(self, hint: str) -> str:
        """The top-level package of a hint's class; "" where neither the hint nor the file says it."""
        target = hint if ":" in hint else self.types.get(hint, "")
        return target.partition(":")[0].partition(".")[0]


def owns(spec: ConfigSpec, hint: str, saved: SavedTypes) -> bool:
    """Whether objects with this hint belong to the plugin: it registers the hint, or has the package of the class."""
    packages = {target.partition(":")[0].partition(".")[0] for target in spec.types.values()}
    return hint in spec.types or saved.package_of(hint) in packages


def hinted_objects(plain: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """(dotted path, object) of every dict with a `type_hint`, outermost first."""
    if isinstance(plain, dict):
        if isinstance(plain.get(TYPE_HINT), str):
            yield path, plain
        for key, child in plain.items():
            yield from hinted_objects(child, join(path, key))
    elif isinstance(plain, list):
        for index, child in enumerate(plain):
            yield from hinted_objects(child, join(path, index))


def upgraded(plain: dict[str, Any], saved: SavedTypes, specs: list[ConfigSpec]) -> dict[str, Any]:
    """The plain values of a config as the installed plugins write them now.

    Args:
        plain: the values, as they were saved; changed in place.
        saved: versions and classes that the file names.
        specs: what the installed plugins declare.

    Raises:
        ConfigError: if a plugin is older than the file, if an upgrader is missing or fails, or if a class is not
            installed; the message names the package.
    """
    _refuse_newer(saved, specs)
    holder = {"config": plain}
    for spec in specs:
        for version in range(saved.versions.get(spec.plugin, FIRST_VERSION), spec.version):
            _upgrade_all(holder, spec, version, saved)
    _refuse_missing(holder["config"], saved, specs)
    _fill_in(holder["config"])
    return holder["config"]


def _fill_in(plain: dict[str, Any]) -> None:
    """Give fields that came after the file was saved their value of before (`AsBefore`), whatever their default is."""
    for _, value in hinted_objects(plain):
        for name, field in fields_of(class_of(value[TYPE_HINT])).items():
            if field.before is not None and name not in value:
                value[name] = deepcopy(field.before.value)


def _refuse_newer(saved: SavedTypes, specs: list[ConfigSpec]) -> None:
    newer = [spec for spec in specs if saved.versions.get(spec.plugin, 0) > spec.version]
    if newer:
        findings = [
            Finding(
                spec.plugin, f"the config was saved with version {saved.versions[spec.plugin]}, here is {spec.version}"
            )
            for spec in newer
        ]
        names = " ".join(spec.plugin for spec in newer)
        raise ConfigError(
            "this config was saved by a newer version of a plugin than the one installed here",
            findings=findings,
            fix=f"pip install --upgrade {names}",
        )


def _upgrade_all(holder: dict[str, Any], spec: ConfigSpec, version: int, saved: SavedTypes) -> None:
    """Call the upgrader of one version for every object of the plugin, outermost first."""
    pending: list[tuple[Any, Any, str]] = [(holder, "config", "")]
    upgrader = None
    while pending:
        parent, key, path = pending.pop(0)
        value = parent[key]
        if isinstance(value, dict) and isinstance(value.get(TYPE_HINT), str) and owns(spec, value[TYPE_HINT], saved):
            upgrader = upgrader or _resolve_upgrader(spec, version)
            value = parent[key] = _call_upgrader(upgrader, value, spec, version, path)
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        pending.extend((value, step, join(path, step)) for step, _ in children)


def _resolve_upgrader(spec: ConfigSpec, version: int) -> Any:
    target = spec.upgraders.get(version)
    if target is None:
        raise ConfigError(
            f"the plugin {spec.plugin} cannot bring its config from version {version} to {version + 1}",
            why="it declares no upgrader for this version",
            fix=f"report this to the authors of {spec.plugin}",
        )
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except Exception as err:
        raise ConfigError(
            f"the upgrader {target} of the plugin {spec.plugin} cannot be loaded", why=f"{type(err).__name__}: {err}"
        ) from err


def _call_upgrader(upgrader: Any, value: dict[str, Any], spec: ConfigSpec, version: int, path: str) -> dict[str, Any]:
    try:
        result = upgrader(value)
        if not isinstance(result, dict):
            raise TypeError(f"it returned {type(result).__name__}, not a dict")
    except Exception as err:
        raise ConfigError(
            f"the plugin {spec.plugin} failed to bring its config from version {version} to {version + 1}",
            where=path or "the outermost object",
            why=f"{type(err).__name__}: {err}",
            fix=f"report this to the authors of {spec.plugin}",
        ) from err
    return result


def _refuse_missing(plain: dict[str, Any], saved: SavedTypes, specs: list[ConfigSpec]) -> None:
    """Name the package to install for every class that cannot be found here."""
    findings: dict[str, Finding] = {}
    raised = False
    for path, value in hinted_objects(plain):
        hint = value[TYPE_HINT]
        if hint not in findings:
            try:
                class_of(hint)
            except ConfigError as err:
                # Its package is here where the module is found and raises: its own words say what is wrong.
                is_here = err.__cause__ is not None and not isinstance(err.__cause__, ModuleNotFoundError)
                package = "" if is_here else package_to_install(hint, saved, specs)
                fix = f"pip install {package}" if package else err.block.fix
                findings[hint] = Finding(join(path, TYPE_HINT), err.one_line(), fix)
                raised = raised or is_here
    if findings:
        what = f"the config holds classes that {'cannot be loaded' if raised else 'are not installed'} here"
        raise ConfigError(what, findings=findings.values())


def package_to_install(hint: str, saved: SavedTypes, specs: list[ConfigSpec]) -> str:
    """The distribution that has the class of a hint, as far as the file tells; "" if it does not, or if it is here."""
    missing = sorted(set(saved.versions) - {spec.plugin for spec in specs})
    package = saved.package_of(hint)
    same = [name for name in missing if package and re.sub(r"[-.]+", "_", name).lower() == package.lower()]
    return " ".join(same or missing)
