"""What declarations name as `"module:attribute"`, imported; a task needs no more of the plugins than this."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rv_core.errors import PluginError, RvError


def resolve(target: str, *, declared_by: str) -> Any:
    """Import what a declaration names.

    Args:
        target: `"module:attribute"`; the attribute may be dotted.
        declared_by: who declared it, for the message where no installed plugin owns the module.

    Raises:
        PluginError: if it cannot be imported; names the plugin.
    """
    module_name, _, attribute = target.partition(":")
    try:
        value: Any = import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except (RvError, KeyboardInterrupt):
        raise
    except BaseException as error:
        from rv_core.plugins.installed import plugin_manager
        from rv_core.plugins.loading import cause_of

        owner = plugin_manager().owner_of_module(module_name)
        label = owner.label if owner else declared_by
        fix = "reinstall it with what it needs" + (f"; rv plugins show {owner.name}" if owner else "")
        what = f"{target}, declared by {label}, cannot be imported"
        raise PluginError(what, why=cause_of(error, module_name), fix=fix) from error
    return value
