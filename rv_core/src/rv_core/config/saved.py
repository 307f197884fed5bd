"""Saved configs: `pipeline-config.json`, with versions, upgraders and the code that travels.

The text is `{"rv": {"format", "versions", "types", "packages", "code"}, "config": {…}}`. Every config object in it
carries `type_hint`, so that upgraders find each of them. Settings and secrets are never in it.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Generic, NamedTuple, TypeVar

from rv_core.config.classes import Config
from rv_core.config.field_types import ObjectType
from rv_core.config.fields import class_label, fields_of, is_importable
from rv_core.config.type_hints import TYPE_HINT, class_at, config_specs, hint_of, package_version, remember_class
from rv_core.config.values import build, to_short, walk
from rv_core.errors import ConfigError, Finding

C = TypeVar("C", bound=Config)

#: The version of the file's own layout.
FORMAT = 1
_RV_KEYS = {"format", "versions", "types", "packages", "code"}


class SavedConfig(NamedTuple, Generic[C]):
    """A saved config, loaded.

    Args:
        config: the config, brought up to date.
        code: `{"module", "sha256", "archive", "folder"}` of the code that travels; empty if there is none.
        versions: plugin -> version of its config when it was saved.
        is_upgraded: whether a plugin's config was of an older version.
    """

    config: C
    code: dict[str, Any]
    versions: dict[str, int]
    is_upgraded: bool = False


class PlainConfig(NamedTuple):
    """A saved config as plain JSON values; reading it imports no code of the run and calls none.

    Args:
        plain: the values of the config, as they were saved.
        code: as in `SavedConfig`.
        versions: as in `SavedConfig`.
        types: type hint -> `"module:Class"`.
        packages: top-level package -> its `__version__`.
    """

    plain: dict[str, Any]
    code: dict[str, Any]
    versions: dict[str, int]
    types: dict[str, str]
    packages: dict[str, str]


def dump(config: Config, *, code: Mapping[str, Any] | None = None, for_this_process: bool = False) -> str:
    """The JSON text of a config that has been checked.

    Args:
        config: the config; equal ones give equal texts.
        code: what `archive.describe_code` says of the module that it came from.
        for_this_process: whether no other process has to read it; its classes may then live in a notebook.

    Raises:
        ConfigError: if a fresh process could not find a class of it.
    """
    classes = {type(part): path for path, part in reversed(list(walk(config)))}
    if not for_this_process:
        _refuse_unfindable(classes)
    types = {hint_of(cls): class_label(cls) for cls in classes}
    packages = {label.partition(":")[0].partition(".")[0] for label in types.values()}
    header = {
        "format": FORMAT,
        "versions": _versions_of(types),
        "types": dict(sorted(types.items())),
        "packages": {name: package_version(name) for name in sorted(packages)},
        "code": dict(code or {}),
    }
    plain = to_short(config, all_hints=True)
    return json.dumps({"rv": header, "config": plain}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _refuse_unfindable(classes: Mapping[type, str]) -> None:
    findings = [
        Finding(
            path,
            f"{class_label(cls)} cannot be found by a fresh process",
            "define the class at the top level of an importable module",
        )
        for cls, path in classes.items()
        if not is_importable(cls)
    ]
    if findings:
        raise ConfigError("the config cannot be saved", findings=findings)


def _versions_of(types: Mapping[str, str]) -> dict[str, int]:
    from rv_core.config.upgrades import SavedTypes, owns

    saved = SavedTypes({}, types)
    specs = (spec for spec in config_specs() if any(owns(spec, hint, saved) for hint in types))
    return {spec.plugin: spec.version for spec in sorted(specs, key=lambda spec: spec.plugin)}


def parse_plain(text: str, *, source: str) -> PlainConfig:
    """A saved config as plain values, without importing anything that it names.

    Args:
        text: the JSON text.
        source: the file or URI, for messages.

    Raises:
        ConfigError: if the text is no saved config, or one of a newer format.
    """
    data = _json_object(text, source)
    header = data.get("rv")
    plain = data.get("config")
    if not isinstance(header, dict) or not isinstance(plain, dict) or set(data) != {"rv", "config"}:
        raise ConfigError(
            "this is not a saved pipeline config",
            where=source,
            why='it must be an object with the keys "rv" and "config" and no others',
            fix="let `rv run` write one: it is pipeline-config.json under the root",
        )
    _check_header(header, source)
    return PlainConfig(
        plain,
        header.get("code", {}),
        header.get("versions", {}),
        header.get("types", {}),
        header.get("packages", {}),
    )


def plain_in(text: str | bytes) -> Any:
    """The plain config in what a file holds, if rv wrote it as a saved config, of whatever format; else None."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data.get("config") if isinstance(data, dict) and isinstance(data.get("rv"), dict) else None


