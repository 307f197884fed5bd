"""Texts from the command line (`-a KEY VALUE`) and the environment → values, converted by annotations."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from rv_core.annotations import UnsupportedAnnotationError, field_type_of
from rv_core.errors import ConfigError, Finding, UsageError, nearest
from rv_core.field_types import (
    ChoiceType,
    FieldType,
    ListType,
    ScalarType,
    TupleType,
    UnionType,
    is_integer_text,
)

_TRUE = ("true", "yes", "1", "on")
_FALSE = ("false", "no", "0", "off")
_NULL = ("none", "null")


def convert(text: str, annotation: Any) -> Any:
    """The value of a text.

    Args:
        text: what was typed. Lists are separated by commas, or written as JSON; `none` is None where None is allowed.
        annotation: what is wanted; `Any` and `inspect.Parameter.empty` are text.

    Raises:
        ValueError: if the text does not fit; the message says what is expected.
        UnsupportedAnnotationError: if the annotation cannot be given as text.
    """
    if annotation in (inspect.Parameter.empty, Any):
        return text
    return convert_to(field_type_of(annotation), text)


def convert_to(field_type: FieldType, text: str) -> Any:
    """As `convert`, for an annotation that was read already.

    Raises:
        ValueError: if the text does not fit.
        UnsupportedAnnotationError: if the type cannot be given as text.
    """
    if isinstance(field_type, UnionType):
        return _convert_union(field_type, text)
    if isinstance(field_type, ScalarType):
        return _convert_scalar(field_type, text)
    if isinstance(field_type, ChoiceType):
        return _convert_choice(field_type, text)
    if isinstance(field_type, ListType):
        return [convert_to(field_type.item, part) for part in _parts(text)]
    if isinstance(field_type, TupleType):
        return _convert_tuple(field_type, text)
    raise UnsupportedAnnotationError(f"{field_type.describe()} cannot be given as text")


def _convert_union(union: UnionType, text: str) -> Any:
    """The first option that takes the text, the pickiest first: text takes everything."""
    if text.lower() in _NULL and any(option.accepts(None) for option in union.options):
        return None
    order: list[type] = [ChoiceType, bool, int, float, ListType, TupleType, str]
    kinds = [(option.kind if isinstance(option, ScalarType) else type(option), option) for option in union.options]
    options = [option for wanted in order for kind, option in kinds if kind is wanted]
    if not options:
        raise UnsupportedAnnotationError(f"{union.describe()} cannot be given as text")
    problems = []
    for option in options:
        try:
            return convert_to(option, text)
        except ValueError as error:
            problems.append(str(error))
    # The one that could take it knows best: "10 is below 60".
    own = [problem for problem in problems if not problem.startswith("expected ")]
    raise ValueError(own[0] if own else f"expected {union.describe()}, got {text!r}")


def _convert_scalar(scalar: ScalarType, text: str) -> Any:
    value: Any = text
    if scalar.kind is bool:
        value = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}.get(text.strip().lower())
    elif scalar.kind is int:
        value = int(text) if is_integer_text(text.strip().removeprefix("+")) else None
    elif scalar.kind is float:
        value = _float(text)
    if value is None:
        raise ValueError(f"expected {scalar.describe()}, got {text!r}")
    if problem := scalar.problem_with(value):
        raise ValueError(problem)
    return value


def _float(text: str) -> float | None:
    try:
        return float(text.replace("_", "?"))
    except ValueError:
        return None


def _convert_choice(choice: ChoiceType, text: str) -> Any:
    for plain, member in choice.choices:
        words = (
            _NULL if plain is None else (str(plain), str(plain).lower()) if isinstance(plain, bool) else (str(plain),)
        )
        if text in words:
            return member
    near = nearest(text, [str(plain) for plain, _ in choice.choices])
    raise ValueError(f"expected {choice.describe()}, got {text!r}" + (f"; did you mean {near!r}?" if near else ""))


def _convert_tuple(wanted: TupleType, text: str) -> tuple[Any, ...]:
    parts = _parts(text)
    items = wanted.items * len(parts) if wanted.is_variadic else wanted.items
    if len(parts) != len(items):
        raise ValueError(f"expected {len(items)} values separated by commas, got {len(parts)}")
    return tuple(convert_to(item, part) for item, part in zip(items, parts, strict=True))


def _parts(text: str) -> list[str]:
    """The parts of a list: separated by commas, or JSON where one holds a comma itself."""
    if text.lstrip().startswith("["):
        try:
            return [part if isinstance(part, str) else json.dumps(part) for part in json.loads(text)]
        except ValueError as err:
            raise ValueError(f"{text!r} starts like a JSON list but is none: {err}") from err
    return [part.strip() for part in text.split(",")] if text.strip() else []


# --- the arguments of get_config --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signature:
    """What a user's function takes.

    Args:
        name: the function's name.
        text: its signature, as it is shown in messages.
        parameters: the parameters that can be given by name.
        annotations: parameter -> annotation.
        takes_any: whether it has `**kwargs`.
    """

    name: str
    text: str
    parameters: Mapping[str, inspect.Parameter]
    annotations: Mapping[str, Any]
    takes_any: bool


def signature_of(function: Callable[..., Any]) -> Signature:
    """The signature of `get_config` or `get_configs`.

    Raises:
        ConfigError: if it cannot be read, for instance because an annotation names what is not there.
    """
    try:
        found = inspect.signature(function)
        annotations = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, ValueError, SyntaxError) as err:
        raise ConfigError(f"the signature of {function!r} cannot be read", why=f"{type(err).__name__}: {err}") from err
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    kinds = {parameter.kind for parameter in found.parameters.values()}
    name = getattr(function, "__name__", "get_config")
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        raise ConfigError(
            f"{name} has parameters that cannot be given by name", fix="remove the '/' from its signature"
        )
    parameters = {name: parameter for name, parameter in found.parameters.items() if parameter.kind in by_name}
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds
    return Signature(name, _show(name, found), parameters, annotations, takes_any)


def _show(name: str, signature: inspect.Signature) -> str:
    # Annotations that were written as text (`from __future__ import annotations`) are shown without quotes.
    shown = []
    for parameter in signature.parameters.values():
        stars = (
            "*" * ("VAR_POSITIONAL", "VAR_KEYWORD").index(kind) + "*"
            if (kind := parameter.kind.name).startswith("VAR")
            else ""
        )
        text = stars + parameter.name
        if parameter.annotation is not inspect.Parameter.empty:
            own = parameter.annotation
            text += f": {own if isinstance(own, str) else inspect.formatannotation(own)}"
        if parameter.default is not inspect.Parameter.empty:
            text += f" = {parameter.default!r}"
        shown.append(text)
    return f"{name}({', '.join(shown)})"


def arguments_for(signature: Signature, runner: str, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The keyword arguments for a call of `get_config`.

    Args:
        signature: the function's signature. `runner` is passed if it takes it.
        runner: the runner's name.
        given: (key, text) pairs of `-a`.

    Raises:
        UsageError: with every key that is unknown, missing, given twice or of the wrong kind, and the signature.
    """
    values: dict[str, Any] = {"runner": runner} if "runner" in signature.parameters else {}
    findings = list(_problems_with_keys(signature, given))
    for key, text in given:
        try:
            values.setdefault(key, convert(text, signature.annotations.get(key, Any)))
        except UnsupportedAnnotationError as err:
            findings.append(Finding(f"-a {key}", f"cannot be given on the command line: {err}", "annotate it as str"))
        except ValueError as err:
            findings.append(Finding(f"-a {key}", str(err)))
    if findings:
        raise UsageError(
            f"{signature.name} cannot be called with these arguments", findings=findings, fix=signature.text
        )
    return values


def _problems_with_keys(signature: Signature, given: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    keys = [key for key, _ in given]
    takes = [name for name in signature.parameters if name != "runner"]
    for key in dict.fromkeys(keys):
        if key == "runner":
            yield Finding("-a runner", "is given by `rv run RUNNER`")
        elif key not in takes and not signature.takes_any:
            near = nearest(key, takes)
            fix = f"did you mean {near!r}?" if near else f"it takes {', '.join(takes) or 'nothing'}"
            yield Finding(f"-a {key}", "there is no such argument", fix)
        if keys.count(key) > 1:
            yield Finding(f"-a {key}", "is given twice")
    for name in takes:
        if signature.parameters[name].default is inspect.Parameter.empty and name not in keys:
            yield Finding(f"-a {name}", "is missing", f"add -a {name} VALUE")
