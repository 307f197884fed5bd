"""`rv predict … --runner`: the config that writes what the options ask for."""

from __future__ import annotations

import pytest

from rv_core.errors import UsageError
from rv_pipeline_chip_classification.prediction.cell_scores import Answers, answers_of
from rv_pipeline_chip_classification.verbs.image_prediction import PredictionRequest
from rv_pipeline_chip_classification.verbs.runner_prediction import apply_config


def test_every_option_reaches_the_config() -> None:
    answers = Answers(
        0.6, gives_logits=True, averages_symmetries=True, averages_overlaps=True, smooth=3, precision="auto"
    )
    request = PredictionRequest(
        bundle="b.zip",
        images=("in/a.tif", "in/b[1].tif"),
        output="out",
        channel_order="2,1,0",
        nodata="0",
        batch_size=7,
        stride_px=16,
        write_geotiff=False,
        on_drift="refuse",
        backbone="nets:make",
        answers=answers,
    )
    config = apply_config(request)
    assert [(image.id, image.uri) for image in config.images] == [("a", "in/a.tif"), ("b[1]", "in/b[1].tif")]
    assert answers_of(config) == answers
    given = (config.root_uri, config.bundle, config.channel_order, config.nodata, config.batch_size, config.stride_px)
    assert given == ("out", "b.zip", [2, 1, 0], 0.0, 7, 16)
    assert (config.write_geotiff, config.on_drift, config.backbone) == (False, "refuse", "nets:make")


@pytest.mark.parametrize(
    ("typed", "meant"), [(None, "training"), ("none", "none"), ("nan", "none"), ("-9999", -9999.0)]
)
def test_nodata_is_what_the_option_means(typed: str | None, meant: float | str) -> None:
    assert apply_config(PredictionRequest("b.zip", ("a.tif",), "out", nodata=typed)).nodata == meant


def test_an_image_that_an_output_would_replace_is_refused() -> None:
    with pytest.raises(UsageError):
        apply_config(PredictionRequest("b.zip", ("out/predict/a.tif",), "out"))
