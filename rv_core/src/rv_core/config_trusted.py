"""Building the objects of a config that this very version has written and checked: no marshmallow, no entry points.

Each class is taken from the file's `types`. Whatever does not fit exactly makes the caller go the strict way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from rv_core.config.classes import Config
from rv_core.config.field_types import ObjectType
from rv_core.config.fields import fields_of
from rv_core.config.type_hints import TYPE_HINT, class_at, package_version, remember_class
from rv_core.config.values import build
from rv_core.errors import ConfigError

C = TypeVar("C", bound=Config)


class NotTrustedError(Exception):
    """The file was not written by these versions of everything."""


def build_trusted(
    plain: Mapping[str, Any], types: Mapping[str, str], packages: Mapping[str, str], expected: type[C]
) -> C:
    """The config of plain values that carry every field and every `type_hint`.

    Args:
        plain: the values.
        types: type hint -> `"module:Class"`, of every class in them.
        packages: top-level package -> its version when the file was written.
        expected: the class that the config is declared as.

    Raises:
        NotTrustedError: if a class, a version or a field is not what the file says.
    """
    classes = _classes_of(types)
    if any(package_version(name) != version for name, version in packages.items()):
        raise NotTrustedError("another version of a package is installed")

    def make(object_type: ObjectType, values: Any) -> Config:
        cls = classes.get(values.get(TYPE_HINT, "")) if isinstance(values, dict) else None
        if cls is None or not issubclass(cls, object_type.classes):
            raise NotTrustedError(f"the class of an object is not in the file: {values!r:.60}")
        fields = fields_of(cls)
        if len(values) != len(fields) + 1 or not all(name in values for name in fields):
            raise NotTrustedError(f"{cls.__name__} has other fields than the file")
        return cls(**{name: build(field.type, values[name], make) for name, field in fields.items()})

    config = make(ObjectType(expected, (expected,)), plain)
    assert isinstance(config, expected)
    return config


def _classes_of(types: Mapping[str, str]) -> dict[str, type[Config]]:
    try:
        classes = {hint: class_at(target, hint) for hint, target in types.items()}
    except ConfigError as err:
        raise NotTrustedError(str(err)) from err
    for hint, cls in classes.items():
        remember_class(cls, hint)
    return classes
