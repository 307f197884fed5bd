"""JSON Schema (draft 2020-12) of config classes, for editors and for the reference pages."""

from __future__ import annotations

from typing import Any

from rv_core.config.classes import Config
from rv_core.config.docstrings import descriptions_of, summary_of
from rv_core.config.field_types import (
    ChoiceType,
    DictType,
    FieldType,
    ListType,
    NullType,
    ObjectType,
    ScalarType,
    TupleType,
    UnionType,
)
from rv_core.config.fields import ConfigField, fields_of
from rv_core.config.type_hints import TYPE_HINT, hint_of, is_abstract, with_subclasses
from rv_core.config.values import to_plain

_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def json_schema(cls: type[Config]) -> dict[str, Any]:
    """The JSON Schema of a config class; every config class inside it is a definition under `$defs`.

    Args:
        cls: the outermost class. Fields of a base class allow its subclasses that are loaded.
    """
    definitions: dict[str, Any] = {}
    top = _reference(cls, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "$defs": definitions}


def _reference(cls: type[Config], definitions: dict[str, Any]) -> dict[str, Any]:
    name = hint_of(cls)
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = _object_schema(cls, definitions)
    return {"$ref": f"#/$defs/{name.replace('~', '~0').replace('/', '~1')}"}


def _object_schema(cls: type[Config], definitions: dict[str, Any]) -> dict[str, Any]:
    descriptions = descriptions_of(cls)
    properties: dict[str, Any] = {TYPE_HINT: {"const": hint_of(cls)}}
    for name, field in fields_of(cls).items():
        properties[name] = _field_schema(field, descriptions.get(name, ""), definitions)
    return {
        "title": cls.__name__,
        **({"description": summary_of(cls)} if summary_of(cls) else {}),
        "type": "object",
        "properties": properties,
        "required": [name for name, field in fields_of(cls).items() if field.is_required],
        "additionalProperties": False,
    }


def _field_schema(field: ConfigField, description: str, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = dict(_schema(field.type, definitions))
    if description:
        schema["description"] = description
    if not field.is_required:
        schema["default"] = to_plain(field.default())
    return schema


def _schema(field_type: FieldType, definitions: dict[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind
    if isinstance(field_type, ScalarType):
        return _scalar_schema(field_type)
    if isinstance(field_type, NullType):
        return {"type": "null"}
    if isinstance(field_type, ChoiceType):
        return {"enum": [plain for plain, _ in field_type.choices]}
    if isinstance(field_type, ListType):
        return {"type": "array", "items": _schema(field_type.item, definitions)}
    if isinstance(field_type, TupleType):
        return _tuple_schema(field_type, definitions)
    if isinstance(field_type, DictType):
        return _dict_schema(field_type, definitions)
    if isinstance(field_type, ObjectType):
        return _objects_schema(field_type, definitions)
    assert isinstance(field_type, UnionType)
    return {"anyOf": [_schema(option, definitions) for option in field_type.options]}


def _scalar_schema(scalar: ScalarType) -> dict[str, Any]:
    words = {
        "min": "minimum",
        "max": "maximum",
        "min_exclusive": "exclusiveMinimum",
        "max_exclusive": "exclusiveMaximum",
    }
    schema: dict[str, Any] = {"type": _SCALARS[scalar.kind]}
    for bounds in scalar.ranges:
        given = {word: getattr(bounds, name) for name, word in words.items()}
        schema.update({word: bound for word, bound in given.items() if bound is not None})
    if scalar.is_uri:
        schema["format"] = "uri-reference"
    return schema


def _tuple_schema(field_type: TupleType, definitions: dict[str, Any]) -> dict[str, Any]:
    items = [_schema(item, definitions) for item in field_type.items]
    if field_type.is_variadic:
        return {"type": "array", "items": items[0]}
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _dict_schema(field_type: DictType, definitions: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": _schema(field_type.value, definitions)}
    return {**schema, "propertyNames": {"pattern": "^-?[0-9]+$"}} if field_type.key is int else schema


def _objects_schema(field_type: ObjectType, definitions: dict[str, Any]) -> dict[str, Any]:
    family = dict.fromkeys(cls for base in field_type.classes for cls in with_subclasses(base))
    references = [
        _with_hint(_reference(cls, definitions), is_needed=field_type.needs_hint(cls))
        for cls in family
        if not is_abstract(cls)
    ]
    if len(references) == 1:
        return references[0]
    return {"anyOf": references}


def _with_hint(reference: dict[str, Any], *, is_needed: bool) -> dict[str, Any]:
    return {**reference, "required": [TYPE_HINT]} if is_needed else reference
