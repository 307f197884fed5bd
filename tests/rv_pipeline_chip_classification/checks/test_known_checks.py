"""What was checked is checked again as soon as any file that is read for a scene is another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.config import saved
from rv_core.launch.known_checks import Subject, subject_of
from rv_core.plan.planning import plan_pipelines
from rv_pipeline_chip_classification.checks import deep
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
    TrainConfig,
)

Edit = Callable[[Path], object]
PAM = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand></PAMDataset>'
VRT = """<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="1">{0}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"""


def config_of(folder: Path, raster: str = "a.tif", **fields: Any) -> ChipClassificationConfig:
    labels = GeoJsonLabelsConfig(uri=str(folder / "a.geojson"), background_class="rest")
    scene = SceneConfig(id="a", raster=RasterSourceConfig(uris=[str(folder / raster)]), labels=labels)
    defaults = {"root_uri": str(folder / "root"), "eval": EvalConfig(subsets=[])}
    dataset = DatasetConfig(train_scenes=[scene])
    return ChipClassificationConfig(
        classes=ClassConfig(names=["rest", "wood"]), dataset=dataset, **{**defaults, **fields}
    )


def subject(config: ChipClassificationConfig) -> Subject | None:
    pipeline = config.build()
    plan = plan_pipelines({"p": pipeline})
    return subject_of(pipeline, plan.commands, saved.dump(config))


@pytest.fixture
def folder(tmp_path: Path, write_image: Callable[..., str], write_labels: Callable[..., str]) -> Path:
    write_image("a.tif", np.ones((64, 64, 1), np.uint8))
    write_labels("a.geojson", [])
    (tmp_path / "v.vrt").write_text(VRT.format("a.tif"))
    return tmp_path


@pytest.mark.parametrize("raster", ["a.tif", "v.vrt"])
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda folder: (folder / "a.tif").write_bytes(b"cut"), id="image"),
        pytest.param(lambda folder: (folder / "a.tif.aux.xml").write_text(PAM), id="aux.xml"),
        pytest.param(lambda folder: (folder / "a.tif.msk").write_bytes(b"mask"), id="msk"),
        pytest.param(lambda folder: (folder / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n"), id="world file"),
        pytest.param(lambda folder: (folder / "a.geojson").write_text("{}"), id="labels"),
        pytest.param(lambda folder: (folder / "a.geojson").unlink(), id="labels gone"),
    ],
)
def test_each_file_that_is_read_for_a_scene_counts(folder: Path, raster: str, edit: Edit) -> None:
    before = subject(config_of(folder, raster))
    edit(folder)
    after = subject(config_of(folder, raster))
    assert before and after and before.key != after.key


def test_a_virtual_dataset_counts_with_its_sources(folder: Path, write_image: Callable[..., str]) -> None:
    before = subject(config_of(folder, "v.vrt"))
    (folder / "v.vrt").write_text(VRT.format("./a.tif"))
    after = subject(config_of(folder, "v.vrt"))
    assert before and after and before.key != after.key
    assert str(folder / "a.tif") in before.tokens


def test_fields_count_unless_they_are_of_the_training_alone(folder: Path) -> None:
    known = subject(config_of(folder))
    assert known is not None

    def is_known(**fields: Any) -> bool:
        found = subject(config_of(folder, **fields))
        return found is not None and found.key == known.key

    assert is_known(train=TrainConfig(num_epochs=3), root_uri=str(folder / "other"), bundle_formats=["onnx"])
    assert not is_known(chip=ChipConfig(chip_size_px=32))
    # Files of the user's cache and code that may import what it likes are looked at each time.
    assert subject(config_of(folder, model=ModelConfig(backbone="json:loads"))) is None


def test_what_is_not_counted_is_said(
    folder: Path, write_image: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deep, "_MAX_COUNTED_PX", 10)
    labels = ClassRasterLabelsConfig(uri=write_image("l.tif", np.ones((64, 64), np.uint8)), class_values={1: "wood"})
    config = config_of(folder)
    config.dataset.train_scenes[0].labels = labels
    found = list(deep.deep_check(config, {"chip": ["a"]}))
    assert [(finding.where, finding.severity) for finding in found] == [("dataset", "skipped")]
