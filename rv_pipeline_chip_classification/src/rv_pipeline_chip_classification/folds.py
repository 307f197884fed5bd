"""Leave one scene out: a run per labelled scene, trained on all the others, to compare settings by.

A choice by one small validation set is a choice by chance: on scenes as small teams have them, settings that it prefers
lose on others. So each scene is tested once, by a model that has seen nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rv_core.errors import ConfigError
from rv_pipeline_chip_classification.config import ChipClassificationConfig, DatasetConfig
from rv_pipeline_chip_classification.config_parts import Subset


def leave_one_scene_out(
    config: ChipClassificationConfig | Mapping[str, ChipClassificationConfig], *, num_validation: int = 0
) -> list[ChipClassificationConfig]:
    """One config per labelled scene, whichever subset it is in: that scene is the test, the others are trained on.

    Return them from `get_configs`; `rv run` runs them all. Their roots lie below that of the config:
    `<root_uri>/<scene id>`, with several settings `<root_uri>/<setting>/<scene id>`. A name gets the number of the fold.

    Args:
        config: what to run; or several, by a name for each, to be compared.
        num_validation: scenes after the one that is left out, in the order of the config and in a circle, that the epoch
            is chosen by instead of being trained on.

    Raises:
        ConfigError: if there are too few labelled scenes.
    """
    if isinstance(config, ChipClassificationConfig):
        folds = list(_folds_of(config, "", num_validation))
    else:
        folds = [fold for name, setting in config.items() for fold in _folds_of(setting, f"{name}/", num_validation)]
    # Pipelines of one run have names of their own; those without one are numbered by the run.
    return [replace(fold, name=f"{fold.name}-{number}") if fold.name else fold for number, fold in enumerate(folds, 1)]


def _folds_of(config: ChipClassificationConfig, prefix: str, num_validation: int) -> Iterator[ChipClassificationConfig]:
    scenes = [scene for _, _, scene in config.dataset.located_scenes() if scene.labels is not None]
    if len(scenes) < num_validation + 2:
        raise ConfigError(
            f"{len(scenes)} labelled scenes are too few to leave one out",
            where="dataset",
            why=f"{num_validation + 2} are needed: one to test, {num_validation} to validate, one to train on",
            fix="label more scenes, or cut one into several with raster.bbox",
        )
    subsets: list[Subset] = ["validation", "test"] if num_validation else ["test"]
    for index, scene in enumerate(scenes):
        others = scenes[index + 1 :] + scenes[:index]
        yield replace(
            config,
            root_uri=f"{config.root_uri.rstrip('/')}/{prefix}{scene.id}",
            dataset=DatasetConfig(
                train_scenes=others[num_validation:], validation_scenes=others[:num_validation], test_scenes=[scene]
            ),
            predict=replace(config.predict, subsets=subsets),
            eval=replace(config.eval, subsets=subsets),
        )
