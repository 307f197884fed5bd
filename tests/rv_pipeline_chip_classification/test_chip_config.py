"""The config classes: what is refused, with its dotted path, and that they need nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from rv_core.config.validation import schemas
from rv_core.config.values import to_plain
from rv_pipeline_chip_classification import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    PredictConfig,
    RasterSourceConfig,
    SceneConfig,
    TrainConfig,
)
from rv_pipeline_chip_classification.config_parts import cell_size_px


def scene(name: str, **options: Any) -> SceneConfig:
    raster = options.pop("raster", None) or RasterSourceConfig(uris=[f"/data/{name}.tif"])
    labels = options.pop("labels", None) or GeoJsonLabelsConfig(uri=f"/data/{name}.geojson", cell_size_px=32)
    return SceneConfig(id=name, raster=raster, labels=labels, **options)


def config(**options: Any) -> ChipClassificationConfig:
    defaults: dict[str, Any] = {
        "root_uri": "/root",
        "classes": ClassConfig(names=["forest", "shrub", "rock"]),
        "dataset": DatasetConfig(
            train_scenes=[scene("a"), scene("b")], validation_scenes=[scene("c")], test_scenes=[scene("d")]
        ),
        "chip": ChipConfig(chip_size_px=32, stride_px=16),
    }
    return ChipClassificationConfig(**{**defaults, **options})


def findings(**options: Any) -> dict[str, str]:
    return {finding.where: str(finding) for finding in schemas.check(config(**options)) if finding.severity == "error"}


def warnings_of(**options: Any) -> dict[str, str]:
    return {
        finding.where: finding.what for finding in schemas.check(config(**options)) if finding.severity == "warning"
    }


def test_the_example_of_the_documentation_is_clean_and_survives_saving() -> None:
    assert schemas.check(config()) == []
    assert schemas.load(to_plain(config())) == config()


def test_what_is_kept_of_classes_names_subsets_with_chips_and_classes() -> None:
    kept = ChipConfig(chip_size_px=32, keep={"train": {"forest": 0.1}, "validation": {"rock": 1.0}})
    assert findings(chip=kept) == {}
    assert schemas.load(to_plain(config(chip=kept))).chip.keep == kept.keep
    wrong = ChipConfig(chip_size_px=32, keep={"test": {"forest": 0.1}, "train": {"tree": 0.5, "forest": 1.5}})
    assert set(findings(chip=wrong)) == {"chip.keep.test", "chip.keep.train.tree", "chip.keep.train.forest"}


def test_labels_come_back_as_the_class_they_were() -> None:
    labels = ClassRasterLabelsConfig(uri="/data/e.tif", class_values={1: "forest", 42: "rock"}, cell_size_px=32)
    whole = config(dataset=DatasetConfig(train_scenes=[scene("e", labels=labels)]))
    loaded = schemas.load(to_plain(whole))
    assert loaded == whole
    assert loaded.dataset.train_scenes[0].labels.class_values == {1: "forest", 42: "rock"}


def test_the_package_imports_neither_numpy_nor_rasterio_nor_torch_nor_marshmallow() -> None:
    code = (
        "import sys, rv_pipeline_chip_classification as p; p.ChipClassificationConfig; p.GeoJsonLabelsConfig;"
        "print([m for m in ('numpy', 'rasterio', 'torch', 'marshmallow', 'shapely') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("classes", "where", "what"),
    [
        (ClassConfig(names=[]), "classes.names", "no class is named"),
        (ClassConfig(names=["a", "b", "a"]), "classes.names", "'a' is given more than once"),
        (ClassConfig(names=["a", " "]), "classes.names[1]", "empty"),
        (ClassConfig(names=["a", "b"], colors=["#000000"]), "classes.colors", "1 colours for 2 classes"),
        (ClassConfig(names=["a", "b"], colors=["#000000", "red"]), "classes.colors[1]", "'red' is no colour"),
    ],
)
def test_classes(classes: ClassConfig, where: str, what: str) -> None:
    unlabelled = SceneConfig(id="a", raster=RasterSourceConfig(uris=["/a.tif"]))
    found = findings(classes=classes, dataset=DatasetConfig(train_scenes=[], test_scenes=[unlabelled]))
    assert what in found[where]


def test_a_single_class_is_only_a_warning() -> None:
    assert "every answer is right" in warnings_of(classes=ClassConfig(names=["forest"]))["classes.names"]


def test_palette_colours_are_fixed_and_differ() -> None:
    classes = ClassConfig(names=[f"c{index}" for index in range(60)])
    colors = [classes.color_of(index) for index in range(60)]
    assert len(set(colors)) == 60
    assert ClassConfig(names=["x"]).color_of(0) == colors[0]
    assert ClassConfig(names=["x"], colors=["#123456"]).color_of(0) == "#123456"


@pytest.mark.parametrize("scene_id", ["../x", "", ".hidden", "a/b", "a b", "a" * 101, "ä", "a\n"])
def test_scene_ids_that_are_no_file_names_are_refused(scene_id: str) -> None:
    assert (
        "cannot be a scene id"
        in findings(dataset=DatasetConfig(train_scenes=[scene(scene_id)]))["dataset.train_scenes[0].id"]
    )


@pytest.mark.parametrize("scene_id", ["a", "0", "a" * 100, "r0c1.2015-08_18"])
def test_scene_ids_that_are_allowed(scene_id: str) -> None:
    assert findings(dataset=DatasetConfig(train_scenes=[scene(scene_id)])) == {}


def test_scene_ids_are_unique_over_subsets_without_regard_to_case() -> None:
    dataset = DatasetConfig(train_scenes=[scene("a")], validation_scenes=[scene("b")], test_scenes=[scene("A")])
    assert "also that of train_scenes[0]" in findings(dataset=dataset)["dataset.test_scenes[0].id"]


@pytest.mark.parametrize(
    ("options", "field", "what"),
    [
        ({"uris": []}, "uris", "no image is given"),
        ({"uris": ["/a.tif", "/a.tif"]}, "uris", "more than once"),
        ({"uris": ["/a.tif"], "channel_order": [0, -1]}, "channel_order[1]", "negative"),
        ({"uris": ["/a.tif"], "channel_order": []}, "channel_order", "no channel"),
        ({"uris": ["/a.tif"], "bbox": [0, 0, 5]}, "bbox", "3 numbers"),
        ({"uris": ["/a.tif"], "bbox": [-1, 0, 5, 5]}, "bbox", "before the first pixel"),
        ({"uris": ["/a.tif"], "bbox": [0, 0, 0, 5]}, "bbox", "no pixel"),
    ],
)
def test_raster_sources(options: dict[str, Any], field: str, what: str) -> None:
    dataset = DatasetConfig(train_scenes=[scene("a", raster=RasterSourceConfig(**options))])
    assert what in findings(dataset=dataset)[f"dataset.train_scenes[0].raster.{field}"]


def test_class_names_of_labels_are_checked_with_their_near_misses() -> None:
    scenes = [
        scene("a", labels=GeoJsonLabelsConfig(uri="/a.geojson", background_class="forrest", cell_size_px=32)),
        scene("b", labels=GeoJsonLabelsConfig(uri="/b.geojson", class_mapping={"x": "rock", "y": "", "z": "sand"})),
        scene("c", labels=ClassRasterLabelsConfig(uri="/c.tif", class_values={7: "schrub"})),
    ]
    found = findings(dataset=DatasetConfig(train_scenes=scenes))
    assert "did you mean 'forest'?" in found["dataset.train_scenes[0].labels.background_class"]
    assert "no class named 'sand'" in found["dataset.train_scenes[1].labels.class_mapping.z"]
    assert "did you mean 'shrub'?" in found["dataset.train_scenes[2].labels.class_values.7"]
    assert len(found) == 3


def test_labels_that_say_nothing() -> None:
    scenes = [
        scene("a", labels=ClassRasterLabelsConfig(uri="/a.tif", class_values={})),
        scene("b", labels=GeoJsonLabelsConfig(uri="/b.geojson", class_property="")),
    ]
    found = findings(dataset=DatasetConfig(train_scenes=scenes))
    assert "no raster value" in found["dataset.train_scenes[0].labels.class_values"]
    assert "empty" in found["dataset.train_scenes[1].labels.class_property"]


def test_training_scenes_need_labels_and_validation_scenes_should_have_them() -> None:
    bare = SceneConfig(id="x", raster=RasterSourceConfig(uris=["/x.tif"]))
    other = SceneConfig(id="y", raster=RasterSourceConfig(uris=["/y.tif"]))
    dataset = DatasetConfig(train_scenes=[bare], validation_scenes=[other])
    assert "no labels" in findings(dataset=dataset)["dataset.train_scenes[0].labels"]
    assert "only" not in findings(dataset=dataset)
    assert "not used for validation" in warnings_of(dataset=dataset)["dataset.validation_scenes[0].labels"]
    assert "no training scene" in findings(dataset=DatasetConfig(train_scenes=[]))["dataset.train_scenes"]


def test_every_scene_gives_the_same_number_of_channels() -> None:
    scenes = [
        scene("a", raster=RasterSourceConfig(uris=["/a.tif"], channel_order=[2, 1, 0])),
        scene("b", raster=RasterSourceConfig(uris=["/b.tif"])),
        scene("c", raster=RasterSourceConfig(uris=["/c.tif"], channel_order=[0, 1])),
    ]
    found = findings(dataset=DatasetConfig(train_scenes=scenes))
    assert list(found) == ["dataset.train_scenes[2].raster.channel_order"]
    assert "2 channels, but 3 in dataset.train_scenes[0]" in found["dataset.train_scenes[2].raster.channel_order"]


@pytest.mark.parametrize(
    ("chip", "where"),
    [
        (ChipConfig(sampling="random"), "chip.windows_per_scene"),
        (ChipConfig(sampling="random", windows_per_scene=5, stride_px=3), "chip.stride_px"),
        (ChipConfig(windows_per_scene=5), "chip.windows_per_scene"),
        (ChipConfig(chip_size_px=0), "chip.chip_size_px"),
        (ChipConfig(context_px=-1), "chip.context_px"),
        (ChipConfig(chip_size_px=8000, context_px=97), "chip.context_px"),
        (ChipConfig(sampling="cells", stride_px=8), "chip.stride_px"),
        (ChipConfig(sampling="cells", windows_per_scene=8), "chip.windows_per_scene"),
        (ChipConfig(chip_size_px=32, stride_px=0), "chip.stride_px"),
        (ChipConfig(min_valid_fraction=1.5), "chip.min_valid_fraction"),
    ],
)
def test_chip_options_that_do_not_go_together(chip: ChipConfig, where: str) -> None:
    assert where in findings(chip=chip)


@pytest.mark.parametrize("stride", [12, 48, 64, 33])
def test_strides_that_can_never_match_the_cells_are_refused(stride: int) -> None:
    assert "can never match" in findings(predict=PredictConfig(stride_px=stride))["predict.stride_px"]


@pytest.mark.parametrize("stride", [None, 32, 16, 1])
def test_strides_that_match_all_cells(stride: int | None) -> None:
    assert findings(predict=PredictConfig(stride_px=stride)) == {}


def test_cells_of_different_sizes_are_refused_and_other_sizes_than_chips_warned_of() -> None:
    def labelled(name: str, size: int | None) -> SceneConfig:
        return scene(name, labels=GeoJsonLabelsConfig(uri=f"/{name}.geojson", cell_size_px=size))

    bare = SceneConfig(id="d", raster=RasterSourceConfig(uris=["/d.tif"]))
    dataset = DatasetConfig(
        train_scenes=[labelled("a", 16), labelled("b", 16)], test_scenes=[labelled("c", None), bare]
    )
    found = findings(dataset=dataset)
    assert list(found) == ["dataset.test_scenes[0].labels.cell_size_px", "dataset.test_scenes[1].labels"]
    assert "cells of 32 px, but of 16 px" in found["dataset.test_scenes[0].labels.cell_size_px"]
    what = warnings_of(dataset=dataset)["dataset.train_scenes[0].labels.cell_size_px"]
    assert "chips of 32 px and classifies cells of 16 px" in what


def test_what_is_evaluated_must_be_predicted() -> None:
    found = findings(predict=PredictConfig(subsets=["validation"]), eval=EvalConfig(subsets=["validation", "test"]))
    assert "not predicted" in found["eval.subsets[1]"]
    assert "more than once" in findings(eval=EvalConfig(subsets=["test", "test"]))["eval.subsets"]


@pytest.mark.parametrize("weights", [[1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 0.0, 0.0]])
def test_class_weights_are_one_positive_number_per_class(weights: list[float]) -> None:
    assert "train.class_weights" in findings(train=TrainConfig(class_weights=weights))


def test_class_weights_that_are_allowed() -> None:
    for weights in ("none", "balanced", [1.0, 0.0, 2]):
        assert findings(train=TrainConfig(class_weights=weights)) == {}


@pytest.mark.parametrize(
    ("backbone", "is_known"),
    [("resnet18", True), ("small_cnn", True), ("timm:x", True), ("timm:", False), ("vgg", False)],
)
def test_backbones(backbone: str, is_known: bool) -> None:
    whole = config()
    whole.model.backbone = backbone
    assert [finding.where for finding in schemas.check(whole)] == ([] if is_known else ["model.backbone"])


def test_the_cell_size_is_the_labels_own_else_the_chip_size() -> None:
    assert cell_size_px(GeoJsonLabelsConfig(uri="/a", cell_size_px=16), 48) == 16
    assert cell_size_px(GeoJsonLabelsConfig(uri="/a"), 48) == 48
    assert cell_size_px(None, 48) == 48


def test_scenes_are_found_by_subset_and_with_their_paths() -> None:
    dataset = config().dataset
    assert [scene.id for scene in dataset.scenes_of("train")] == ["a", "b"]
    assert [(path, subset, s.id) for path, subset, s in dataset.located_scenes()][1:3] == [
        ("train_scenes[1]", "train", "b"),
        ("validation_scenes[0]", "validation", "c"),
    ]


@pytest.mark.parametrize("uri", ["<VRTDataset/>", "/vsicurl/http://x/a.tif", "s3://key:secret@bucket/a.tif"])
def test_uris_that_are_no_files_are_refused(uri: str) -> None:
    dataset = DatasetConfig(train_scenes=[scene("a", raster=RasterSourceConfig(uris=[uri]))])
    assert "dataset.train_scenes[0].raster.uris[0]" in findings(dataset=dataset)


def test_a_base_of_labels_is_no_labels() -> None:
    from rv_pipeline_chip_classification import LabelsConfig

    found = findings(dataset=DatasetConfig(train_scenes=[scene("a", labels=LabelsConfig())]))
    assert any(where.startswith("dataset.train_scenes[0].labels") for where in found)


def test_every_public_name_can_be_imported_with_a_star() -> None:
    import rv_pipeline_chip_classification as package

    names: dict[str, Any] = {}
    exec("from rv_pipeline_chip_classification import *", names)
    assert set(package.__all__) <= set(names)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"schedule": "multi_step"}, "train.milestones"),
        ({"milestones": [3]}, "train.milestones"),
        ({"schedule": "multi_step", "milestones": [5, 5]}, "train.milestones[1]"),
        ({"schedule": "multi_step", "milestones": [20]}, "train.milestones[0]"),
        ({"label_smoothing": 1.0}, "train.label_smoothing"),
        ({"logit_adjustment": 1.5}, "train.logit_adjustment"),
        ({"select_by": "f1"}, "train.select_by"),
        ({"augment_zoom": 1.0}, "train.augment_zoom"),
    ],
)
def test_options_of_the_training_that_cannot_be_are_refused(options: dict[str, Any], path: str) -> None:
    assert path in findings(train=TrainConfig(**options))


def test_the_learning_rate_may_drop_after_epochs_in_order() -> None:
    assert not findings(train=TrainConfig(schedule="multi_step", milestones=[5, 19]))
