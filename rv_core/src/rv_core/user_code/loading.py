"""Loading the module that a user names: a `.py` file under its own name, or a dotted module."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rv_core.errors import Finding, PluginError, UsageError, nearest
from rv_core.user_code.archive import add_folder, describe_code, pack_module
from rv_core.user_code.failures import explained

if TYPE_CHECKING:
    from rv_core.pipeline.pipeline import PipelineConfig

#: Modules that were loaded by path: the next one of their name takes their place.
_LOADED: set[str] = set()
#: What is put behind the name of a file that is also the name of an installed module.
_SUFFIX = "_rv_module"


@dataclass(frozen=True)
class UserModule:
    """A module that a user named.

    Args:
        module: the module.
        label: its path or name, for messages.
        code: the `code` of a saved config that comes from it.
        code_archive: the zip of its text, where the code travels.
        findings: warnings.
        config_class: the config of the pipeline whose registered name was given in place of a module.
    """

    module: ModuleType
    label: str
    code: dict[str, Any] = field(default_factory=dict)
    code_archive: bytes = b""
    findings: tuple[Finding, ...] = ()
    config_class: type[PipelineConfig] | None = None


def load_module(module: str, cwd: str) -> UserModule:
    """The module that `rv run RUNNER MODULE` names.

    Args:
        module: a dotted name, a path that ends in `.py`, or the registered name of a pipeline where no module is
            called so.
        cwd: absolute folder that a relative path starts from; modules are also looked for there, last.

    Raises:
        UsageError: if there is no such module.
        ConfigError: if it cannot be imported; shows the user's own lines.
    """
    if "://" in module:
        raise UsageError(
            f"{module!r} is not on this machine, and code is run from nowhere else",
            fix="download it first; only a saved config (.json) may be named by a URI",
        )
    if module.endswith(".py") or "/" in module or os.sep in module:
        return _load_file(module, cwd)
    own_file = os.path.join(cwd, f"{module}.py")
    if "." not in module and os.path.isfile(own_file) and not _is_taken(module, own_file):
        return _load_file(f"{module}.py", cwd)
    try:
        return _load_dotted(module, cwd)
    except UsageError:
        if registered := _load_registered(module):
            return registered
        raise


def _load_registered(name: str) -> UserModule | None:
    """The module of the pipeline that a plugin declares under this name; None if none does.

    Raises:
        PluginError: if it cannot be imported.
    """
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.plugins.installed import plugin_manager
    from rv_core.plugins.targets import resolve

    spec = plugin_manager().pipeline_specs().get(name)
    if spec is None:
        return None
    cls = resolve(spec.target, declared_by=name)
    if not (isinstance(cls, type) and issubclass(cls, PipelineConfig)):
        raise PluginError(f"{spec.target}, declared as pipeline {name!r}, is not a subclass of rv_core.PipelineConfig")
    return UserModule(sys.modules[cls.__module__], name, config_class=cls)


def _load_file(module: str, cwd: str) -> UserModule:
    path = os.path.normpath(os.path.join(cwd, os.path.expanduser(module)))
    if not os.path.isfile(path):
        raise _no_such_file(module, path)
    if not path.endswith(".py"):
        raise UsageError(
            f"{module!r} is no module", where=path, fix="name a .py file, a dotted module or a saved .json"
        )
    name, findings = _name_for(path)
    try:
        sha256, archive = pack_module(path, name)
    except OSError as err:
        raise UsageError(f"{module!r} cannot be read", where=path, why=str(err)) from err
    loaded = load_from_folder(path, name)
    code = describe_code(name, sha256, os.path.dirname(path))
    return UserModule(loaded, module, code, archive, tuple(findings))


def load_from_folder(path: str, name: str = "") -> ModuleType:
    """Run a file as a module of that name and put its folder last on the path.

    Args:
        path: absolute path of the file.
        name: the module's name; that of the file when "".

    Raises:
        ConfigError: if it raises; shows the user's own lines.
    """
    name = name or os.path.splitext(os.path.basename(path))[0]
    add_folder(os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it is a .py file
    loaded = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = loaded
    _LOADED.add(name)
    try:
        with explained(f"{os.path.basename(path)} cannot be imported", path):
            spec.loader.exec_module(loaded)
    except BaseException:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        raise
    return loaded


def _no_such_file(module: str, path: str) -> UsageError:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return UsageError(f"there is no module {module!r}", why=f"there is no folder {folder}")
    files = [name for name in os.listdir(folder) if name.endswith((".py", ".json"))]
    near = nearest(os.path.basename(path), files)
    fix = f"did you mean {os.path.join(os.path.dirname(module), near)!r}?" if near else ""
    return UsageError(f"there is no module {module!r}", where=path, fix=fix or "name a .py file, a module or a .json")


def _name_for(path: str) -> tuple[str, list[Finding]]:
    """The name under which a file is imported, and a warning where that is not its own.

    A fresh process must find the same module under it, so it must be an identifier and nobody else's.
    """
    stem = os.path.splitext(os.path.basename(path))[0]
    name = re.sub(r"\W", "_", stem)
    if not name.isidentifier() or keyword.iskeyword(name):
        name = f"m_{name}"
    if not _is_taken(name, path):
        return name, []
    own = name
    while _is_taken(name, path):
        name += _SUFFIX
    what = f"{own!r} is also the name of another module, so this file is imported as {name!r}"
    return name, [Finding(path, what, "give the file a name of its own", "warning")]


def _is_taken(name: str, path: str) -> bool:
    """Whether an import of this name would give another module than this file."""
    if name in sys.stdlib_module_names:
        return True
    if name in _LOADED:
        sys.modules.pop(name, None)
    add_folder(os.path.dirname(path))
    try:
        spec = importlib.util.find_spec(name)
    except (ValueError, ImportError):
        return True
    if spec is None:
        return False
    return spec.origin is None or os.path.realpath(spec.origin) != os.path.realpath(path)


def _load_dotted(module: str, cwd: str) -> UserModule:
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"{module!r} is no module", fix="name a .py file, a dotted module or a saved .json")
    add_folder(cwd)
    importlib.invalidate_caches()
    with explained(f"{module} cannot be imported", module):
        try:
            loaded = import_module(module)
        except ModuleNotFoundError as err:
            if err.name and (module == err.name or module.startswith(f"{err.name}.")):
                raise _no_such_module(module, err.name, cwd) from err
            raise
    origin = os.path.realpath(getattr(loaded, "__file__", None) or "/")
    is_own = origin.startswith(os.path.realpath(cwd) + os.sep) and "site-packages" not in origin
    return UserModule(loaded, module, {"module": module, "folder": cwd} if is_own else {})


def _no_such_module(module: str, missing: str, cwd: str) -> UsageError:
    path = module.replace(".", os.sep) + ".py"
    if os.path.isfile(os.path.join(cwd, path)):
        return UsageError(f"there is no module {module!r}", fix=f"did you mean the file {path!r}?")
    from rv_core.plugins.installed import plugin_manager

    here = [name for name in os.listdir(cwd) if name.endswith((".py", ".json"))]
    registered = sorted(plugin_manager().pipeline_specs())
    near = nearest(module, [*(os.path.splitext(name)[0] for name in here), *registered])
    meant = next((name for name in here if os.path.splitext(name)[0] == near), near)
    why = f"{missing!r} is neither installed nor in {cwd}"
    fix = f"name a .py file, or a registered pipeline ({', '.join(registered)})" if registered else "name a .py file"
    return UsageError(f"there is no module {module!r}", why=why, fix=f"did you mean {meant!r}?" if meant else fix)
