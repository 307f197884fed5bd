"""What a task on another machine must find there: the code that the run was submitted with.

An image is built at some time and code changes later. So a run records the versions of what it needs and hashes of the
modules that its configs come from; a task compares them before anything else, and names both where they differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rv_core.errors import RunnerError

Required = Mapping[str, Mapping[str, str]]


def required_here(
    config_texts: Sequence[str], source: str, runner: str, code: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """What the tasks of a run need, as it is in this process.

    Args:
        config_texts: the saved configs.
        source: what the user named: a dotted module, a `.py` path or a `.json`.
        runner: the runner's name.
        code: the `code` of the saved configs; what travels is not needed there.

    Returns:
        `distributions` and `packages` with their versions, `modules` with the SHA-256 of their text.
    """
    travelling = set(code.get("names", ())) | ({code["module"].partition(".")[0]} if code.get("archive") else set())
    headers = [json.loads(text)["rv"] for text in config_texts]
    packages = {name: version for header in headers for name, version in header["packages"].items() if version}
    modules = {target.partition(":")[0] for header in headers for target in header["types"].values()}
    if all(part.isidentifier() for part in source.split(".")):
        modules.add(source)
    return {
        "distributions": dict(_distributions(runner)),
        "packages": _without(packages, travelling),
        "modules": _without({name: module_hash(name) for name in sorted(modules)}, travelling),
    }


def _distributions(runner: str) -> Iterator[tuple[str, str]]:
    from rv_core.plugins.installed import plugin_manager
    from rv_core.version import __version__

    yield "rv-core", __version__
    owner = plugin_manager().owner_of("runner", runner)
    if owner.distribution and owner.version:
        yield owner.distribution, owner.version


def _without(found: Mapping[str, str], travelling: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in found.items() if name.partition(".")[0] not in travelling}


def module_hash(name: str) -> str:
    """The SHA-256 of a module's text in hexadecimal; "" if there is no such module, or it has no file."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return ""
    if spec is None or not spec.origin:
        return ""
    try:
        with open(spec.origin, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return ""


def differences(required: Required) -> list[str]:
    """What is not here as it was where the run was submitted, one line each, naming both sides."""
    return [
        *_version_differences(required.get("distributions", {}), _distribution_version),
        *_version_differences(required.get("packages", {}), _package_version),
        *_module_differences(required.get("modules", {})),
    ]


def _version_differences(required: Mapping[str, str], version_of: Any) -> Iterable[str]:
    for name, wanted in required.items():
        here = version_of(name)
        if here != wanted:
            yield f"{name} is {here or 'not installed'} here and was {wanted} where the run was submitted"


def _module_differences(required: Mapping[str, str]) -> Iterable[str]:
    for name, wanted in required.items():
        here = module_hash(name)
        if not here:
            yield f"the module {name} is not here"
        elif wanted and here != wanted:
            yield f"the module {name} is {here[:12]} here and was {wanted[:12]} where the run was submitted (SHA-256)"


def _distribution_version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _package_version(name: str) -> str:
    try:
        return str(getattr(import_module(name), "__version__", ""))
    except ImportError:
        return ""


def check_required(required: Required) -> None:
    """Refuse to work with other code than the run was submitted with.

    Raises:
        RunnerError: naming what differs, both sides of it.
    """
    found = differences(required)
    if found:
        raise RunnerError(
            f"this image is not the code of the run: {'; '.join(found)}",
            fix="build the image anew, or submit with --ship-code=NAME, which sends pure-Python packages along",
        )
