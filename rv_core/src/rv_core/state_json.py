"""Reading the JSON of a run's state: bounded, and typed before it is used. Pure.

Whatever lies in a file of the state – cut, emptied, of another kind, nested without end, with numbers that cannot be –
becomes a value of the shape that was asked for, or a `ValueError` that says in a few words what is wrong with it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

MAX_BYTES = 512 * 1024 * 1024
#: Parameters of configs are nested some ten deep.
MAX_DEPTH = 100

#: A type (`float` takes whole numbers too; `object` anything), a tuple of types, a `range` of whole numbers, `[shape]`
#: for a list, `{str: shape}` for a mapping, `{"field": shape, "other?": shape}` for one with these fields and maybe others.
Shape = Any

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def parse(data: bytes | str) -> Any:
    """The JSON value in the content of a file.

    Raises:
        ValueError: if it is none, or too large or too deep to be one of ours.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has {len(data)} bytes, which is more than any of these files has")
    if not data.strip():
        raise ValueError("it is empty")
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    except UnicodeDecodeError:
        raise ValueError("it is no text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        raise ValueError("it holds a number of thousands of digits") from None
    if _num_brackets(data) > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return value


def typed(value: Any, shape: Shape, where: str = "") -> Any:
    """The value, if it has this shape.

    Args:
        value: what `parse` gave.
        shape: see `Shape`.
        where: the dotted path of the value in its file, for the message.

    Raises:
        ValueError: naming the first place that has another one.
    """
    if isinstance(shape, range):
        if type(value) is not int or value not in shape:
            raise ValueError(f"{where or 'it'} is not a whole number from {shape.start} to {shape.stop - 1}")
    elif isinstance(shape, list):
        _expect(value, list, where)
        for index, inner in enumerate(value):
            typed(inner, shape[0], f"{where}[{index}]")
    elif isinstance(shape, dict):
        _expect(value, dict, where)
        _check_fields(value, shape, where)
    else:
        _expect(value, shape, where)
    return value


def read(data: bytes | str, shape: Shape, *, raw: Collection[str] = ()) -> Any:
    """The value of this shape in the content of a file.

    Args:
        data: the content.
        shape: see `Shape`.
        raw: fields of the whole that hold what the system gave, such as a folder, which may be no text.

    Raises:
        ValueError: if it holds no such value.
    """
    value = parse(data)
    if "\\ud" in data.lower() if isinstance(data, str) else b"\\ud" in data.lower():
        _refuse_surrogates({k: v for k, v in value.items() if k not in raw} if isinstance(value, dict) else value)
    return typed(value, shape)


def _refuse_surrogates(value: Any) -> None:
    """Halves of characters can be written in JSON, and are no name of a file, a job or a host."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds text that is no text") from None


def _check_fields(value: dict[str, Any], shape: dict[Any, Shape], where: str) -> None:
    for name, inner in shape.items():
        if name is str:
            for key, found in value.items():
                typed(found, inner, f"{where}.{key}"[:200] if where else key[:200])
            continue
        field = name.removesuffix("?")
        path = f"{where}.{field}" if where else field
        if field in value:
            typed(value[field], inner, path)
        elif field == name:
            raise ValueError(f"{path} is missing")


def _expect(value: Any, kind: type | tuple[type, ...], where: str) -> None:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) in kinds or object in kinds or (float in kinds and type(value) is int):
        return
    wanted = " or ".join(_NAMES[kind] for kind in kinds)
    raise ValueError(f"{where or 'it'} is {_NAMES.get(type(value), 'something')} instead of {wanted}")


def _num_brackets(data: bytes | str) -> int:
    return data.count("[") + data.count("{") if isinstance(data, str) else data.count(b"[") + data.count(b"{")


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
