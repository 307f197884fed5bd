"""A bundle applied to images as a pipeline: what `rv predict` writes, and what does not fit told before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rv_core.cli.app import main
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.checks.images import check_files, check_images

RGB = ["red", "green", "blue"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_writes_what_rv_predict_writes_and_maps_again_what_changed(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [write_image(f"in/image {n:02}.tif", pixels(40, 40, 3, n), names=RGB) for n in range(20)]
    assert main(["predict", bundle, *images, "-o", str(tmp_path / "predicted")]) == 0
    line = ["run", "inprocess", "rv_pipeline_chip_classification.apply", "-a", f"bundle={bundle}"]
    line += ["-a", f"images={tmp_path}/in/*.tif", "-a", f"root_uri={tmp_path}/out", "--splits", "3"]
    assert main(line) == 0
    assert files(tmp_path / "out" / "predict") == files(tmp_path / "predicted")
    capsys.readouterr()
    assert main(["predict", bundle, *images, "-o", str(tmp_path / "out"), "--runner", "inprocess", "--jobs", "3"]) == 0
    assert "Nothing to do" in capsys.readouterr().out, "rv predict on a runner is the same run"
    Path(images[7]).write_bytes(Path(images[8]).read_bytes())
    assert items_to_do(line, capsys) == ["image 07"]
    assert items_to_do([*line, "-a", "precision=float32"], capsys) == ["image 07"], "as without it"
    assert len(items_to_do([*line, "-a", "precision=bfloat16"], capsys)) == 20
    data = Path(bundle).read_bytes()
    Path(bundle).unlink()
    Path(bundle).write_bytes(data + b"other")
    assert len(items_to_do(line, capsys)) == 20, "another bundle maps all images again"


def items_to_do(line: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert main([*line, "--dry-run", "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)["jobs"]
    return [item for task in job["tasks"] for item in task["items"]]


def test_every_image_that_does_not_fit_is_told_and_each_warning_once(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path
) -> None:
    (tmp_path / "text.tif").write_text("no image")
    uris = [
        write_image("bands.tif", pixels(20, 20, 2)),
        write_image("dtype.tif", pixels(20, 20, 3).astype(np.float32)),
        write_image("turned.tif", pixels(20, 20, 3), names=RGB[::-1]),
        str(tmp_path / "text.tif"),
        write_image("a.tif", pixels(20, 20, 3)),
        write_image("b.tif", pixels(20, 20, 3)),
        str(tmp_path / "none.tif"),
    ]
    images = [ImageConfig(id=str(number), uri=uri) for number, uri in enumerate(uris)]
    config = ApplyConfig(root_uri=str(tmp_path / "out"), bundle=bundle, images=images)
    todo = {"predict": [image.id for image in images]}
    found = [(finding.severity, finding.where, finding.what) for finding in check_images(config, todo)]
    assert [(severity, where) for severity, where, _ in found] == [
        ("warning", "bundle"),
        ("error", "images[0].uri"),
        ("error", "images[1].uri"),
        ("error", "images[3].uri"),
        ("warning", "images[2].uri"),
        ("warning", "images[4].uri and 1 more"),
    ]
    assert found[4][2] == "channels are matched by name: 2,1,0"
    assert [finding.where for finding in check_files(config, todo)] == ["images[6].uri"]
    config.channel_order = [0, 1, 2]
    told = [finding for finding in check_images(config, {"predict": ["2"]}) if finding.severity == "error"]
    assert [finding.where for finding in told] == ["images[2].uri"]
    assert "--channel-order" not in str(told[0])
    assert "channel_order 2,1,0" in told[0].fix
