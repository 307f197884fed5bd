"""Config objects as values: walking them, their plain JSON form, their URIs, and building them from plain values.

Nothing here validates or coerces: wrong values stay wrong, so that `schemas.check` can report them. Imports the
standard library only, since every task needs it.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from rv_core.config.classes import Config
from rv_core.config.dotted_paths import field_at, join, parse
from rv_core.config.field_types import (
    ChoiceType,
    DictType,
    FieldType,
    ListType,
    ObjectType,
    ScalarType,
    Step,
    TupleType,
    UnionType,
)
from rv_core.config.fields import field_type_of, fields_of, uri_fields_of
from rv_core.config.type_hints import TYPE_HINT, concrete_class, hint_of

C = TypeVar("C", bound=Config)

#: Values that hold nothing: most of a config of a million names, for which a call each would take seconds.
_LEAVES = frozenset((str, int, float, bool, type(None)))


def walk(config: Config) -> Iterator[tuple[str, Config]]:
    """(dotted path, object) of a config and of every config object inside it, outermost first."""
    yield from _walk(config, "")


def _walk(value: Any, path: str) -> Iterator[tuple[str, Config]]:
    if isinstance(value, Config):
        yield path, value
        for name in fields_of(type(value)):
            yield from _walk(getattr(value, name, None), join(path, name))
    elif isinstance(value, list | tuple | dict):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            if type(child) not in _LEAVES:
                yield from _walk(child, join(path, step))


class _Form(NamedTuple):
    """What is written: `type_hint` on every object or where it is needed; all fields or those that are not as before."""

    all_hints: bool = False
    is_short: bool = False


def to_plain(value: Any, *, all_hints: bool = False) -> Any:
    """The plain JSON form of a config, or of any value that a config may hold; for values that have been checked.

    Args:
        value: a config, or a value of one of its fields.
        all_hints: whether every object carries `type_hint`. Otherwise the outermost one does, and those whose class
            their field's annotation does not name.

    Returns:
        dicts with text keys, lists, text, numbers, booleans and None. What is none of these comes back as it is.
    """
    return _plain_value(value, _Form(all_hints=all_hints))


def to_short(value: Any, *, all_hints: bool = False) -> Any:
    """`to_plain` without the fields that are as before they came (`AsBefore`): what enters keys and is saved."""
    return _plain_value(value, _Form(all_hints=all_hints, is_short=True))


def is_as_before(config: Config, dotted: str) -> bool:
    """Whether the field at a dotted path has its value of before it came (`AsBefore`): then it enters no key."""
    field_at(config, dotted)  # tells what is wrong with the path
    *above, name = parse(dotted)
    path = ""
    for step in above:
        path = join(path, step)
    value = field_at(config, path) if path else config
    field = fields_of(type(value)).get(str(name)) if isinstance(value, Config) else None
    if field is None or field.before is None:
        return False
    return field.before.is_it(_plain(field.type, getattr(value, field.name), _Form(is_short=True)))


def _plain_value(value: Any, form: _Form) -> Any:
    if isinstance(value, Config):
        return _plain_object(value, form, has_hint=True)
    if isinstance(value, list | tuple):
        return [child if type(child) in _LEAVES else _plain_value(child, form) for child in value]
    if isinstance(value, dict):
        return {_plain_key(key): _plain_value(child, form) for key, child in value.items()}
    return value.value if isinstance(value, Enum) else value


def _plain_object(config: Config, form: _Form, *, has_hint: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {TYPE_HINT: hint_of(type(config))} if has_hint or form.all_hints else {}
    for name, field in fields_of(type(config)).items():
        value = _plain(field.type, getattr(config, name), form)
        if not (form.is_short and field.before is not None and field.before.is_it(value)):
            plain[name] = value
    return plain


def _plain(field_type: FieldType | None, value: Any, form: _Form) -> Any:
    if isinstance(field_type, UnionType):
        field_type = field_type.option_for(value)
    if isinstance(field_type, ScalarType) and type(value) is field_type.kind:
        return value
    if isinstance(field_type, ListType) and isinstance(value, list | tuple):
        kind = _kind_of(field_type.item)
        return [child if type(child) is kind else _plain(field_type.item, child, form) for child in value]
    if isinstance(value, Config):
        has_hint = not isinstance(field_type, ObjectType) or field_type.needs_hint(type(value))
        return _plain_object(value, form, has_hint=has_hint)
    if isinstance(field_type, TupleType | DictType) and field_type.accepts(value):
        children = [(step, _plain(inner, child, form)) for step, inner, child in field_type.children(value)]
        if isinstance(field_type, DictType):
            return {_plain_key(key): child for key, child in children}
        return [child for _, child in children]
    return _plain_value(value, form)


def _kind_of(field_type: FieldType) -> type | None:
    """The class of values that are their own plain form, and their own value when loaded; None where there is none."""
    return field_type.kind if isinstance(field_type, ScalarType) else None


def _plain_key(key: Any) -> Any:
    return str(key) if type(key) is int else key


class Walked(dict[str, Any]):
    """The values of a config object as they are, with the class that they belong to."""

    __slots__ = ("config_class",)

    def __init__(self, config_class: type[Config], values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.config_class = config_class


def walk_to_plain(value: Any) -> Any:
    """The values of a config without serialising any: objects become `Walked` dicts, all else stays as it is.

    Attributes that were set on an object but are no fields of it (a misspelling) are taken along.
    """
    if isinstance(value, Config):
        names = [*fields_of(type(value)), *_stray_attributes(value)]
        present = ((name, getattr(value, name)) for name in names if hasattr(value, name))
        return Walked(type(value), {name: walk_to_plain(child) for name, child in present})
    if isinstance(value, list | tuple):
        return [child if type(child) in _LEAVES else walk_to_plain(child) for child in value]
    if isinstance(value, dict):
        return {key: walk_to_plain(child) for key, child in value.items()}
    return value


def _stray_attributes(config: Config) -> list[str]:
    fields, cls = fields_of(type(config)), type(config)
    return [
        name
        for name in getattr(config, "__dict__", {})
        if name not in fields and not name.startswith("_") and not hasattr(cls, name)
    ]


def _make_object(object_type: ObjectType, values: Any) -> Config:
    return build_object(concrete_class(object_type, values), values)


def build(  # noqa: PLR0911 - one for each kind of type
    field_type: FieldType, value: Any, make: Callable[[ObjectType, Any], Config] = _make_object
) -> Any:
    """The Python value for plain values that have been checked: objects, tuples, enums, integer keys, floats.

    Args:
        field_type: what the value is declared as.
        value: the plain value.
        make: what makes a config object of its plain values.

    Raises:
        ConfigError: if a type hint is wrong.
        Exception: whatever the class of an object raises when it is made.
    """
    if isinstance(field_type, UnionType):
        option = field_type.option_for(value)
        return value if option is None else build(option, value, make)
    if isinstance(field_type, ScalarType):
        return value if type(value) is field_type.kind else _scalar(field_type.kind, value)
    if isinstance(field_type, ListType):
        kind = _kind_of(field_type.item)
        return [child if type(child) is kind else build(field_type.item, child, make) for child in value]
    if isinstance(field_type, TupleType):
        return tuple(build(inner, child, make) for _, inner, child in field_type.children(value))
    if isinstance(field_type, DictType):
        return {field_type.key_of(key): build(field_type.value, child, make) for key, child in value.items()}
    if isinstance(field_type, ObjectType):
        return make(field_type, value)
    return field_type.member_of(value) if isinstance(field_type, ChoiceType) else value


def build_object(cls: type[C], values: Mapping[str, Any]) -> C:
    """An object of a config class from its plain values; fields that are left out get their defaults."""
    fields = fields_of(cls)
    return cls(**{name: build(fields[name].type, value) for name, value in values.items() if name != TYPE_HINT})


def _scalar(kind: type, value: Any) -> Any:
    # float(), int() and str.__str__ also turn subclasses (a numpy float, a text enum) into the plain type.
    return str.__str__(value) if kind is str else kind(value)


def normalised(config: C) -> C:
    """A copy that holds exactly what loading the saved config gives: an integer in a float field becomes a float.

    For configs that have been checked; so one that was built in Python has the same JSON and the same keys as the
    one that was loaded.
    """
    return build_object(type(config), walk_to_plain(config))


def uris_of(value: Any, annotation: Any = None, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, URI) of every `Uri` in a config, a list, a dict or an item.

    Args:
        value: where to look.
        annotation: what the value is declared as; without it a text counts for nothing, and only config objects,
            lists and dicts of them are looked into.
        path: dotted path of the value.
    """
    found: list[tuple[str, str]] = []
    _collect_uris(None if annotation is None else field_type_of(annotation), value, path, found)
    return iter(found)


