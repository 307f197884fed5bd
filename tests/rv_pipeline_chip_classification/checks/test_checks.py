"""Pre-flight: planted faults are found before anything runs, each once, with its dotted path."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.errors import Finding
from rv_pipeline_chip_classification.checks.cheap import cheap_check
from rv_pipeline_chip_classification.checks.deep import deep_check
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ChipConfig,
    ClassConfig,
    ClassRasterLabelsConfig,
    DatasetConfig,
    EvalConfig,
    GeoJsonLabelsConfig,
    ModelConfig,
    RasterSourceConfig,
    SceneConfig,
)

NAMES = ["background", "forest"]
ORIGIN = (500_000.0, 4_500_000.0)
Square = Callable[..., Any]


class Scenes:
    """Makes scenes of 64 px whose labels give both classes, each name 10 km east of the one before."""

    def __init__(self, write_image: Callable[..., str], write_labels: Callable[..., str], square: Square) -> None:
        self.write_image, self.write_labels, self.square = write_image, write_labels, square
        self._array = np.random.default_rng(0).integers(1, 250, (64, 64, 3)).astype(np.uint8)
        self._names: list[str] = []

    def origin(self, name: str) -> tuple[float, float]:
        if name not in self._names:
            self._names.append(name)
        return ORIGIN[0] + 10_000.0 * self._names.index(name), ORIGIN[1]

    def image(self, name: str, **options: Any) -> str:
        options.setdefault("origin", self.origin(name))
        return self.write_image(f"{name}.tif", options.pop("array", self._array), **options)

    def labels(self, name: str, **options: Any) -> GeoJsonLabelsConfig:
        shapes = options.pop("shapes", [(self.square(0, 0, 30), {"class_name": "forest"})])
        crs = {"crs": options.pop("crs")} if "crs" in options else {}
        uri = self.write_labels(f"{name}.geojson", shapes, origin=self.origin(name), **crs)
        defaults = {"background_class": "background", "use_intersection_over_cell": True}
        return GeoJsonLabelsConfig(uri=uri, **{**defaults, **options})

    def __call__(self, name: str, **options: Any) -> SceneConfig:
        raster = options.pop("raster", None) or RasterSourceConfig(uris=[self.image(name)])
        labels = options.pop("labels", None) or self.labels(name)
        return SceneConfig(id=name, raster=raster, labels=labels, **options)


@pytest.fixture
def scenes(write_image: Callable[..., str], write_labels: Callable[..., str], square: Square) -> Scenes:
    return Scenes(write_image, write_labels, square)


def config_of(train: list[SceneConfig], *others: SceneConfig, **options: Any) -> ChipClassificationConfig:
    dataset = DatasetConfig(train_scenes=train, test_scenes=list(others))
    defaults: dict[str, Any] = {"classes": ClassConfig(names=NAMES), "chip": ChipConfig(chip_size_px=16)}
    if not others:
        defaults["eval"] = EvalConfig(subsets=[])
    return ChipClassificationConfig(root_uri="/root", dataset=dataset, **{**defaults, **options})


def todo_of(config: ChipClassificationConfig) -> dict[str, list[str]]:
    """Everything is to be done."""
    train = [scene.id for scene in config.dataset.train_scenes]
    test = [scene.id for scene in config.dataset.test_scenes]
    return {"analyze": train, "chip": train, "train": ["all"], "predict": test, "eval": ["all"], "bundle": ["all"]}


def all_findings(config: ChipClassificationConfig, todo: dict[str, list[str]] | None = None) -> list[Finding]:
    todo = todo_of(config) if todo is None else todo
    return [*cheap_check(config, todo), *deep_check(config, todo)]


def errors(config: ChipClassificationConfig, todo: dict[str, list[str]] | None = None) -> dict[str, str]:
    found = [finding for finding in all_findings(config, todo) if finding.severity == "error"]
    assert len({finding.where for finding in found}) == len(found)
    return {finding.where: str(finding) for finding in found}


def warnings_of(config: ChipClassificationConfig) -> dict[str, str]:
    return {finding.where: str(finding) for finding in all_findings(config) if finding.severity == "warning"}


def test_a_good_config_has_no_findings(scenes: Scenes) -> None:
    assert all_findings(config_of([scenes("a")], scenes("t"))) == []


def test_planted_faults_are_each_found_once_with_their_path(scenes: Scenes, tmp_path: Path) -> None:
    missing = scenes("missing", raster=RasterSourceConfig(uris=[str(tmp_path / "none.tif")]))
    no_labels = scenes("nolabels")
    no_labels.labels.uri = str(tmp_path / "none.geojson")  # type: ignore[union-attr]
    cut = scenes("cut", raster=RasterSourceConfig(uris=[scenes.image("cut")]))
    image = Path(cut.raster.uris[0])
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    noise = tmp_path / "noise.tif"
    noise.write_bytes(b"no raster at all")
    far = scenes.labels("far", shapes=[(scenes.square(9000, 0, 30), {"class_id": 1})])
    train = [
        scenes("good"),
        missing,
        no_labels,
        cut,
        scenes("noise", raster=RasterSourceConfig(uris=[str(noise)])),
        scenes("channel", raster=RasterSourceConfig(uris=[scenes.image("channel")], channel_order=[0, 1, 3])),
        scenes("crop", raster=RasterSourceConfig(uris=[scenes.image("crop")], bbox=[60, 0, 10, 10])),
        scenes("far", labels=far),
        scenes("unknown", labels=scenes.labels("unknown", shapes=[(scenes.square(0, 0, 30), {"label": "forrest"})])),
        scenes("empty", labels=scenes.labels("empty", shapes=[], background_class=None)),
        scenes("two", raster=RasterSourceConfig(uris=[scenes.image("two", array=np.ones((64, 64, 2), np.uint8))])),
        scenes("deep", raster=RasterSourceConfig(uris=[scenes.image("deep", array=np.ones((64, 64, 3), np.uint16))])),
        scenes("aoi", aoi_uris=[scenes.write_labels("nothing.geojson", [])]),
    ]
    started = time.monotonic()
    found = errors(config_of(train, scenes("t")))
    assert time.monotonic() - started < 3
    place = "dataset.train_scenes"
    expected = {
        f"{place}[1].raster.uris[0]": "there is no file",
        f"{place}[2].labels.uri": "there is no file",
        f"{place}[3].raster.uris": "cut short",
        f"{place}[4].raster.uris": "not a raster that GDAL can read",
        f"{place}[5].raster.channel_order": "no channel 3",
        f"{place}[6].raster.bbox": "leaves the image",
        f"{place}[7].labels.uri": "do not overlap",
        f"{place}[8].labels.uri": "did you mean 'forest'?",
        f"{place}[9].labels.uri": "no polygon with a class",
        f"{place}[10].raster": "2 channels of uint8, but 3 of uint8 in dataset.train_scenes[0]",
        f"{place}[11].raster": "3 channels of uint16, but 3 of uint8",
        f"{place}[12].aoi_uris": "has no polygon",
    }
    assert sorted(found) == sorted(expected)
    for where, what in expected.items():
        assert what in found[where]


def test_only_what_will_run_is_opened(scenes: Scenes, tmp_path: Path) -> None:
    broken = scenes("broken", raster=RasterSourceConfig(uris=[str(tmp_path / "none.tif")]))
    config = config_of([scenes("good"), broken], scenes("t"))
    assert errors(config, {"chip": ["good"], "predict": ["t"]}) == {}
    assert errors(config, {"train": ["all"], "bundle": ["all"]}) == {}
    assert list(errors(config, {"analyze": ["broken"]})) == ["dataset.train_scenes[1].raster.uris[0]"]


def test_labels_are_only_opened_for_chips_and_evaluation(scenes: Scenes) -> None:
    bad = scenes("bad", labels=scenes.labels("bad", shapes=[(scenes.square(0, 0, 9), {"class_id": 9})]))
    config = config_of([scenes("good")], bad)
    assert errors(config, {"predict": ["bad"]}) == {}
    assert list(errors(config, {"eval": ["all"]})) == ["dataset.test_scenes[0].labels.uri"]


def test_several_wrong_classes_of_one_file_are_several_findings(scenes: Scenes) -> None:
    shapes = [(scenes.square(0, 0, 9), {"class_id": 9}), (scenes.square(0, 0, 9), {"label": "x"})]
    config = config_of([scenes("a", labels=scenes.labels("a", shapes=shapes))])
    found = [finding.what for finding in deep_check(config, todo_of(config)) if finding.severity == "error"]
    assert len(found) == 2
    assert all("a.geojson: features[" in what for what in found)


def test_an_image_without_a_crs_takes_labels_in_pixels_with_a_warning(scenes: Scenes) -> None:
    raster = RasterSourceConfig(uris=[scenes.image("a", crs=None)])
    config = config_of([scenes("a", raster=raster, labels=scenes.labels("a", crs=None))])
    assert errors(config) == {}
    assert "taken as pixels" in warnings_of(config)["dataset.train_scenes[0].labels"]
    degrees = config_of([scenes("b", raster=raster, labels=scenes.labels("b"))])
    assert "every polygon is smaller than a pixel" in errors(degrees)["dataset.train_scenes[0].labels.uri"]
    upwards = [([(0, -9), (9, -9), (9, -1)], {"class_name": "forest"})]
    drawn = config_of([scenes("c", raster=raster, labels=scenes.labels("c", crs=None, shapes=upwards))])
    assert "do not overlap" in errors(drawn)["dataset.train_scenes[0].labels.uri"]
    assert "y is the row and runs down" in errors(drawn)["dataset.train_scenes[0].labels.uri"]


def test_an_aoi_without_a_window_is_a_warning_and_no_chip_at_all_an_error(scenes: Scenes) -> None:
    aoi = scenes.write_labels("aoi.geojson", [(scenes.square(5, 5, 10), {})])
    config = config_of([scenes("a", aoi_uris=[aoi]), scenes("b")])
    assert errors(config) == {}
    assert "none of the 16 windows" in warnings_of(config)["dataset.train_scenes[0].aoi_uris"]
    alone = config_of([scenes("c", aoi_uris=[aoi])])
    assert "no training chip" in errors(alone)["dataset.train_scenes"]
    assert errors(alone, {"chip": ["c"]}) == {}


def test_what_cannot_be_evaluated_is_told_before_the_training(scenes: Scenes) -> None:
    large = [(scenes.square(0, 0, 64), {"class_name": "forest"})]
    options = {"background_class": None, "use_intersection_over_cell": False, "shapes": large}
    alone = config_of([scenes("a")], scenes("t", labels=scenes.labels("t", **options)))
    assert list(errors(alone)) == ["eval.subsets"]
    assert "no cell of scene 't' has a label" in warnings_of(alone)["dataset.test_scenes[0].labels"]
    beside = config_of([scenes("b")], scenes("u", labels=scenes.labels("u", **options)), scenes("v"))
    assert errors(beside) == {}
    aoi = scenes.write_labels("aoi.geojson", [(scenes.square(5, 5, 10), {})])
    outside = config_of([scenes("c")], scenes("w", aoi_uris=[aoi]))
    assert list(errors(outside)) == ["eval.subsets"]
    assert (
        "labelled cells of scene 'w' is selected by its AOI" in warnings_of(outside)["dataset.test_scenes[0].aoi_uris"]
    )


def test_what_a_library_raises_on_a_file_names_file_scene_and_place(
    scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OverflowError("too large")

    config = config_of([scenes("a"), scenes("b", aoi_uris=[scenes.write_labels("aoi.geojson", [])])])
    monkeypatch.setattr("rv_pipeline_chip_classification.labels.aoi.polygons_in_pixels", fail)
    monkeypatch.setattr("rv_pipeline_chip_classification.labels.label_features.polygons_in_pixels", fail)
    found = errors(config)
    assert "the labels of scene 'a' cannot be used" in found["dataset.train_scenes[0].labels.uri"]
    assert "a.geojson): OverflowError: too large" in found["dataset.train_scenes[0].labels.uri"]
    assert "an AOI of scene 'b' cannot be used" in found["dataset.train_scenes[1].aoi_uris"]


def test_an_aoi_around_the_world_the_wrong_way_is_warned_of(scenes: Scenes) -> None:
    ring = [[-179.5, -80], [179.5, -80], [179.5, 80], [-179.5, 80], [-179.5, -80]]
    aoi = scenes.write_labels("aoi.geojson", [({"type": "Polygon", "coordinates": [ring]}, {})])
    image = scenes.image("a", crs="EPSG:4326", origin=(10, 20), pixel=0.01)
    labels = scenes.labels("a", shapes=[])
    config = config_of([scenes("a", raster=RasterSourceConfig(uris=[image]), labels=labels, aoi_uris=[aoi])])
    assert "more than 180 degrees" in warnings_of(config)["dataset.train_scenes[0].aoi_uris"]


def test_images_without_longitude_and_latitude_are_told_before_the_training(scenes: Scenes) -> None:
    geos = "+proj=geos +h=35785831 +lon_0=0 +ellps=GRS80 +units=m"

    def predicted(name: str, **options: Any) -> ChipClassificationConfig:
        raster = RasterSourceConfig(uris=[scenes.image(name, **options)])
        config = config_of([scenes(f"train-{name}")])
        config.dataset.test_scenes = [SceneConfig(id=name, raster=raster)]
        return config

    place = "dataset.test_scenes[0].raster.uris"
    disk = predicted("disk", crs=geos, pixel=3e5, origin=(-9.6e6, 9.6e6))
    assert errors(disk) == {}
    assert "parts of the image have no longitude" in warnings_of(disk)[place]
    space = predicted("space", crs=geos, pixel=1.0, origin=(9e6, 9e6))
    assert "no part of the image has longitude" in errors(space)[place]
    local = predicted("local", crs='LOCAL_CS["x",UNIT["metre",1]]')
    assert "cannot be brought to another CRS" in errors(local)[place]


def test_slivers_are_warned_of(scenes: Scenes) -> None:
    shapes = [(scenes.square(20, 20, 0.01), {"class_name": "forest"}), (scenes.square(0, 0, 16), {"class_id": 1})]
    config = config_of([scenes("a", labels=scenes.labels("a", shapes=shapes, use_intersection_over_cell=False))])
    place = "dataset.train_scenes[0].labels.use_intersection_over_cell"
    assert "1 of 2 polygons are slivers (the smallest has 0.0001 square pixels)" in warnings_of(config)[place]


def test_validation_without_a_chip_is_a_warning(scenes: Scenes) -> None:
    config = config_of([scenes("a")])
    small = scenes.labels("v", shapes=[(scenes.square(0, 0, 2), {"class_id": 1})], background_class=None)
    config.dataset.validation_scenes = [scenes("v", labels=small)]
    todo = {"chip": ["a", "v"], "train": ["all"]}
    found = {finding.where: finding for finding in all_findings(config, todo)}
    assert found["dataset.validation_scenes"].severity == "warning"


def test_a_class_without_chips_and_large_polygons_are_warned_of(scenes: Scenes) -> None:
    large = scenes.labels("a", use_intersection_over_cell=False)
    found = warnings_of(config_of([scenes("a", labels=large)]))
    assert "'forest' gets none of the 16 training chips" in found["classes.names[1]"]
    assert "larger than a cell" in found["dataset.train_scenes[0].labels.use_intersection_over_cell"]


def test_an_image_used_for_training_and_testing_is_warned_of(scenes: Scenes) -> None:
    train, test = scenes("a"), scenes("t")
    test.raster = train.raster
    found = warnings_of(config_of([train], test))
    assert "also an image of dataset.train_scenes[0]" in found["dataset.test_scenes[0].raster.uris"]
    train.raster = RasterSourceConfig(uris=train.raster.uris, bbox=[0, 0, 24, 64])
    test.raster = RasterSourceConfig(uris=train.raster.uris, bbox=[40, 0, 24, 64])
    test.labels = train.labels
    assert warnings_of(config_of([train], test)) == {}


def test_class_rasters_are_looked_at(scenes: Scenes) -> None:
    values = np.full((64, 64), 1, np.uint8)
    near = ClassRasterLabelsConfig(uri=scenes.write_image("near.tif", values), class_values={1: "background"})
    far = ClassRasterLabelsConfig(
        uri=scenes.write_image("far.tif", values, origin=(700_000.0, 4_500_000.0)), class_values={1: "background"}
    )
    noise = ClassRasterLabelsConfig(
        uri=scenes.write_image("f.tif", values + np.float32(0.5)), class_values={1: "forest"}
    )
    first, second = scenes("a", labels=near), scenes("b", labels=far)
    third = scenes("c", raster=RasterSourceConfig(uris=[scenes.image("c", origin=ORIGIN)]), labels=noise)
    config = config_of([first, second, third])
    found = errors(config)
    assert "do not overlap" in found["dataset.train_scenes[1].labels.uri"]
    assert "whole numbers" in found["dataset.train_scenes[2].labels.uri"]
    assert len(found) == 2


def test_large_label_rasters_are_not_counted(scenes: Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    values = scenes.write_image("values.tif", np.zeros((64, 64), np.uint8))
    labels = ClassRasterLabelsConfig(uri=values, class_values={1: "background"})
    config = config_of([scenes("a", labels=labels)])
    assert "no training chip" in errors(config)["dataset.train_scenes"]
    monkeypatch.setattr("rv_pipeline_chip_classification.checks.deep._MAX_COUNTED_PX", 64 * 64 - 1)
    assert errors(config) == {}


def test_features_are_cells_wherever_they_lie_and_those_of_another_size_are_told(scenes: Scenes) -> None:
    def labelled(name: str, *offsets: float, size: float = 16) -> SceneConfig:
        shapes = [(scenes.square(0.4, offset, size), {"class_id": 1}) for offset in offsets]
        return scenes(name, labels=scenes.labels(name, shapes=shapes, infer_cells=False))

    assert all_findings(config_of([scenes("a")], labelled("t", 3.3, 21.6))) == []
    small = config_of([scenes("b")], labelled("u", 0, 21, size=9))
    assert errors(small) == {}
    text = warnings_of(small)["dataset.test_scenes[0].labels.infer_cells"]
    assert "2 of 2 features are cells of another size than the chips of 16 px" in text
    assert "from 9 to 9 px" in text


def test_features_off_the_windows_train_by_a_window_on_each(scenes: Scenes) -> None:
    shapes = [(scenes.square(8, col, 16), {"class_id": 1 - (col > 30)}) for col in (8, 24, 40)]
    labels = scenes.labels("a", shapes=shapes, infer_cells=False, background_class=None, ioa_threshold=0.6)
    off = config_of([scenes("a", labels=labels)])
    assert 'chip.sampling="cells" lays a window on each feature' in errors(off)["dataset.train_scenes"]
    assert (
        all_findings(config_of([scenes("a", labels=labels)], chip=ChipConfig(chip_size_px=16, sampling="cells"))) == []
    )


def test_more_context_than_scene_is_told(scenes: Scenes) -> None:
    chip = ChipConfig(chip_size_px=16, context_px=63)
    assert all_findings(config_of([scenes("a")], scenes("t"), chip=chip)) == []
    chip.context_px = 64
    found = warnings_of(config_of([scenes("b")], scenes("u"), chip=chip))
    assert set(found) == {"dataset.train_scenes[0].raster", "dataset.test_scenes[0].raster"}
    assert "chip.context_px is 64, and the scene has 64 x 64 px" in found["dataset.test_scenes[0].raster"]


def test_variables_and_weights_that_are_missing(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scenes("a", raster=RasterSourceConfig(uris=["${NO_SUCH_FOLDER}/a.tif"]))
    weights = ModelConfig(init_weights=str(tmp_path / "none.safetensors"))
    found = errors(config_of([scene], model=weights))
    assert "NO_SUCH_FOLDER is not set" in found["dataset.train_scenes[0].raster.uris[0]"]
    assert "there is no file" in found["model.init_weights"]
    monkeypatch.setenv("NO_SUCH_FOLDER", str(tmp_path))
    scenes.image("a")
    assert list(errors(config_of([scene], model=weights))) == ["model.init_weights"]


def test_a_backbone_of_timm_where_timm_is_missing_is_a_warning(scenes: Scenes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rv_pipeline_chip_classification.checks.cheap.find_spec", lambda name: None)
    found = warnings_of(config_of([scenes("a")], model=ModelConfig(backbone="timm:resnet18")))
    assert "timm:resnet18 needs timm, which is not installed here" in found["model.backbone"]
    assert "model.backbone" not in warnings_of(config_of([scenes("b")]))


def test_without_anything_to_evaluate_the_training_does_not_begin(scenes: Scenes) -> None:
    nothing = config_of([scenes("a")], eval=EvalConfig())
    assert "there is no validation or test scene" in errors(nothing)["eval.subsets"]
    assert errors(nothing, {**todo_of(nothing), "eval": []}) == {}
    assert errors(config_of([scenes("a")], eval=EvalConfig(subsets=[]))) == {}


def test_the_cheap_check_imports_nothing_heavy() -> None:
    code = (
        "import sys, rv_pipeline_chip_classification.checks.cheap;"
        "print([m for m in ('numpy', 'rasterio', 'torch', 'marshmallow', 'shapely') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
