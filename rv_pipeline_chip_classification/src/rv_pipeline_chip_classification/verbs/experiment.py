"""The config that a verb looks at, and those of its scenes that have labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from rv_core.errors import UsageError, unknown_name
from rv_core.files import uris
from rv_core.user_code.configs import load_configs, pairs_of
from rv_pipeline_chip_classification.config import ChipClassificationConfig, SceneConfig
from rv_pipeline_chip_classification.config_parts import SUBSETS
from rv_pipeline_chip_classification.file_boundary import file_boundary


class LabelledScene(NamedTuple):
    """A scene with labels, and where it stands.

    Args:
        config: that it belongs to.
        path: its dotted path in the config.
        subset: "train", "validation" or "test".
        scene: the scene.
    """

    config: ChipClassificationConfig
    path: str
    subset: str
    scene: SceneConfig


def load_experiment(
    module: str, arguments: Sequence[str] | None, sets: Sequence[str] | None
) -> ChipClassificationConfig:
    """The config of a module, of a saved pipeline-config.json, or of a root.

    Args:
        module: as `rv run` takes it, or the folder of a root.
        arguments: `-a` pairs as KEY=VALUE.
        sets: `--set` pairs as PATH=VALUE.

    Raises:
        UsageError: if there is none, or it is no single config of a chip classification.
        ConfigError: with everything that is wrong with it.
    """
    if os.path.isdir(module) and os.path.isfile(os.path.join(module, "pipeline-config.json")):
        module = os.path.join(module, "pipeline-config.json")
    loaded = load_configs(
        module, runner="local", arguments=pairs_of(arguments, "-a"), sets=pairs_of(sets, "--set"), cwd=os.getcwd()
    )
    found = [config for config in loaded.configs if isinstance(config, ChipClassificationConfig)]
    if len(found) != 1:
        what = f"{module} gives {len(found) or 'no'} config{'s' if len(found) != 1 else ''} of a chip classification"
        raise UsageError(what, fix="name one that gives one; -a may choose it")
    return found[0]


def labelled_scenes(
    config: ChipClassificationConfig, names: Sequence[str] | None = None, subsets: Sequence[str] | None = None
) -> list[LabelledScene]:
    """The scenes with labels, in the order of the config.

    Args:
        config: the config.
        names: only these.
        subsets: only those of these subsets.

    Raises:
        UsageError: for a name that is no such scene, or where none is left.
    """
    for subset in subsets or ():
        if subset not in SUBSETS:
            raise _unknown("subset", subset, SUBSETS)
    known = [entry for entry in all_scenes(config) if entry.scene.labels is not None]
    ids = [entry.scene.id for entry in known]
    for name in names or ():
        if name not in ids:
            raise _unknown("scene with labels", name, ids)
    found = [
        entry for entry in known if (not names or entry.scene.id in names) and (not subsets or entry.subset in subsets)
    ]
    if not found:
        raise UsageError("there is no scene with labels to look at", fix="give scenes labels, or name other ones")
    return found


def all_scenes(config: ChipClassificationConfig, names: Sequence[str] | None = None) -> list[LabelledScene]:
    """The scenes of a config, also those without labels, in its order.

    Args:
        config: the config.
        names: only these.

    Raises:
        UsageError: for a name that is no scene.
    """
    known = [
        LabelledScene(config, f"dataset.{path}", subset, scene)
        for path, subset, scene in config.dataset.located_scenes()
    ]
    for name in names or ():
        if name not in [entry.scene.id for entry in known]:
            raise _unknown("scene", name, [entry.scene.id for entry in known])
    return [entry for entry in known if not names or entry.scene.id in names]


def _unknown(kind: str, name: str, known: Sequence[str]) -> UsageError:
    what, fix = unknown_name(kind, name, known)
    return UsageError(what, fix=fix)


def boundary_of(entry: LabelledScene) -> AbstractContextManager[None]:
    """The boundary around the work on a scene; see `file_boundary`."""
    return file_boundary(f"scene {entry.scene.id!r} cannot be used", where=f"{entry.path} ({_files_of(entry)})")


def _files_of(entry: LabelledScene) -> str:
    return ", ".join(map(uris.name_of, entry.scene.raster.uris[:3]))
