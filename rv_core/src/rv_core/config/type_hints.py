"""Type hints: the registered name of a config class (hook `rv_configs`), else `module:Class`, and back.

A fresh process finds a class by either. Nothing but a config class is ever returned, and nothing is ever called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rv_core.config.classes import Config
from rv_core.config.field_types import ObjectType, unhinted_class
from rv_core.config.fields import class_label
from rv_core.errors import ConfigError, nearest, unknown_name

if TYPE_CHECKING:
    from rv_core.plugins.declarations import ConfigSpec

TYPE_HINT = "type_hint"

_HINTS: dict[type, str] = {}
# Classes made inside functions: only this process can find them.
_LOCAL: dict[str, type[Config]] = {}


def config_specs() -> list[ConfigSpec]:
    """What the installed plugins declare about their config classes."""
    from rv_core.plugins.installed import plugin_manager

    return list(plugin_manager().config_specs().values())


def registered_types() -> dict[str, str]:
    """Registered type hint -> `"module:Class"`, of all installed plugins."""
    return {hint: target for spec in config_specs() for hint, target in spec.types.items()}


def remember_class(cls: type[Config], hint: str) -> None:
    """Take over the hint of a class from a file that this very version has written, so that none is looked up."""
    _HINTS.setdefault(cls, hint)


def package_version(package: str) -> str:
    """The `__version__` of a package that is loaded; "" if it has none."""
    return str(getattr(sys.modules.get(package), "__version__", ""))


def hint_of(cls: type[Config]) -> str:
    """The type hint of a class: its registered name, else `module:Class`."""
    if cls in _HINTS:
        return _HINTS[cls]
    hint = _registered_name(cls)
    if hint is None:
        hint = class_label(cls)
        if "<locals>" in hint:
            _LOCAL[hint] = cls
        return hint
    return _HINTS.setdefault(cls, hint)


def _registered_name(cls: type[Config]) -> str | None:
    package = cls.__module__.partition(".")[0]
    for hint, target in registered_types().items():
        module, _, name = target.partition(":")
        if name == cls.__qualname__ and module.partition(".")[0] == package and class_of(hint) is cls:
            return hint
    return None


def hint_named(name: str) -> str:
    """What a person calls a config class, as its type hint: `ChipConfig` is `chip`; what is no class stays as it is."""
    known = registered_types()
    by_class = {target.rpartition(":")[2]: hint for hint, target in known.items()}
    return name if name in known or ":" in name else by_class.get(name.rpartition(".")[2], name)


def class_of(hint: str) -> type[Config]:
    """The config class of a type hint.

    Raises:
        ConfigError: if it cannot be found, or is not a config class.
    """
    if ":" in hint:
        return _LOCAL[hint] if hint in _LOCAL else class_at(hint, hint)
    known = registered_types()
    target = known.get(hint)
    if target is None:
        what, fix = unknown_name("config type", hint, known)
        raise ConfigError(what, fix=fix or "install the plugin that has it, or write module:Class")
    found = class_at(target, hint)
    _HINTS[found] = hint
    return found


def class_at(target: str, hint: str) -> type[Config]:
    """The config class at `module:Class`, imported where needed; `hint` is what messages call it.

    Raises:
        ConfigError: if it cannot be found, or is not a config class.
    """
    module_name, _, qualname = target.partition(":")
    _check_target(target, module_name, qualname)
    found: Any = _import(module_name, hint)
    for part in qualname.split("."):
        owner, found = found, getattr(found, part, None)
        if found is None:
            near = nearest(part, [name for name in vars(owner) if isinstance(getattr(owner, name), type)])
            fix = f"did you mean {near!r}?" if near else ""
            raise ConfigError(f"type_hint {hint!r}: {module_name} has no {part!r}", fix=fix)
    if not (isinstance(found, type) and issubclass(found, Config)):
        raise ConfigError(
            f"type_hint {hint!r} is not a config class", why="only subclasses of rv_core.Config are loaded"
        )
    return found


def _check_target(target: str, module_name: str, qualname: str) -> None:
    parts = (*module_name.split("."), *qualname.split("."))
    if not all(part.isidentifier() for part in parts):
        raise ConfigError(f"type_hint {target!r} is not of the form module:Class")
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(f"type_hint {target!r} names Python's own library, which has no config classes")


def _import(module_name: str, hint: str) -> Any:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as err:
        missing = err.name or module_name
        is_itself = module_name == missing or module_name.startswith(f"{missing}.")
        raise ConfigError(
            f"type_hint {hint!r}: there is no module {missing!r}",
            why="" if is_itself else f"needed by {_line_of(err, module_name)}",
            fix=f"install the package that has {missing!r}, or put its folder on the path",
        ) from err
    except (Exception, SystemExit) as err:
        raise ConfigError(
            f"type_hint {hint!r}: the module {module_name!r} cannot be imported",
            why=f"{type(err).__name__}: {err} ({_line_of(err, module_name)})",
        ) from err


def _line_of(err: BaseException, module_name: str) -> str:
    """`file:line: code` of the line of a module that raised; of the innermost line where none is the module's own."""
    import linecache
    import os
    import traceback

    frames = list(traceback.walk_tb(err.__traceback__))
    own = [(frame, line) for frame, line in frames if frame.f_globals.get("__name__") == module_name]
    frame, line = (own or frames)[-1]
    path = frame.f_code.co_filename
    return f"{os.path.basename(path)}:{line}: {linecache.getline(path, line, frame.f_globals).strip()}"


def concrete_class(object_type: ObjectType, value: Mapping[str, Any]) -> type[Config]:
    """The class that a plain object is to become.

    Args:
        object_type: what the field allows.
        value: the plain values, of a `Walked` object or of JSON.

    Raises:
        ConfigError: if its `type_hint` is missing or wrong.
    """
    cls: type[Config] | None = getattr(value, "config_class", None)
    if cls is None and TYPE_HINT in value:
        cls = _hinted_class(value[TYPE_HINT])
    if cls is None:
        cls = _only_class(object_type)
    if not issubclass(cls, object_type.classes):
        allowed = " or ".join(allowed.__name__ for allowed in object_type.classes)
        raise ConfigError(f"expected {allowed}, got {cls.__name__}")
    if is_abstract(cls):
        raise ConfigError(f"{cls.__name__} is only a base for other classes", fix=_choices(object_type.classes))
    return cls


def is_abstract(cls: type) -> bool:
    """Whether a class says in its own body that it must not be used itself, or lacks abstract methods."""
    return bool(cls.__dict__.get("is_abstract", False) or getattr(cls, "__abstractmethods__", None))


def _hinted_class(hint: Any) -> type[Config]:
    if not isinstance(hint, str):
        raise ConfigError(f"type_hint must be text, got {hint!r}")
    return class_of(hint)


def _only_class(object_type: ObjectType) -> type[Config]:
    if len(object_type.classes) == 1 and not is_abstract(only := unhinted_class(object_type.classes[0])):
        return only
    raise ConfigError("type_hint is missing: the class of the object cannot be told", fix=_choices(object_type.classes))


def _choices(bases: Iterable[type[Config]]) -> str:
    """The hints of the usable classes below these bases that are loaded, as advice."""
    hints = sorted({hint_of(cls) for base in bases for cls in with_subclasses(base) if not is_abstract(cls)})
    return f"set type_hint to one of: {', '.join(hints)}" if hints else ""


def with_subclasses(base: type[Config]) -> list[type[Config]]:
    """A config class and all of its subclasses that are loaded."""
    return [base, *(found for child in base.__subclasses__() for found in with_subclasses(child))]
