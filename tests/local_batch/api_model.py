"""botocore's own model of AWS Batch: which request is which operation, and whether requests and answers fit it.

botocore checks types and required members; what else a value can be by the model (no unknown member, only the words
of an enumeration) is checked here.
"""

from __future__ import annotations

from functools import cache
from typing import Any

#: "The values aren't case sensitive" (EvaluateOnExit.action).
_WORDS_IN_ANY_CASE = frozenset({"RetryAction"})
_TRUTH = {"true": True, "false": False}


class ApiError(Exception):
    """What the service refuses.

    Args:
        message: what is wrong.
        code: the name of the error.
        status: the HTTP status.
    """

    def __init__(self, message: str, *, code: str = "ClientException", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


@cache
def service_model() -> Any:
    """botocore's model of Batch."""
    import botocore.session

    return botocore.session.get_session().get_service_model("batch")


@cache
def _operations() -> dict[str, str]:
    model = service_model()
    return {model.operation_model(name).http["requestUri"]: name for name in model.operation_names}


def operation_of(path: str) -> str:
    """The operation that a path asks for; "" for one that is not in the model or has parts of its own in the path."""
    return _operations().get(path, "")


def input_problems(operation: str, params: Any) -> list[str]:
    """What is wrong with a request."""
    return _problems(service_model().operation_model(operation).input_shape, params)


def output_problems(operation: str, answer: Any) -> list[str]:
    """What is wrong with an answer; empty for an operation that answers nothing."""
    shape = service_model().operation_model(operation).output_shape
    return [] if shape is None else _problems(shape, answer)


def coerced(shape_name: str, value: Any) -> Any:
    """A value in the types of a shape, without members that the shape does not know.

    CloudFormation hands numbers and truth values on as text where a parameter of the template was text.
    """
    return _coerced(service_model().shape_for(shape_name), value)


def _problems(shape: Any, value: Any) -> list[str]:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        return str(report.generate_report()).splitlines()
    return _word_problems(shape, value, "")


def _word_problems(shape: Any, value: Any, where: str) -> list[str]:
    """Unknown members and words, anywhere in a value whose types fit."""
    if shape.type_name == "structure":
        unknown = [f"Unknown parameter: {where}.{name}" for name in value if name not in shape.members]
        known = [(name, member) for name, member in shape.members.items() if name in value]
        return unknown + [p for name, m in known for p in _word_problems(m, value[name], f"{where}.{name}")]
    if shape.type_name == "list":
        return [p for i, item in enumerate(value) for p in _word_problems(shape.member, item, f"{where}[{i}]")]
    if shape.type_name == "map":
        return [p for key, item in value.items() for p in _word_problems(shape.value, item, f"{where}.{key}")]
    return _enumeration_problems(shape, value, where)


def _enumeration_problems(shape: Any, value: Any, where: str) -> list[str]:
    words = getattr(shape, "enum", [])
    is_known = value in words or (shape.name in _WORDS_IN_ANY_CASE and value.upper() in words)
    return [f"{where}: {value!r} is none of {', '.join(words)}"] if words and not is_known else []


def _coerced(shape: Any, value: Any) -> Any:
    if value is None:
        return None
    if shape.type_name == "structure":
        pairs = [(name, _coerced(member, value.get(name))) for name, member in shape.members.items()]
        return {name: member for name, member in pairs if member is not None}
    if shape.type_name == "list":
        return [_coerced(shape.member, item) for item in value]
    if shape.type_name == "map":
        return {key: _coerced(shape.value, item) for key, item in value.items()}
    return _coerced_scalar(shape.type_name, value)


def _coerced_scalar(type_name: str, value: Any) -> Any:
    if type_name in ("integer", "long") and isinstance(value, str):
        return int(value)
    if type_name == "boolean" and isinstance(value, str):
        return _TRUTH[value.lower()]
    return str(value) if type_name == "string" else value