def _json_object(text: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except RecursionError as err:
        raise ConfigError("the JSON is nested too deeply", where=source) from err
    except ValueError as err:
        raise ConfigError("this is not valid JSON", where=source, why=str(err)) from err
    return data if isinstance(data, dict) else {}


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not a number in JSON")


def _check_header(header: dict[str, Any], source: str) -> None:
    version = header.get("format")
    if type(version) is not int or version < 1:
        raise ConfigError("the saved config names no format", where=source, why=f'"rv"."format" is {version!r}')
    if version > FORMAT:
        raise ConfigError(
            f"the saved config has format {version}, this rv-core reads up to {FORMAT}",
            where=source,
            fix="pip install --upgrade rv-core",
        )
    objects = all(isinstance(header.get(name, {}), dict) for name in _RV_KEYS - {"format"})
    versions = header.get("versions", {}).values() if objects else ()
    texts = [*header.get("types", {}).values(), *header.get("packages", {}).values()] if objects else ()
    is_sound = objects and all(type(v) is int and v >= 1 for v in versions) and all(isinstance(t, str) for t in texts)
    if not is_sound or not set(header) <= _RV_KEYS or not is_code(header.get("code", {})):
        raise ConfigError('the "rv" part of the saved config is not what rv writes', where=source)


def is_code(code: dict[str, Any]) -> bool:
    """Whether this can be what `archive.describe_code` says; it decides from where code is imported."""
    names = code.get("names", [])
    texts = [code[name] for name in ("module", "sha256", "archive", "folder") if name in code]
    return isinstance(names, list) and all(isinstance(text, str) and "\0" not in text for text in [*texts, *names])


def parse(text: str, *, source: str, expected: type[C]) -> SavedConfig[C]:
    """A saved config: read, brought up to date by the plugins' upgraders, and loaded strictly.

    The code that it names must be importable: see `activate_code`.

    Args:
        text: the JSON text.
        source: the file or URI, for messages.
        expected: the class that the config is declared as; subclasses fit.

    Raises:
        ConfigError: if it is no saved config, is newer than what is installed, names classes that are not installed
            (the message names the package), or is wrong in any other way; all problems at once.
    """
    from rv_core.config.validation import schemas

    saved = parse_plain(text, source=source)
    try:
        plain, is_upgraded = up_to_date(saved)
        config = schemas.load(plain, expected)
    except ConfigError as err:
        raise with_source(err, source) from err
    assert isinstance(config, expected)
    return SavedConfig(config, saved.code, saved.versions, is_upgraded)


def up_to_date(saved: PlainConfig) -> tuple[dict[str, Any], bool]:
    """The plain values as the installed plugins write them now, and whether an older version was among them.

    Args:
        saved: the config; its values are changed in place.

    Raises:
        ConfigError: as `parse`.
    """
    from rv_core.config.upgrades import SavedTypes, upgraded

    specs = config_specs()
    plain = upgraded(saved.plain, SavedTypes(saved.versions, saved.types), specs)
    current = {spec.plugin: spec.version for spec in specs}
    return plain, any(version < current.get(plugin, 0) for plugin, version in saved.versions.items())


def with_source(err: ConfigError, source: str) -> ConfigError:
    """The same error with the file that it is about."""
    block = err.block
    where = f"{source}: {block.where}" if block.where else source
    return ConfigError(block.what, where=where, why=block.why, fix=block.fix, findings=block.findings)


def parse_trusted(text: str, *, source: str, expected: type[C]) -> SavedConfig[C]:
    """The run's own immutable copy of a config, written and checked by these very versions of everything.

    Builds the objects directly: neither marshmallow nor an entry point is loaded. A file of another format, of other
    package versions or with other fields than the classes have goes through `parse`, whose arguments these are.

    Raises:
        ConfigError: as `parse`.
    """
    try:
        data = json.loads(text)
        header, plain = data["rv"], data["config"]
        if header["format"] != FORMAT:
            return parse(text, source=source, expected=expected)
        config = _build_trusted(plain, header["types"], header["packages"], expected)
    except (_NotTrustedError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return parse(text, source=source, expected=expected)
    return SavedConfig(config, header.get("code", {}), header.get("versions", {}))


class _NotTrustedError(Exception):
    """The file was not written by these versions of everything."""


def _build_trusted(
    plain: Mapping[str, Any], types: Mapping[str, str], packages: Mapping[str, str], expected: type[C]
) -> C:
    """The config of plain values that carry every `type_hint`, and every field but those that are as before they came.

    Args:
        plain: the values.
        types: type hint -> `"module:Class"`, of every class in them.
        packages: top-level package -> its version when the file was written.
        expected: the class that the config is declared as.

    Raises:
        _NotTrustedError: if a class, a version or a field is not what the file says.
    """
    classes = _classes_of(types)
    if any(package_version(name) != version for name, version in packages.items()):
        raise _NotTrustedError("another version of a package is installed")

    def make(object_type: ObjectType, values: Any) -> Config:
        cls = classes.get(values.get(TYPE_HINT, "")) if isinstance(values, dict) else None
        if cls is None or not issubclass(cls, object_type.classes):
            raise _NotTrustedError(f"the class of an object is not in the file: {values!r:.60}")
        fields = fields_of(cls)
        before = {name: field.before.value for name, field in fields.items() if field.before and name not in values}
        if len(values) + len(before) != len(fields) + 1 or not all(name in values or name in before for name in fields):
            raise _NotTrustedError(f"{cls.__name__} has other fields than the file")
        given = {**deepcopy(before), **values}
        return cls(**{name: build(field.type, given[name], make) for name, field in fields.items()})

    config = make(ObjectType(expected, (expected,)), plain)
    assert isinstance(config, expected)
    return config


def _classes_of(types: Mapping[str, str]) -> dict[str, type[Config]]:
    try:
        classes = {hint: class_at(target, hint) for hint, target in types.items()}
    except ConfigError as err:
        raise _NotTrustedError(str(err)) from err
    for hint, cls in classes.items():
        remember_class(cls, hint)
    return classes
