"""Leave one scene out: a config per labelled scene."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.rv_pipeline_chip_classification.test_chip_config import config, scene

from rv_core.errors import ConfigError
from rv_pipeline_chip_classification import DatasetConfig, TrainConfig, leave_one_scene_out


def ids(scenes: list[object]) -> list[str]:
    return [one.id for one in scenes]  # type: ignore[attr-defined]


def test_each_labelled_scene_is_tested_once_by_a_model_of_all_the_others() -> None:
    folds = leave_one_scene_out(config(root_uri="/out/", train=TrainConfig(num_epochs=3)))
    assert [fold.root_uri for fold in folds] == [f"/out/{name}" for name in "abcd"]
    assert [ids(fold.dataset.test_scenes) for fold in folds] == [["a"], ["b"], ["c"], ["d"]]
    assert ids(folds[1].dataset.train_scenes) == ["c", "d", "a"]
    assert all(fold.dataset.validation_scenes == [] and fold.train.num_epochs == 3 for fold in folds)
    assert all(fold.predict.subsets == fold.eval.subsets == ["test"] for fold in folds)
    assert all(not list(fold.validate()) for fold in folds)


def test_the_scenes_after_it_choose_the_epoch_if_so_many_are_wanted() -> None:
    fold = leave_one_scene_out(config(), num_validation=2)[3]
    assert (ids(fold.dataset.test_scenes), ids(fold.dataset.validation_scenes)) == (["d"], ["a", "b"])
    assert ids(fold.dataset.train_scenes) == ["c"]
    assert fold.predict.subsets == fold.eval.subsets == ["validation", "test"]


def test_settings_are_compared_on_the_same_folds_below_a_folder_each() -> None:
    plain = config(root_uri="/out")
    settings = {"plain": plain, "slow": replace(plain, train=TrainConfig(learning_rate=1e-4))}
    folds = leave_one_scene_out(settings)
    assert [fold.root_uri for fold in folds][3:5] == ["/out/plain/d", "/out/slow/a"]
    assert [fold.train.learning_rate for fold in folds][3:5] == [1e-3, 1e-4]


def test_scenes_without_labels_are_left_out_and_two_with_labels_are_needed() -> None:
    unlabelled = replace(scene("e"), labels=None)
    dataset = DatasetConfig(train_scenes=[scene("a"), scene("b")], test_scenes=[unlabelled])
    assert [ids(fold.dataset.test_scenes) for fold in leave_one_scene_out(config(dataset=dataset))] == [["a"], ["b"]]
    with pytest.raises(ConfigError, match="2 labelled scenes are too few"):
        leave_one_scene_out(config(dataset=dataset), num_validation=1)


def test_folds_of_a_named_config_have_names_of_their_own() -> None:
    plain = config(name="zion")
    assert [fold.name for fold in leave_one_scene_out(plain)] == ["zion-1", "zion-2", "zion-3", "zion-4"]
    names = [fold.name for fold in leave_one_scene_out({"plain": plain, "slow": plain})]
    assert names == [f"zion-{number}" for number in range(1, 9)]
    assert {fold.name for fold in leave_one_scene_out(config(name=""))} == {""}
