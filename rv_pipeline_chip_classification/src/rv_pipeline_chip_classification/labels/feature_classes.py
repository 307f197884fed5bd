"""Which class a GeoJSON feature has, from its properties. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rv_core.errors import DataError, Finding, unknown_name
from rv_pipeline_chip_classification.config import GeoJsonLabelsConfig

_STANDARD_PROPERTIES = ("class_id", "class_name", "label")
#: Problems that are listed; a file that is wrong throughout has as many as features.
_MAX_FINDINGS = 20
_FIX = 'name them in classes.names, or map them with class_mapping ("" leaves them out)'


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


def classify_features(
    properties: Sequence[Mapping[str, Any]], labels: GeoJsonLabelsConfig, class_names: Sequence[str]
) -> FeatureClasses:
    """The class of each feature: its `class_id`, else `class_name`, else `label` (or only `class_property`).

    Raises:
        DataError: if ids or names are no classes; all of them are listed, each with its first feature.
    """
    names = (labels.class_property,) if labels.class_property is not None else _STANDARD_PROPERTIES
    class_ids = np.full(len(properties), -1, np.int64)
    dropped: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    problems: dict[str, Finding] = {}
    for index, its in enumerate(properties):
        key = next((name for name in names if its.get(name) is not None), None)
        if key is None:
            dropped[f"no property {' or '.join(names)}"] += 1
            continue
        found = _class_of(key, its[key], labels, class_names)
        if isinstance(found, int):
            class_ids[index] = found
            if key == "class_id" and (doubt := _doubt(found, its, labels, class_names)):
                doubts[doubt] += 1
        elif found is None:
            dropped[f"{its[key]!r} is mapped to nothing"] += 1
        else:
            problems.setdefault(found[0], Finding(f"features[{index}].properties.{key}", *found))
    if problems:
        findings = list(problems.values())[:_MAX_FINDINGS]
        what = f"{len(problems)} kinds of classes in a GeoJSON file are not in the config"
        raise DataError(what, where=labels.uri, findings=findings, fix=_FIX)
    return FeatureClasses(class_ids, dropped, doubts)


def _doubt(class_id: int, its: Mapping[str, Any], labels: GeoJsonLabelsConfig, class_names: Sequence[str]) -> str:
    """How a feature's name contradicts its id, in words; "" if it does not. Ids that count from 1 do, for instance."""
    for key in ("class_name", "label"):
        name = its.get(key)
        name = labels.class_mapping.get(name, name) if isinstance(name, str) else None
        if name in class_names and name != class_names[class_id]:
            return f"class_id {class_id} is {class_names[class_id]!r}, and {key} says {name!r}"
    return ""


def _class_of(
    key: str, value: Any, labels: GeoJsonLabelsConfig, class_names: Sequence[str]
) -> int | tuple[str, str] | None:
    """The class id, None for a class that is left out on purpose, or what is wrong and what to do."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
    if is_number and key in ("class_id", labels.class_property):
        if 0 <= value < len(class_names):
            return int(value)
        return f"class id {value} is out of range: there are the classes 0 to {len(class_names) - 1}", ""
    if not isinstance(value, str) or key == "class_id":
        return f"{value!r} is no class {'id' if key == 'class_id' else 'name'}", ""
    name = labels.class_mapping.get(value, value)
    if name in class_names:
        return class_names.index(name)
    return None if value in labels.class_mapping and not name else unknown_name("class", name, class_names)
