"""Texts from the command line (`-a KEY VALUE`) and the environment → values, converted by annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_type_hints

from rv_core.config.fields import UnsupportedAnnotationError
from rv_core.config.from_text import convert
from rv_core.errors import ConfigError, Finding, UsageError, nearest


class Signature(NamedTuple):
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
        annotations = get_type_hints(_annotated(function), include_extras=True)
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


def _annotated(function: Callable[..., Any]) -> Any:
    """What carries the annotations of a callable: of a partial the function, of an object its `__call__`."""
    import functools

    while isinstance(function, functools.partial):
        function = function.func
    has_own = inspect.isroutine(function) or inspect.isclass(function)
    return function if has_own else type(function).__call__


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
            values.setdefault(key, convert(text, _annotation_of(signature, key)))
        except UnsupportedAnnotationError as err:
            findings.append(Finding(f"-a {key}", f"cannot be given on the command line: {err}", "annotate it as str"))
        except ValueError as err:
            findings.append(Finding(f"-a {key}", str(err)))
    if findings:
        raise UsageError(
            f"{signature.name} cannot be called with these arguments", findings=findings, fix=signature.text
        )
    return values


def _annotation_of(signature: Signature, key: str) -> Any:
    """What a parameter is declared as; without an annotation what its default is, for the text "False" is true."""
    if key in signature.annotations or key not in signature.parameters:
        return signature.annotations.get(key, Any)
    kind = type(signature.parameters[key].default)
    return int | float if kind is int else kind if kind in (bool, float, str) else Any


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
