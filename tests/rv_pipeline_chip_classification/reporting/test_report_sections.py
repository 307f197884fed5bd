"""What a report shows of a chip classification: the figures of the files, maps in the colours of the classes, the errors."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.rv_pipeline_chip_classification.commands.test_evaluate import (
    CLASSES,
    RecordingControl,
    config_of,
    report,
    write_prediction,
)
from tests.rv_pipeline_chip_classification.conftest import ORIGIN, UTM, to_lonlat

from rv_core import (
    ReportChart,
    ReportMap,
    ReportMatrix,
    ReportPictures,
    ReportSection,
    ReportSource,
    ReportText,
    Storage,
    SummaryTable,
)
from rv_pipeline_chip_classification.commands.evaluate import run_evaluate
from rv_pipeline_chip_classification.config import (
    ChipClassificationConfig,
    ClassConfig,
    GeoJsonLabelsConfig,
    RasterSourceConfig,
    SceneConfig,
)
from rv_pipeline_chip_classification.reporting.outcomes import outcomes
from rv_pipeline_chip_classification.reporting.sections import sections
from rv_pipeline_chip_classification.training.calibration import Reliability, calibration_error

HISTORY = [
    {"epoch": 1, "train_loss": 1.5, "validation_loss": 1.25, "train_accuracy": 0.5, "validation_macro_f1": None},
    {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.75, "train_accuracy": 0.75, "validation_macro_f1": 0.625},
]


@pytest.fixture
def config(write_image: Any, write_labels: Any, square: Any, pixels: Any, storage: Storage) -> ChipClassificationConfig:
    """Two evaluated test scenes of four cells: one wrong and one without data in `a`, none in `b`."""
    scenes = []
    for name in ("a", "b"):
        shapes = [(square(16 * (i // 2), 16 * (i % 2), 16), {"class_id": i % 3}) for i in range(4)]
        raster = RasterSourceConfig(uris=[write_image(f"{name}.tif", pixels(32, 32, 3))])
        scenes.append(
            SceneConfig(id=name, raster=raster, labels=GeoJsonLabelsConfig(uri=write_labels(f"{name}.geojson", shapes)))
        )
    config = replace(config_of(scenes), classes=ClassConfig(names=CLASSES, colors=["#1c6330", "#ccba7c", "#b2ada3"]))
    write_prediction(storage, "a", [0, 2, 2, -1])
    write_prediction(storage, "b", [0, 1, 2, 0])
    run_evaluate(config, storage, RecordingControl())
    return config


@pytest.fixture
def made(config: ChipClassificationConfig, storage: Storage) -> Callable[..., dict[str, ReportSection]]:
    """`made("eval")`: the sections by title where these commands are done."""

    def made(*done: str) -> dict[str, ReportSection]:
        return {section.title: section for section in sections(ReportSource(config, storage, frozenset(done)))}

    return made


def only(section: ReportSection, kind: type[Any]) -> list[Any]:
    return [part for part in section.parts if isinstance(part, kind)]


def test_figures_are_those_of_eval_json(made: Any, storage: Storage) -> None:
    section, overall = made("eval")["Classes"], report(storage)["overall"]
    table, scenes = only(section, SummaryTable)
    assert [row[3] for row in table.rows] == [found["f1"] for found in overall["classes"]]
    assert [row[4] for row in table.rows] == [found["support"] for found in overall["classes"]]
    (matrix,) = only(section, ReportMatrix)
    assert matrix.counts == overall["confusion"]
    assert scenes.rows[0][:2] == ["a", 2 / 3]
    assert "7 of 8 labelled cells are predicted" in section.parts[0].text


def test_maps_have_the_colours_of_the_classes_and_wrong_cells_stand_out(made: Any) -> None:
    maps = only(made("eval")["Maps"], ReportMap)
    assert [found.title for found in maps] == ["a", "b"]
    layers = {layer.caption: np.asarray(Image.open(io.BytesIO(layer.data))) for layer in maps[0].layers}
    assert list(layers) == ["prediction", "truth", "wrong cells", "score"]
    assert {pixels.shape for pixels in layers.values()} == {(32, 32, 4)}
    cells = {
        name: [pixels[8 + 16 * (i // 2), 8 + 16 * (i % 2)].tolist() for i in range(4)]
        for name, pixels in layers.items()
    }
    forest, shrub, rock = [28, 99, 48, 255], [204, 186, 124, 255], [178, 173, 163, 255]
    assert cells["truth"] == [forest, shrub, rock, forest]
    assert cells["prediction"] == [forest, rock, rock, [0, 0, 0, 0]]
    assert [cell[3] for cell in cells["wrong cells"]] == [70, 255, 70, 255]
    assert cells["wrong cells"][1] != cells["wrong cells"][3]
    assert len({tuple(cell) for cell in cells["score"][:3]}) == 1
    assert Image.open(io.BytesIO(maps[0].base.data)).size == (32, 32)
    assert maps[0].note.startswith("2 of 3 labelled cells are right")


def test_the_worst_errors_are_chips_with_their_place(made: Any) -> None:
    section = made("eval")["Worst errors"]
    (pictures,) = only(section, ReportPictures)
    (chip,) = pictures.pictures
    longitude, latitude = to_lonlat(UTM, ORIGIN[0] + 24, ORIGIN[1] - 8)
    assert chip.caption == f"shrub predicted as rock, 0.80; a, latitude {latitude:.5f}, longitude {longitude:.5f}"
    assert Image.open(io.BytesIO(chip.data)).size == (32, 32)


def test_reliability_is_what_the_calibration_error_adds_up(made: Any, storage: Storage) -> None:
    section = made("eval")["Calibration"]
    (chart,) = only(section, ReportChart)
    assert chart.series[0].points == [(pytest.approx(0.8), pytest.approx(6 / 7))]
    assert f"{report(storage)['overall']['calibration_error']:.3f}" in section.parts[0].text
    rng = np.random.default_rng(0)
    scores, is_right = rng.random(500), rng.random(500) < 0.7
    bins = Reliability.of(scores, is_right, np.zeros(500, np.int64)).bins()
    assert sum(found["count"] for found in bins) == 500
    error = sum(found["count"] * abs(found["confidence"] - found["accuracy"]) for found in bins) / 500
    assert error == pytest.approx(calibration_error(scores, is_right))


def test_the_learning_curve_is_that_of_the_history(made: Any, storage: Storage) -> None:
    storage.write_text("train/history.jsonl", "\n".join(map(json.dumps, HISTORY)) + "\n")
    storage.write_text(
        "train/metrics.json", json.dumps({"best_epoch": 2, "chosen_by": "loss", "num_train_chips": 1200})
    )
    section = made("train")["Training"]
    loss, shares = only(section, ReportChart)
    assert [line.points for line in loss.series] == [[(1, 1.5), (2, 0.5)], [(1, 1.25), (2, 0.75)]]
    assert [(line.name, line.points) for line in shares.series][1] == ("validation macro F1", [(2, 0.625)])
    assert loss.marks == {"chosen epoch": 2}
    assert section.parts[0].text == "2 epochs on 1,200 chips. Epoch 2 was chosen by loss."


def test_only_commands_that_are_done_are_shown(made: Any) -> None:
    assert made() == {}
    assert set(made("eval")) == {"Classes", "Maps", "Worst errors", "Calibration"}


def test_without_the_image_the_picture_that_eval_drew_is_shown(
    made: Any, config: ChipClassificationConfig, storage: Storage
) -> None:
    Path(config.dataset.test_scenes[0].raster.uris[0]).unlink()
    found = made("eval")
    assert [part.title for part in only(found["Maps"], ReportMap)] == ["b"]
    (pictures,) = only(found["Maps"], ReportPictures)
    assert pictures.pictures[0].data == storage.read_bytes("eval/test/a.png")
    assert "There is no map of a: " in only(found["Maps"], ReportText)[0].text
    assert "Cells of a are not shown" in only(found["Worst errors"], ReportText)[1].text


def test_a_root_of_an_earlier_version_has_figures_and_no_maps(made: Any, storage: Storage) -> None:
    for name in ("eval/test/a.geojson", "eval/test/b.geojson"):
        storage.delete(name)
    assert set(made("eval")) == {"Classes"}


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("eval/test/eval.json", "{", "Classes"),
        ("eval/test/eval.json", '{"overall": 3, "per_scene": {}}', "Classes"),
        ("eval/test/a.geojson", "{}", "Classes"),
        ("predict/a.geojson", "{}", "Maps"),
        ("train/history.jsonl", "[3]\n", "Training"),
    ],
)
def test_a_damaged_file_is_told_where_it_would_be_shown(
    made: Any, storage: Storage, name: str, text: str, title: str
) -> None:
    storage.write_text(name, text)
    texts = only(made("eval", "train")[title], ReportText)
    assert any(part.kind == "warning" or "There is no map" in part.text for part in texts)


def test_a_cell_of_a_class_that_is_not_in_the_config_is_damage(made: Any, storage: Storage) -> None:
    text = storage.read_text("eval/test/a.geojson")
    storage.write_text("eval/test/a.geojson", text.replace('"prediction_id": 2', '"prediction_id": 7'))
    assert "a class id is none of the 3 classes" in only(made("eval")["Classes"], ReportText)[0].text


def test_outcomes_are_the_cells_that_eval_compared(
    made: Any, config: ChipClassificationConfig, storage: Storage
) -> None:
    (found,) = outcomes(ReportSource(config, storage, frozenset(["eval"])))
    assert len(found.cells) == len(set(found.cells)) == report(storage)["overall"]["coverage"]["matched"]
    assert (found.truth, found.predicted) == ([0, 1, 2, 0, 1, 2, 0], [0, 2, 2, 0, 1, 2, 0])
    assert found.cells[3] == "b [0, 0, 16, 16]"
    assert found.metrics["accuracy"] == report(storage)["overall"]["accuracy"]
    longitude, latitude = to_lonlat(UTM, ORIGIN[0] + 8, ORIGIN[1] - 8)
    assert found.places[0] == pytest.approx([longitude, latitude])
    assert outcomes(ReportSource(config, storage, frozenset(["train"]))) == []


def test_cells_of_an_image_without_a_crs_have_no_place(
    made: Any, config: ChipClassificationConfig, storage: Storage
) -> None:
    text = storage.read_text("eval/test/a.geojson")
    head = '{"type": "FeatureCollection", "rv:coordinates": "pixels",'
    storage.write_text("eval/test/a.geojson", text.replace('{"type": "FeatureCollection",', head, 1))
    (found,) = outcomes(ReportSource(config, storage, frozenset(["eval"])))
    assert np.isnan(found.places[:3]).all()
    assert np.isfinite(found.places[3:]).all()
    assert found.groups == [0, 0, 0, 1, 1, 1, 1]
