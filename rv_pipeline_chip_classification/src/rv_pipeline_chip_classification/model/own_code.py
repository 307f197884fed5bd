"""The code of a backbone that is the user's own, `module:callable`: where it is, and a digest of its text. No torch.

The digest covers the text of the module and of what it imports by name: in a package the modules of that package, beside
a single file whatever is neither Python's nor installed. It is found without importing anything, so that a plan can ask.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from rv_core.errors import ConfigError, UsageError
from rv_pipeline_chip_classification.config_checks import own_backbone

_INSTALLED = ("site-packages", "dist-packages")
#: Packages of this project, of which a version decides and not the text.
_OURS = "rv_"
_FIX = (
    "put it beside the module of the experiment, install it, or name its folder in PYTHONPATH; on other machines it has "
    "to be in the image, or sent along with --ship-code"
)


def code_digest(module: str) -> str:
    """SHA-256, in hexadecimal, of the text of a module and of what it imports by name.

    Args:
        module: its dotted name.

    Raises:
        ConfigError: if there is no such module here, or it is no Python that can be read.
    """
    texts: dict[str, str] = {}
    pending = [module]
    while pending:
        name = pending.pop()
        if name in texts:
            continue
        spec = _find(name)
        text = None if spec is None else _text_of(spec, name)
        if text is None:
            if name == module:
                raise _missing(module)
            continue
        texts[name] = text
        pending += _imports_of(text, spec, name, module)
    return hashlib.sha256("\0".join(f"{name}\0{texts[name]}" for name in sorted(texts)).encode()).hexdigest()


def _missing(module: str) -> ConfigError:
    return ConfigError(f"there is no module {module!r} here", where="model.backbone", fix=_FIX)


def _find(name: str) -> ModuleSpec | None:
    """The place of a module, without importing the packages that it is in."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        spec = None
    path = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        path = f"{path}.{part}"
        spec = PathFinder.find_spec(path, list(spec.submodule_search_locations))
    return spec


def _text_of(spec: ModuleSpec, name: str) -> str | None:
    loader: Any = spec.loader
    try:
        text = loader.get_source(name)
    except (AttributeError, ImportError, OSError):
        return None
    return text if isinstance(text, str) else None


def _imports_of(text: str, spec: ModuleSpec | None, name: str, module: str) -> Iterator[str]:
    """The modules that a module imports by name and whose text belongs to its own."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as err:
        where = "model.backbone"
        raise ConfigError(f"the module {name!r} is no Python that can be read", where=where, why=str(err)) from err
    is_package = spec is not None and spec.submodule_search_locations is not None
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base_of(node, package)
            found = [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
        else:
            continue
        yield from (one for one in found if _is_part_of(one, module))


def _base_of(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")
    base = parents[: len(parents) - node.level + 1]
    return ".".join([*base, *filter(None, [node.module])])


def _is_part_of(name: str, module: str) -> bool:
    top, own = name.partition(".")[0], module.partition(".")[0]
    if top == own:
        return True
    if top in sys.stdlib_module_names or top.startswith(_OURS) or "." in module:
        return False
    spec = _find(top)
    origin = (spec.origin or "") if spec is not None else ""
    return bool(origin) and not any(part in origin.replace("\\", "/").split("/") for part in _INSTALLED)


def digest_of_backbone(backbone: str) -> str | None:
    """`code_digest` of a backbone that is the user's own; None for any other.

    Raises:
        ConfigError: if its module is not here.
    """
    own = own_backbone(backbone)
    return None if own is None else code_digest(own[0])


def refuse_unnamed_code(backbone: str, allowed: str | None, *, where: str) -> None:
    """Refuse a bundle that calls code which the command line does not name: a bundle may come from anybody.

    Args:
        backbone: of the bundle.
        allowed: what may be imported and called.
        where: the bundle, for messages.

    Raises:
        UsageError: saying which code it asks for.
    """
    if own_backbone(backbone) is None or backbone == allowed:
        return
    raise UsageError(
        "the bundle asks for code that is not part of rv",
        where=where,
        why=f"its network is {backbone}, a callable of a module on this machine"
        + (f", and --backbone names {allowed}" if allowed else ""),
        fix=f"if you know that code and trust it, add --backbone {backbone}",
    )
