"""Which class a GeoJSON feature has, from its properties. Pure."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError, Finding, nearest, unknown_name
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig

_STANDARD_PROPERTIES = ("class_id", "class_name", "label")
#: Problems that are listed; a file that is wrong throughout has as many as features.
_MAX_FINDINGS = 20
#: Characters of a value that are shown, and whole numbers that are taken as such.
_MAX_SHOWN = 100
_MAX_WHOLE = 1e18
_FIX = 'name them in classes.names, or map them with class_mapping ("" leaves them out)'
_FIX_OF_IDS = 'write the numbers 0, 1, … of classes.names, or map the codes of the file: class_mapping={"10": "forest"}'
_FIX_OF_VALUES = "class_property names a property that holds text or a number"


class FeatureClasses(NamedTuple):
    """The classes of features.

    Args:
        class_ids: (F,) int64, -1 for a feature that is left out.
        dropped: reason -> how many features were left out.
        doubts: what an id and a name of one feature say against each other -> how many features.
    """

    class_ids: NDArray[np.int64]
    dropped: Counter[str]
    doubts: Counter[str]


class _Unclear(NamedTuple):
    """Why a value is no class, and what to do."""

    what: str
    fix: str = ""


def property_names(labels: GeoJsonLabelsConfig) -> tuple[str, ...]:
    """The properties that may hold the class of a feature, the first that it has counts."""
    return (labels.class_property,) if labels.class_property is not None else _STANDARD_PROPERTIES


def classify_features(
    properties: Sequence[Mapping[str, Any]], labels: GeoJsonLabelsConfig, class_names: Sequence[str]
) -> FeatureClasses:
    """The class of each feature: its `class_id`, else `class_name`, else `label` (or only `class_property`).

    Raises:
        DataError: if no feature has such a property, or ids or names are no classes; all of these are listed, each
            with its first feature.
    """
    names = property_names(labels)
    class_ids = np.full(len(properties), -1, np.int64)
    dropped: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    problems: dict[str, Finding] = {}
    for index, its in enumerate(properties):
        key = next((name for name in names if _is_given(its.get(name))), None)
        if key is None:
            dropped[f"no property {' or '.join(names)}"] += 1
            continue
        found = _class_of(key, its[key], labels, class_names)
        if isinstance(found, int):
            class_ids[index] = found
            if key == "class_id" and (doubt := _doubt(found, its, labels, class_names)):
                doubts[doubt] += 1
        elif found is None:
            dropped[f"{shown(its[key])} is mapped to nothing"] += 1
        else:
            problems.setdefault(found.what, Finding(f"features[{index}].properties.{key}", *found))
    if problems:
        findings = list(problems.values())[:_MAX_FINDINGS]
        what = f"{len(problems)} kinds of classes in a label file are not in the config"
        raise DataError(what, where=labels.uri, findings=findings, fix=_FIX)
    _check_property(properties, names, labels)
    return FeatureClasses(class_ids, dropped, doubts)


def _is_given(value: Any) -> bool:
    """Whether a property has a value; NaN is what tables without a value are exported as."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _check_property(properties: Sequence[Mapping[str, Any]], names: Sequence[str], labels: GeoJsonLabelsConfig) -> None:
    """A property that no feature has at all is misspelt: nothing of the file would count."""
    if not properties or any(name in its for its in properties for name in names):
        return
    there = sorted({name for its in properties for name in its})
    near = nearest(names[0], there) if labels.class_property is not None else None
    fix = f"did you mean {near!r}?" if near else "name the property that holds the class in class_property"
    raise DataError(
        f"no feature has the property {' or '.join(names)}",
        where=labels.uri,
        why=f"the {len(properties)} features have {', '.join(map(shown, there[:_MAX_FINDINGS])) or 'no property'}",
        fix=fix,
    )


def _doubt(class_id: int, its: Mapping[str, Any], labels: GeoJsonLabelsConfig, class_names: Sequence[str]) -> str:
    """How a feature's name contradicts its id, in words; "" if it does not. Ids that count from 1 do, for instance."""
    if _mapped(its["class_id"], labels) is not None:
        return ""
    for key in ("class_name", "label"):
        name = its.get(key)
        name = labels.class_mapping.get(name, name) if isinstance(name, str) else None
        if name in class_names and name != class_names[class_id]:
            return f"class_id {class_id} is {class_names[class_id]!r}, and {key} says {name!r}"
    return ""


def _class_of(key: str, value: Any, labels: GeoJsonLabelsConfig, class_names: Sequence[str]) -> int | _Unclear | None:
    """The class id, None for a class that is left out on purpose, or what is wrong."""
    name = _mapped(value, labels)
    if name == "":
        return None
    if name is None and _is_whole(value) and key in ("class_id", labels.class_property):
        if 0 <= value < len(class_names):
            return int(value)
        last = len(class_names) - 1
        return _Unclear(f"class id {shown(value)} is out of range: there are the classes 0 to {last}", _FIX_OF_IDS)
    if name is None and (not isinstance(value, str) or key == "class_id"):
        what = f"{shown(value)} is no class {'id' if key == 'class_id' else 'name'}"
        fix = _FIX_OF_IDS if key == "class_id" else ""
        return _Unclear(what, fix if any(_names_of(value)) else _FIX_OF_VALUES)
    wanted = value if name is None else name
    class_id = _id_of_name(wanted, class_names)
    return class_id if class_id is not None else _Unclear(*unknown_name("class", wanted[:_MAX_SHOWN], class_names))


def _mapped(value: Any, labels: GeoJsonLabelsConfig) -> str | None:
    """What class_mapping says of a value, None where it says nothing; 10, 10.0 and "10" are one name, true is "true"."""
    if not labels.class_mapping:
        return None
    for name in _names_of(value):
        if name in labels.class_mapping:
            return labels.class_mapping[name]
    return None


def _names_of(value: Any) -> Iterator[str]:
    """How a value may be named in a mapping."""
    if isinstance(value, str):
        yield value
    elif _is_whole(value):
        yield str(int(value))
        yield f"{int(value)}.0"
    elif isinstance(value, bool):
        yield "true" if value else "false"  # as JSON has it
    elif isinstance(value, float):
        yield repr(value)


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number that a file may sensibly hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < _MAX_WHOLE and value == int(value)


def _id_of_name(name: str, class_names: Sequence[str]) -> int | None:
    """The id of a class name; accents that are spelt in one or in two characters are the same."""
    if name in class_names:
        return class_names.index(name)
    composed = [unicodedata.normalize("NFC", known) for known in class_names]
    wanted = unicodedata.normalize("NFC", name)
    return composed.index(wanted) if wanted in composed else None


def shown(value: Any) -> str:
    """A value of a file in a message: cut where it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _MAX_WHOLE:
        return "a number of more than 18 digits"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
