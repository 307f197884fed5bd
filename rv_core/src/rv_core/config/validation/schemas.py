"""Strict marshmallow schemas, derived from the annotations of config classes. The only module that uses marshmallow.

A config that was built in Python and one that was read from JSON go through the same schema, and all problems come
back at once as findings with dotted paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rv_core.config.classes import Config
from rv_core.config.dotted_paths import join
from rv_core.config.field_types import (
    ChoiceType,
    DictType,
    FieldType,
    ListType,
    ObjectType,
    ScalarType,
    TupleType,
    UnionType,
    text_problem,
)
from rv_core.config.fields import ConfigField, fields_of
from rv_core.config.type_hints import TYPE_HINT, concrete_class
from rv_core.config.validation.checks import built, findings_of_sound_parts, semantic_findings
from rv_core.config.validation.quick_marshmallow import marshmallow
from rv_core.config.values import Walked, walk_to_plain
from rv_core.errors import ConfigError, Finding, nearest


class Problem(NamedTuple):
    """One message of a schema: what is wrong and what to do."""

    what: str
    fix: str = ""


def refusal(what: str, fix: str = "") -> marshmallow.ValidationError:
    """The error that a field raises."""
    return marshmallow.ValidationError([Problem(what, fix)])


class StrictField(marshmallow.fields.Field[Any]):
    """A field that takes what its field type accepts and changes nothing.

    Args:
        field_type: what the annotation allows.
        is_required: whether the value must be given.
    """

    def __init__(self, field_type: FieldType, *, is_required: bool = False) -> None:
        messages = {"required": [Problem("is missing", f"give {field_type.describe()}")]}
        super().__init__(required=is_required, allow_none=True, error_messages=messages)  # type: ignore[arg-type]
        self.field_type = field_type

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> Any:
        """The value itself. None is treated like any other value, by the field's type."""
        if value is None:
            return self._deserialize(value, attr, data, **kwargs)
        return super().deserialize(value, attr, data, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not self.field_type.accepts(value):
            raise refusal(f"expected {self.field_type.describe()}, got {shown(value)}")
        self._look_inside(value)
        return value

    def _look_inside(self, value: Any) -> None:
        """Check what a value of the right kind holds.

        Raises:
            ValidationError: with messages keyed by index, key or field.
        """


class ScalarField(StrictField):
    """A number, a text or a boolean."""

    field_type: ScalarType

    def _look_inside(self, value: Any) -> None:
        if problem := self.field_type.problem_with(value):
            raise refusal(problem)


class ListField(StrictField):
    """A list, or a tuple where one is declared."""

    field_type: ListType | TupleType

    def _look_inside(self, value: Any) -> None:
        wanted = self.field_type
        if isinstance(wanted, TupleType) and not wanted.is_variadic and len(value) != len(wanted.items):
            raise refusal(f"expected {wanted.describe()}, got {len(value)} values")
        _check_children(self.field_type, value)


class DictField(StrictField):
    """A dict; the keys of `dict[int, …]` may be integers or their digits."""

    field_type: DictType

    def _look_inside(self, value: Any) -> None:
        wanted = self.field_type
        errors = {}
        for key in value:
            if type(wanted.key_of(key)) is not wanted.key:
                kind = "an integer" if wanted.key is int else "text"
                errors[str(key)] = [Problem(f"the key must be {kind}, got {shown(key)}")]
            elif isinstance(key, str) and (problem := text_problem(key)):
                errors[ascii(key)] = [Problem(f"the key {problem}")]
        if len({wanted.key_of(key) for key in value}) < len(value):
            errors["_schema"] = [Problem("the same integer is a key twice")]
        _check_children(wanted, value, errors)


class ObjectField(StrictField):
    """A config object, or the dict that is to become one."""

    field_type: ObjectType

    def _look_inside(self, value: Any) -> None:
        try:
            cls = concrete_class(self.field_type, value)
        except ConfigError as err:
            raise marshmallow.ValidationError({TYPE_HINT: [Problem(err.one_line(), err.block.fix)]}) from err
        if errors := structural_errors(cls, value):
            raise marshmallow.ValidationError(errors)


class UnionField(StrictField):
    """One of several types; the kind of the value decides which, so that its own messages are shown."""

    field_type: UnionType

    def _look_inside(self, value: Any) -> None:
        option = self.field_type.option_for(value)
        if option is not None:
            field_for(option).deserialize(value)


def _check_children(field_type: FieldType, value: Any, errors: dict[Any, Any] | None = None) -> None:
    errors = errors or {}
    made: dict[int, StrictField] = {}
    for step, inner, child in field_type.children(value):
        # What marshmallow would do for each of a million names takes ten times as long.
        if isinstance(inner, ScalarType) and type(child) is inner.kind and not inner.problem_with(child):
            continue
        field = made.setdefault(id(inner), field_for(inner))
        try:
            field.deserialize(child)
        except marshmallow.ValidationError as err:
            errors.setdefault(step, err.messages)
    if errors:
        raise marshmallow.ValidationError(errors)


_FIELD_CLASSES: dict[type[FieldType], type[StrictField]] = {
    ScalarType: ScalarField,
    ChoiceType: StrictField,
    ListType: ListField,
    TupleType: ListField,
    DictType: DictField,
    ObjectType: ObjectField,
    UnionType: UnionField,
}


_FIELDS: dict[int, tuple[FieldType, StrictField]] = {}


def field_for(field_type: FieldType, *, is_required: bool = False) -> StrictField:
    """The marshmallow field of a field type; those that are not required are shared."""
    if is_required:
        return _FIELD_CLASSES.get(type(field_type), StrictField)(field_type, is_required=True)
    if id(field_type) not in _FIELDS:
        made = _FIELD_CLASSES.get(type(field_type), StrictField)(field_type)
        _FIELDS[id(field_type)] = (field_type, made)  # holding the type keeps its id from being used again
    return _FIELDS[id(field_type)][1]


def shown(value: Any) -> str:
    """A value for messages: its JSON word or Python repr, with its type where that is not plain from it."""
    if value is None:
        return "null"
    if isinstance(value, Walked):
        return f"an object ({value.config_class.__name__})"
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return text if isinstance(value, str | int | float | list | dict) else f"{type(value).__name__} {text}"


class StrictSchema(marshmallow.Schema):
    """Base of every derived schema: unknown keys are refused with the near miss."""

    class Meta:
        """How marshmallow treats what the schema does not know."""

        unknown = marshmallow.RAISE
        register = False

    def handle_error(self, error: marshmallow.ValidationError, data: Any, **kwargs: Any) -> None:
        """Put the near miss into what marshmallow says about unknown keys."""
        if isinstance(error.messages, dict):
            for key in [key for key in error.messages if key not in self.fields and key != "_schema"]:
                near = nearest(str(key), self.fields)
                fix = f"did you mean {near!r}?" if near else f"known fields: {', '.join(self.fields) or 'none'}"
                error.messages[key] = [Problem("there is no such field", fix)]


_SCHEMAS: dict[type, marshmallow.Schema] = {}


def schema_for(cls: type) -> marshmallow.Schema:
    """The schema of a config or settings class, derived once.

    Raises:
        ConfigError: if an annotation of the class cannot be expressed.
    """
    if cls not in _SCHEMAS:
        declared: dict[str, Any] = {field.name: _schema_field(field) for field in fields_of(cls).values()}
        _SCHEMAS[cls] = StrictSchema.from_dict(declared, name=f"{cls.__name__}Schema")()
    return _SCHEMAS[cls]


def _schema_field(field: ConfigField) -> StrictField:
    # A fresh field each: marshmallow copies and binds those that it is given.
    return _FIELD_CLASSES.get(type(field.type), StrictField)(field.type, is_required=field.is_required)


def structural_errors(cls: type, values: Mapping[str, Any]) -> dict[Any, Any]:
    """What a schema says about plain values, as marshmallow's nested messages; empty if nothing."""
    data = {key: value for key, value in values.items() if key != TYPE_HINT}
    return schema_for(cls).validate(data)


def _flatten(messages: Any, path: str) -> Iterator[tuple[str, Problem]]:
    if isinstance(messages, dict):
        for step, inner in messages.items():
            yield from _flatten(inner, path if step == "_schema" else join(path, step))
    elif isinstance(messages, list):
        for message in messages:
            yield path, message if isinstance(message, Problem) else Problem(str(message))


def structural_findings(cls: type, values: Mapping[str, Any]) -> list[Finding]:
    """The findings of the schema alone: types, bounds, missing and unknown fields.

    Args:
        cls: a config class, or the dataclass of a section of the settings.
        values: plain values; those of objects inside may be `Walked`.
    """
    try:
        errors = structural_errors(cls, values)
    except RecursionError:
        return [Finding("", "objects are nested too deeply, or one holds itself")]
    problems = list(_flatten(errors, ""))
    order = {name: index for index, name in enumerate([*fields_of(cls), *values])}
    problems.sort(key=lambda found: order.get(_first_word(found[0]), 0))
    return [Finding(path, problem.what, problem.fix) for path, problem in problems]


def _first_word(path: str) -> str:
    return path.partition(".")[0].partition("[")[0]


def check(config: Config) -> list[Finding]:
    """Everything that is wrong with a config that was built in Python: types, bounds, URIs, and every `validate()`.

    Nothing is serialised or coerced on the way. An object whose own fields are wrong is not asked to `validate()`;
    all others are.

    Raises:
        ConfigError: if a class cannot be a config (no `@dataclass`, an annotation that cannot be expressed).
    """
    try:
        walked = walk_to_plain(config)
    except RecursionError:
        return [Finding("", "objects are nested too deeply, or one holds itself")]
    structural = structural_findings(type(config), walked)
    return [*structural, *semantic_findings(config, structural)]


def load(plain: Any, expected: type[Config] | None = None) -> Config:
    """The config of plain JSON values.

    Args:
        plain: the values; `type_hint` names the class, unless `expected` is it.
        expected: the class, or a base of it.

    Raises:
        ConfigError: with all findings and near misses.
    """
    config, findings = load_with_findings(plain, expected)
    errors = [finding for finding in findings if finding.severity == "error"]
    if config is None or errors:
        raise ConfigError(wording_of(len(errors)), findings=findings)
    return config


def load_with_findings(plain: Any, expected: type[Config] | None = None) -> tuple[Config | None, list[Finding]]:
    """The config of plain values, None if it cannot be built, and everything that is wrong with it."""
    wanted = ObjectType(expected, (expected or Config,))
    if not isinstance(plain, dict):
        return None, [Finding("", f"expected {wanted.describe()}, got {shown(plain)}")]
    try:
        cls = concrete_class(wanted, plain)
    except ConfigError as err:
        return None, [Finding(TYPE_HINT, err.one_line(), err.block.fix)]
    structural = structural_findings(cls, plain)
    if structural:
        return None, [*structural, *findings_of_sound_parts(cls, plain, structural)]
    config, findings = built(cls, plain, "")
    return config, findings if config is None else [*findings, *semantic_findings(config, [])]


def wording_of(count: int) -> str:
    """The headline for a number of problems."""
    return "1 problem in the config" if count == 1 else f"{count} problems in the config"
