"""Files behind addresses that a plugin signs: what a run writes and prints holds no signature, and an old one is one finding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.scenes import write_dataset
from tests.secret_hunt import files_under

if TYPE_CHECKING:
    from tests.conftest import RvCli
    from tests.file_servers import WebServer
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.file_servers", "tests.plugin_fixtures")
pytest.importorskip("rv_pipeline_chip_classification.hooks")

SIGNER = """
    import os

    @hookimpl
    def rv_sign_uri(uri):
        if os.environ["SIGNATURE"] == "raises": raise PermissionError("log in first")
        return uri + "?se=2030-01-01&sig=" + os.environ["SIGNATURE"] if uri.startswith("http://127.0.0.1") else None
"""
EXPERIMENT = """
from rv_pipeline_chip_classification import *

def get_config(runner: str, root_uri: str, base: str, size: int = 16) -> ChipClassificationConfig:
    def scene(name):
        labels = GeoJsonLabelsConfig(uri=f"{base}/{name}.geojson")
        return SceneConfig(id=name, raster=RasterSourceConfig(uris=[f"{base}/{name}.tif"]), labels=labels)
    scenes = [scene(f"train-{number}") for number in range(1, 4)]
    return ChipClassificationConfig(
        root_uri=root_uri, classes=ClassConfig(names=["forest", "shrub", "rock"]),
        dataset=DatasetConfig(train_scenes=scenes), chip=ChipConfig(chip_size_px=size),
    )
"""
GOOD, LATER = "5ignature-of-today-0123456789", "5ignature-of-tomorrow-987654"


def test_a_signature_is_used_and_found_nowhere_and_an_old_one_is_one_finding(
    rv: RvCli, tmp_path: Path, site: Site, web_server: WebServer
) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    site.install("rv-signs", SIGNER)
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    data = write_dataset(tmp_path / "data", train=(1, 2, 3))
    web_server.files = {f"/{path.name}": path.read_bytes() for path in data.iterdir()}
    web_server.signature = GOOD
    shutil.rmtree(data)

    def run(signature: str, *more: str) -> tuple[int, str]:
        words = (
            "run",
            "local",
            "experiment.py",
            "analyze",
            "chip",
            "-a",
            "root_uri",
            "out",
            "-a",
            "base",
            web_server.url,
        )
        environ = {"SIGNATURE": signature, "RV_CACHE_DIR": str(tmp_path / "cache"), "RV_RETRY_S": "0"}
        done = rv(*words, *more, env=site.environ(**environ))
        return done.returncode, done.stdout + done.stderr

    code, text = run(GOOD, "--traceback", "-vv")
    assert code == 0, text
    assert len(list((tmp_path / "out" / "chip").glob("train-*.npy"))) == 3
    seen = {**files_under(tmp_path / "out", tmp_path / "cache"), "printed": text.encode()}
    assert [place for place, content in seen.items() if GOOD.encode() in content] == []

    web_server.signature = LATER
    code, text = run(GOOD, "-a", "size", "32")
    assert code != 0 and "Traceback" not in text
    assert text.count("refuses the signature that plugin 'rv_signs' (rv-signs 1.0) gave") == 1
    assert "renew what it signs with" in text and GOOD not in text
    code, text = run("raises", "-a", "size", "32")
    assert code == 3 and "it raised PermissionError: log in first" in text
    # Another signature is the same file: nothing is done anew.
    code, text = run(LATER, "--dry-run")
    assert code == 0 and "everything is done already" in text, text