def _collect_uris(field_type: FieldType | None, value: Any, path: str, found: list[tuple[str, str]]) -> None:
    if isinstance(field_type, UnionType):
        field_type = field_type.option_for(value)
    if isinstance(value, Config):
        for field in uri_fields_of(type(value)):
            _collect_uris(field.type, getattr(value, field.name, None), join(path, field.name), found)
    elif isinstance(value, str):
        if isinstance(field_type, ScalarType) and field_type.is_uri:
            found.append((path, value))
    elif isinstance(value, list | tuple | dict):
        for step, inner, child in _children(field_type, value):
            _collect_uris(inner, child, join(path, step), found)


def _children(field_type: FieldType | None, value: Any) -> Iterator[tuple[Step, FieldType | None, Any]]:
    if field_type is not None and not field_type.may_hold_uris:
        return
    if isinstance(field_type, ListType | TupleType | DictType) and field_type.accepts(value):
        yield from field_type.children(value)
        return
    for step, child in value.items() if isinstance(value, dict) else enumerate(value):
        yield step, None, child


def uris_at(config: Config, dotted: str) -> Iterator[tuple[str, str]]:
    """(dotted path, URI) of every `Uri` in the value at a dotted path, going by the classes of the actual objects.

    Raises:
        ConfigError: if there is no such field.
    """
    from rv_core.config.dotted_paths import descend

    value, field_type = descend(config, dotted)
    found: list[tuple[str, str]] = []
    _collect_uris(field_type, value, dotted, found)
    return iter(found)


def with_uris(config: C, change: Callable[[str], str]) -> C:
    """A copy of a config that has been checked, whose URIs are those that `change` makes of them."""
    return _with_uris(None, config, change)  # type: ignore[no-any-return]


def _with_uris(field_type: FieldType | None, value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(field_type, UnionType):
        field_type = field_type.option_for(value)
    if isinstance(value, Config):
        values = {name: getattr(value, name) for name in fields_of(type(value))}
        for field in uri_fields_of(type(value)):
            values[field.name] = _with_uris(field.type, values[field.name], change)
        return type(value)(**values)
    if isinstance(value, str):
        return change(value) if isinstance(field_type, ScalarType) and field_type.is_uri else value
    if field_type is None or not field_type.may_hold_uris or not isinstance(value, list | tuple | dict):
        return value
    changed = [(step, _with_uris(inner, child, change)) for step, inner, child in field_type.children(value)]
    return dict(changed) if isinstance(value, dict) else type(value)(child for _, child in changed)
