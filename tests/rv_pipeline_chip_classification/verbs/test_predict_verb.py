"""`rv predict`: channels by name, one error block per bad image, and outputs that never replace an input."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch

from rv_core.cli.app import main
from rv_core.errors import DataError, UsageError
from rv_core.files.storage import Storage
from rv_pipeline_chip_classification.applying.channel_choice import choose_channels
from rv_pipeline_chip_classification.applying.config import ApplyConfig, ImageConfig
from rv_pipeline_chip_classification.applying.image_list import expand_lists, stems_of
from rv_pipeline_chip_classification.checks.images import check_images
from rv_pipeline_chip_classification.commands.bundle import run_bundle
from rv_pipeline_chip_classification.config import ChipClassificationConfig, ClassConfig, DatasetConfig
from rv_pipeline_chip_classification.model.bundle_file import open_bundle
from rv_pipeline_chip_classification.model.normalize import Normalization
from rv_pipeline_chip_classification.model.value_histogram import PixelSample
from rv_pipeline_chip_classification.verbs.image_prediction import parse_channel_order
from rv_pipeline_chip_classification.verbs.live_line import progress_in_words

RGB = ["red", "green", "blue"]


@pytest.fixture
def bundle(storage: Storage, write_trained: Any) -> str:
    return make_bundle(storage, write_trained)


def make_bundle(storage: Storage, write_trained: Any, **changes: Any) -> str:
    write_trained(storage, **changes)
    config = ChipClassificationConfig(
        root_uri=storage.root_uri, classes=ClassConfig(names=["a"]), dataset=DatasetConfig(train_scenes=[])
    )
    run_bundle(config, storage)
    return str(storage.input_file("bundle/model-bundle.zip"))


def scores(path: Path) -> list[list[float]]:
    return [feature["properties"]["scores"] for feature in json.loads(path.read_text())["features"]]


def test_images_become_cells_and_maps(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [write_image(f"{name}.tif", pixels(40, 40, 3, seed), names=RGB) for seed, name in enumerate("ab")]
    assert main(["predict", bundle, *images, "-o", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    endings = ("geojson", "qml", "scores.tif", "tif", "tif.aux.xml")
    assert names == [f"{stem}.{ending}" for stem in "ab" for ending in endings]
    out = capsys.readouterr().out
    assert f"[1/2] {images[0]} -> {tmp_path / 'out' / 'a.geojson'}: 9 cells in " in out
    assert len(scores(tmp_path / "out" / "b.geojson")) == 9


def test_a_limit_and_logits_are_options(bundle: str, write_image: Any, pixels: Any, tmp_path: Path) -> None:
    image = write_image("a.tif", pixels(32, 32, 3))
    words = ["predict", bundle, image, "-o", str(tmp_path / "out"), "--abstain-below", "1", "--logits"]
    assert main(words) == 0
    found = json.loads((tmp_path / "out" / "a.geojson").read_text())
    assert found["rv:scores"] == "logits"
    assert {feature["properties"]["class_id"] for feature in found["features"]} == {None}


def test_the_precision_is_an_option(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, scores = write_image("a.tif", pixels(40, 56), names=RGB), []
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        assert main(["predict", bundle, image, "-o", str(folder), "--precision", precision]) == 0
        cells = json.loads((folder / "a.geojson").read_text())["features"]
        scores.append([cell["properties"]["scores"] for cell in cells])
    assert scores[0] != scores[1]
    if not torch.cuda.is_available():
        capsys.readouterr()
        assert main(["predict", bundle, image, "-o", str(tmp_path / "out"), "--precision", "float16"]) == 1
        told = capsys.readouterr().err
        assert "there is no GPU here" in told and "Traceback" not in told


def test_without_geotiff_there_is_only_geojson(bundle: str, write_image: Any, pixels: Any, tmp_path: Path) -> None:
    image = write_image("a.tif", pixels(20, 20, 3), names=RGB)
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out"), "--no-geotiff", "--stride-px", "4"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.geojson", "a.qml"]
    assert len(scores(tmp_path / "out" / "a.geojson")) == 25


def test_another_vector_file_takes_the_place_of_geojson(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyogrio")
    image = write_image("a.tif", pixels(20, 20, 3), names=RGB)
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out"), "--vector", "gpkg", "--no-geotiff"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.gpkg", "a.qml"]
    assert f"{tmp_path / 'out' / 'a.gpkg'}: 4 cells" in capsys.readouterr().out
    assert main(["predict", bundle, image, "-o", str(tmp_path / "none"), "--vector", "none"]) == 0
    names = sorted(path.name for path in (tmp_path / "none").iterdir())
    assert names == ["a.qml", "a.scores.tif", "a.tif", "a.tif.aux.xml"]


def test_bands_in_another_order_give_identical_scores(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = pixels(40, 40, 4)
    image = write_image("rgb.tif", array[..., :3], names=RGB)
    turned = write_image("bgr.tif", array[..., [2, 3, 1, 0]], names=["BLUE ", "nir", "green", "Red"])
    assert main(["predict", bundle, image, turned, "-o", str(tmp_path / "out")]) == 0
    assert scores(tmp_path / "out" / "rgb.geojson") == scores(tmp_path / "out" / "bgr.geojson")
    assert "channels are matched by name: 3,2,0" in capsys.readouterr().out


def test_an_undescribed_image_goes_by_position_and_says_so(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = pixels(40, 40, 3)
    images = [write_image("a.tif", array), write_image("b.tif", array, names=RGB)]
    assert main(["predict", bundle, *images, "-o", str(tmp_path / "out")]) == 0
    assert scores(tmp_path / "out" / "a.geojson") == scores(tmp_path / "out" / "b.geojson")
    out = capsys.readouterr().out
    assert out.count("channels are taken by position, because the image does not name them") == 1


def test_a_channel_order_is_taken_as_given(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = pixels(40, 40, 3)
    image = write_image("a.tif", array, names=RGB)
    turned = write_image("b.tif", array[..., ::-1])
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out")]) == 0
    assert main(["predict", bundle, turned, "-o", str(tmp_path / "out"), "--channel-order", "2,1,0"]) == 0
    assert scores(tmp_path / "out" / "a.geojson") == scores(tmp_path / "out" / "b.geojson")
    assert "position" not in capsys.readouterr().out


def test_a_channel_order_that_names_contradict_is_refused(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image("a.tif", pixels(20, 20, 3), names=RGB[::-1])
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out"), "--channel-order", "0,1,2"]) == 1
    err = capsys.readouterr().err
    assert "blue, green, red would be taken for red, green, blue" in err
    assert "--channel-order 2,1,0" in err
    other = write_image("b.tif", pixels(20, 20, 3), names=["red", "green", "blu"])
    assert main(["predict", bundle, other, "-o", str(tmp_path / "out"), "--channel-order", "0,1,2"]) == 0
    assert "channels are taken by position: here they are red, green, blu, in training" in capsys.readouterr().out


def test_another_number_of_channels_is_refused_before_the_model_is_loaded(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(bundle) as archive, zipfile.ZipFile(broken, "w") as target:
        for name in archive.namelist():
            target.writestr(name, b"no weights" if name.endswith("safetensors") else archive.read(name))
    image = write_image("a.tif", pixels(20, 20, 4))
    assert main(["predict", str(broken), image, "-o", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "the image has 4 channels, the model expects 3" in err
    assert "checksum" not in err
    good = write_image("good.tif", pixels(20, 20, 3))
    assert main(["predict", str(broken), good, "-o", str(tmp_path / "out")]) == 1
    assert "model.safetensors has the checksum" in capsys.readouterr().err


def test_bad_images_cost_one_block_each_and_the_others_are_predicted(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_image("good.tif", pixels(40, 40, 3), names=RGB)
    short = Path(write_image("short.tif", pixels(160, 160, 3), names=RGB, compress="none"))
    short.write_bytes(short.read_bytes()[:-60_000])
    text = tmp_path / "text.tif"
    text.write_text("no image")
    out = tmp_path / "out"
    assert main(["predict", bundle, str(tmp_path / "none.tif"), str(short), str(text), good, "-o", str(out)]) == 1
    err = capsys.readouterr().err
    assert err.count("data error: ") == 3
    assert "3 of 4 images could not be predicted" in err
    assert sorted(path.name for path in out.iterdir()) == [
        f"good.{ending}" for ending in ("geojson", "qml", "scores.tif", "tif", "tif.aux.xml")
    ]


def test_missing_bands_are_named_with_the_remedy(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image("a.tif", pixels(20, 20, 3), names=["red", "green", "blu"])
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "blue: no band has this description; did you mean 'blu'?" in err
    assert "--channel-order 0,1,2" in err


def test_a_bundle_that_is_none_is_an_error(
    write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image("a.tif", pixels(20, 20, 3))
    assert main(["predict", image, image + "x", "-o", str(tmp_path / "out")]) == 1
    assert "this is no model bundle" in capsys.readouterr().err


def test_a_list_stands_for_its_lines(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [write_image(f"{name}.tif", pixels(20, 20, 3), names=RGB) for name in "abc"]
    images_list = tmp_path / "images.txt"
    images_list.write_text(f"# two of them\n{images[0]}\n\n  {images[1]}\n")
    out = tmp_path / "out"
    assert main(["predict", bundle, f"@{images_list}", images[2], "-o", str(out), "--no-geotiff"]) == 0
    assert sorted(path.stem for path in out.glob("*.geojson")) == ["a", "b", "c"]


def test_outputs_that_clash_are_refused_before_anything_is_done(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [write_image(name, pixels(20, 20, 3)) for name in ("one/a.tif", "two/A.tif")]
    assert main(["predict", bundle, *images, "-o", str(tmp_path / "out")]) == 2
    assert "outputs clash; nothing was done" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_image_is_never_replaced_by_its_prediction(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image("a.tif", pixels(20, 20, 3))
    before = Path(image).read_bytes()
    assert main(["predict", bundle, image, "-o", str(tmp_path)]) == 2
    assert "its output a.tif would replace an image" in capsys.readouterr().err
    assert Path(image).read_bytes() == before


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["x/a.tif", "y/b.jp2"], ["a", "b"]),
        (["s3://bucket/folder/scene.1.tif"], ["scene.1"]),
        (["zip+s3://bucket/a.zip!inner/b.tif"], ["b"]),
        (["https://host/a.tif?version=2"], ["a"]),
    ],
)
def test_outputs_are_named_after_the_image(images: list[str], expected: list[str]) -> None:
    assert stems_of(images, "/out") == expected


@pytest.mark.parametrize(
    "images",
    [["a.tif", "b/a.png"], ["a.tif", "a.scores.tif"], ["x/.tif"], [""]],
    ids=["stem", "scores", "hidden", "empty"],
)
def test_names_that_cannot_be_are_refused(images: list[str]) -> None:
    with pytest.raises(UsageError):
        stems_of(images, "/out")


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("\ufeffa.tif\r\nb.tif\r\n".encode())
    assert expand_lists([f"@{tmp_path / 'list.txt'}"]) == ["a.tif", "b.tif"]


def test_names_in_a_list_may_be_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("'odd'").touch()
    Path("list.txt").write_text('"a b.tif"\n  \'c.tif\'\n\'odd\'\n"d.tif\n""\n', encoding="utf-8")
    assert expand_lists(["@list.txt"]) == ["a b.tif", "c.tif", "'odd'", '"d.tif', '""']


def test_lists_that_cannot_be_read_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        expand_lists([f"@{tmp_path / 'none.txt'}"])
    empty = tmp_path / "empty.txt"
    empty.write_text("\n# nothing\n")
    with pytest.raises(UsageError, match="no image is given"):
        expand_lists([f"@{empty}"])
    with pytest.raises(UsageError, match=r"a\.tif is given more than once"):
        expand_lists(["a.tif", "b.tif", "a.tif"])


def test_a_channel_order_is_numbers_from_0() -> None:
    assert parse_channel_order("2, 1,0") == (2, 1, 0)
    assert parse_channel_order(None) is None
    for text in ("", "1,", "a,b", "-1,2", "²"):
        with pytest.raises(UsageError, match="no list of channels"):
            parse_channel_order(text)


def test_channels_are_chosen_by_name_in_the_file(make_contract: Callable[..., Any]) -> None:
    contract = make_contract()
    # The first band of this file is an alpha band, which is not read: its channels are 1 to 4.
    assert choose_channels(contract, ["blue", "nir", "green", "red"], [1, 2, 3, 4], where="x")[0] == (4, 3, 1)
    assert choose_channels(contract, RGB, [0, 1, 2], where="x") == (None, "")
    nameless = make_contract(channels=(None, None, None))
    channels, note = choose_channels(nameless, RGB, [0, 1, 2], where="x")
    assert channels is None
    assert "because the bundle does not name them" in note
    with pytest.raises(DataError, match="does not have the channels"):
        choose_channels(contract, ["red", "green", "nir"], [0, 1, 2], where="x")


def test_cells_have_the_size_that_was_trained(
    storage: Storage, write_trained: Any, write_image: Any, pixels: Any, tmp_path: Path
) -> None:
    bundle = make_bundle(storage, write_trained, cell_size_px=10)
    image = write_image("a.tif", pixels(20, 20, 3), names=RGB)
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out")]) == 0
    features = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
    assert [feature["properties"]["window"] for feature in features][-1] == [10, 10, 10, 10]


def test_an_alpha_band_is_no_channel(bundle: str, write_image: Any, pixels: Any, tmp_path: Path) -> None:
    from rasterio.enums import ColorInterp

    array = pixels(20, 20, 4)
    array[..., 3] = np.iinfo(np.uint16).max
    colors = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    image = write_image("a.tif", array, names=RGB, colorinterp=colors)
    plain = write_image("b.tif", array[..., :3], names=RGB)
    assert main(["predict", bundle, image, plain, "-o", str(tmp_path / "out")]) == 0
    assert scores(tmp_path / "out" / "a.geojson") == scores(tmp_path / "out" / "b.geojson")


def test_a_nameless_image_is_read_as_the_training_images_were(
    storage: Storage,
    write_trained: Any,
    write_image: Any,
    pixels: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = make_bundle(storage, write_trained, channels=(None,) * 3, file_channels=(2, 1, 0), num_bands=3)
    image = write_image("a.tif", pixels(40, 40, 3))
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out")]) == 0
    assert "channels are taken as in training (2,1,0)" in capsys.readouterr().out
    assert main(["predict", bundle, image, "-o", str(tmp_path / "ask"), "--channel-order", "2,1,0"]) == 0
    assert scores(tmp_path / "out" / "a.geojson") == scores(tmp_path / "ask" / "a.geojson")
    more = write_image("more.tif", pixels(40, 40, 4))
    capsys.readouterr()
    assert main(["predict", bundle, more, "-o", str(tmp_path / "out")]) == 1
    assert "the channels 2,1,0 of 3 bands, the image has 4" in capsys.readouterr().err


def test_training_orders_that_differ_have_to_be_said(make_contract: Any) -> None:
    contract = make_contract(channels=(None,) * 3, file_channels=())
    with pytest.raises(DataError, match="--channel-order"):
        choose_channels(contract, [None] * 3, [0, 1, 2], where="x")
    for known in ((0, 1, 2), None):
        contract = make_contract(channels=(None,) * 3, file_channels=known, num_bands=4)
        assert choose_channels(contract, [None] * 3, [0, 1, 2], where="x", num_bands=3)[0] is None
    rgb_of_four = make_contract(channels=(None,) * 3, file_channels=(0, 1, 2), num_bands=4)
    assert choose_channels(rgb_of_four, [None] * 4, [0, 1, 2, 3], where="x", num_bands=4)[0] == (0, 1, 2)


def without_class(path: Path) -> int:
    return sum(feature["properties"]["class_id"] is None for feature in json.loads(path.read_text())["features"])


@pytest.mark.parametrize(("words", "expected"), [([], 1), (["--nodata", "none"], 0), (["--nodata", "7"], 0)])
def test_nodata_is_that_of_the_training_unless_it_is_said(
    storage: Storage, write_trained: Any, write_image: Any, pixels: Any, tmp_path: Path, words: list[str], expected: int
) -> None:
    bundle = make_bundle(storage, write_trained, nodata=0.0)
    array = pixels(32, 32, 3)
    array[:16, :16] = 0
    image = write_image("a.tif", array, names=RGB)
    assert main(["predict", bundle, image, "-o", str(tmp_path / "out"), *words]) == 0
    assert without_class(tmp_path / "out" / "a.geojson") == expected


def test_a_nodata_that_is_no_number_is_refused(bundle: str, write_image: Any, pixels: Any, tmp_path: Path) -> None:
    assert main(["predict", bundle, write_image("a.tif", pixels(20, 20)), "-o", str(tmp_path), "--nodata", "x"]) == 2


def test_pixels_of_another_size_and_odd_headers_are_told(
    storage: Storage,
    write_trained: Any,
    write_image: Any,
    pixels: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = make_bundle(storage, write_trained, pixel_size_m=(10.0, 10.2))
    images = [write_image(f"p{pixel}.tif", pixels(20, 20, 3), pixel=pixel, names=RGB) for pixel in (10, 0.2)]
    assert main(["predict", bundle, *images, "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert out.count("those of the training images 10 m") == 1
    assert "its pixels are 0.2 m on the ground" in out


@pytest.fixture
def bundle_with_values(storage: Storage, write_trained: Any) -> str:
    """Of values around 400, and normalised by their mean and standard deviation."""
    sample = PixelSample(3, 64 * 64)
    sample.add(np.random.default_rng(0).normal(400, 50, (64, 64, 3)).astype(np.uint16), None)
    normalization = Normalization("stats", (400.0,) * 3, (1 / 50,) * 3)
    return make_bundle(storage, write_trained, values=sample.histogram(), normalization=normalization)


def test_of_many_images_of_other_values_a_run_tells_three_and_how_many_more(
    bundle_with_values: str, write_image: Any, tmp_path: Path
) -> None:
    array = np.random.default_rng(1).normal(3900, 55, (64, 64, 3)).astype(np.uint16)
    images = [
        ImageConfig(id=str(number), uri=write_image(f"{number}.tif", array + number, names=RGB)) for number in range(6)
    ]
    config = ApplyConfig(root_uri=str(tmp_path / "out"), bundle=bundle_with_values, images=images)
    found = list(check_images(config, {"predict": [image.id for image in images]}))
    assert [finding.where for finding in found] == [
        "images[0].uri",
        "images[1].uri",
        "images[2].uri",
        "images[3].uri and 2 more",
    ]
    assert all(finding.severity == "warning" for finding in found)


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--on-drift", "refuse"], 1), (["--on-drift", "ignore"], 0)])
def test_drift_is_told_refused_or_not_looked_at(
    bundle_with_values: str, write_image: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: Any, code: int
) -> None:
    array = np.random.default_rng(1).normal(390, 55, (64, 64, 3))
    usual = write_image("usual.tif", array.astype(np.uint16), names=RGB)
    array[..., 2] *= 10
    scaled = write_image("scaled.tif", array.astype(np.uint16), names=RGB)
    assert main(["predict", bundle_with_values, usual, scaled, "-o", str(tmp_path / "out"), *words]) == code
    printed = capsys.readouterr()
    text = (printed.err if code else printed.out).partition("scaled.tif")[2]
    assert ("blue: 100% of its pixels are outside of" in text) == (words != ["--on-drift", "ignore"])
    assert "red: " not in printed.out + printed.err
    assert (tmp_path / "out" / "usual.geojson").exists()
    assert (tmp_path / "out" / "scaled.geojson").exists() == (code == 0)


def test_a_bundle_that_does_not_know_its_values_says_so(
    write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Path(__file__).parents[1] / "model" / "samples" / "bundle-0.1.zip"
    contract = open_bundle(old).contract
    array = pixels(40, 40, contract.num_channels).astype(contract.dtype)
    image = write_image("a.tif", array, names=[name or "" for name in contract.channels])
    assert main(["predict", str(old), image, "-o", str(tmp_path / "out")]) == 0
    assert "note: the model does not know the values of its training images" in capsys.readouterr().out
    assert main(["predict", str(old), image, "-o", str(tmp_path / "no"), "--on-drift", "refuse"]) == 1
    assert "drift cannot be refused" in capsys.readouterr().err


def test_statistics_of_its_own_undo_another_scale(
    bundle_with_values: str, write_image: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.random.default_rng(1).normal(400, 50, (64, 64, 3)).astype(np.uint16)
    images = [write_image(f"x{factor}.tif", array * np.uint16(factor), names=RGB) for factor in (1, 10)]
    for folder, words in (("plain", []), ("own", ["--update-stats"])):
        assert main(["predict", bundle_with_values, *images, "-o", str(tmp_path / folder), *words]) == 0
    plain, own = ([scores(tmp_path / folder / f"x{n}.geojson") for n in (1, 10)] for folder in ("plain", "own"))
    assert np.abs(np.subtract(*plain)).max() > 0.01
    assert np.abs(np.subtract(*own)).max() < 1e-5
    assert own[0] != plain[0]
    out = capsys.readouterr().out
    assert out.count("outside of") == 3, "of three channels, without --update-stats"
    assert out.count("normalised by the statistics of its own pixels") == 2


def test_statistics_of_its_own_need_a_model_that_uses_them(
    storage: Storage,
    write_trained: Any,
    bundle_with_values: str,
    write_image: Any,
    pixels: Any,
    tmp_path: Path,
    capsys: Any,
) -> None:
    words = [write_image("a.tif", pixels(20, 20, 3), names=RGB), "-o", str(tmp_path / "out"), "--update-stats"]
    assert main(["predict", bundle_with_values, *words, "--on-drift", "refuse"]) == 2
    assert "contradict each other" in capsys.readouterr().err
    plain = make_bundle(storage, write_trained)
    assert main(["predict", plain, *words]) == 2
    assert 'it was trained with normalize="none"' in capsys.readouterr().err


def test_an_image_that_a_library_trips_over_does_not_cost_the_others(
    bundle: str, write_image: Any, pixels: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_image("good.tif", pixels(20, 20, 3), names=RGB)
    two = str(tmp_path / "two.nc")
    rasterio.shutil.copy(write_image("src.tif", pixels(20, 20, 2)), two, driver="netCDF")
    assert main(["predict", bundle, two, good, "-o", str(tmp_path / "out")]) == 1
    assert (tmp_path / "out" / "good.geojson").exists()
    assert "holds no bands of its own" in capsys.readouterr().err


def test_scales_are_applied_as_in_training(
    storage: Storage, write_trained: Any, write_image: Any, pixels: Any, tmp_path: Path
) -> None:
    """The same reflectance as numbers with tags, and as it is."""
    bundle = make_bundle(storage, write_trained, apply_scale=True, dtype="float32")
    array = pixels(40, 40, 3)
    stored = write_image("stored.tif", array, names=RGB)
    with rasterio.open(stored, "r+") as file:
        file.scales = (0.0001,) * 3
    plain = write_image("plain.tif", (array * 0.0001).astype(np.float32), names=RGB)
    assert main(["predict", bundle, stored, plain, "-o", str(tmp_path / "out")]) == 0
    assert scores(tmp_path / "out" / "stored.geojson") == scores(tmp_path / "out" / "plain.geojson")


def test_a_bundle_imports_no_module_that_the_command_line_does_not_name(
    storage: Storage,
    write_trained: Any,
    write_image: Any,
    pixels: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rvt_foreign.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nmake = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    bundle = make_bundle(storage, write_trained)
    contract = json.loads(storage.read_text("train/model.json"))
    bundle = make_bundle(
        storage,
        lambda its: its.write_text("train/model.json", json.dumps({**contract, "backbone": "rvt_foreign:make"})),
    )
    words = ["predict", bundle, write_image("a.tif", pixels(20, 20, 3), names=RGB), "-o", str(tmp_path / "out")]
    assert main(words) == main([*words, "--backbone", "rvt_other:make"]) == 2
    err = capsys.readouterr().err
    assert "code that is not part of rv" in err and "add --backbone rvt_foreign:make" in err
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()
    assert main([*words, "--backbone", "rvt_foreign:make"]) != 0
    assert (tmp_path / "ran").exists()


def test_progress_is_a_share_and_the_time_that_is_left() -> None:
    assert progress_in_words(1_999, 2_000, 100.0) == "99 % of 2000 cells, 100/s, 0.0 s left"
    assert progress_in_words(500, 2_000, 10.0) == "25 % of 2000 cells, 10/s, 2:30 left"
    assert progress_in_words(0, 0, 0.0) == "0 % of 0 cells"
