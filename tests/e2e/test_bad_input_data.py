"""Images, labels, areas of interest and bundles that cannot be used: found before anything runs, or told by the task."""

from __future__ import annotations

import json
import os
import pickle
import resource
import stat
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("rv_pipeline_chip_classification.hooks")

from tests import scenes
from tests.e2e.blocks import block_of, findings_of
from tests.e2e.small_disks import run_on_disk

if TYPE_CHECKING:
    from tests.e2e.conftest import TinyRun
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)

TINY = Path(__file__).with_name("tiny_experiment.py")
TRAIN = "dataset.train_scenes"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def with_scenes(data: Path, *seeds: int) -> Path:
    """More training scenes in the folder."""
    return scenes.write_dataset(data, train=seeds)


def settings(data: Path, root: Path, **sets: Any) -> list[str]:
    """The words of a command line for the tiny experiment, with `--set` of dotted paths."""
    words = [str(TINY), "-a", f"data={data}", "-a", f"root_uri={root}"]
    for path, value in sets.items():
        words += ["--set", f"{path}={json.dumps(value)}"]
    return words


# --- before anything is started ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_demo_that_cannot_be_written_says_so(rv: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    done = rv("demo", name)
    assert done.returncode == 2
    assert done.stderr.startswith("usage error: the demo cannot be written to ")


def test_images_that_cannot_be_used_are_all_named_and_nothing_is_started(rv: Any, tiny_data: Path, root: Path) -> None:
    with_scenes(tiny_data, 5, 6, 7, 8)
    scenes.cut_in_half(tiny_data / "train-2.tif")
    (tiny_data / "train-5.tif").write_text("no raster at all")
    (tiny_data / "train-6.tif").write_bytes(b"")
    (tiny_data / "train-7.tif").write_bytes(bytes(range(256)) * 40)
    sets = {
        f"{TRAIN}[0].raster.uris": [str(tiny_data / "none.tif")],
        f"{TRAIN}[5].raster.channel_order": [0, 1, 3],
    }

    found = findings_of(block_of(rv("run", "inprocess", settings(tiny_data, root, **sets)), 2))

    expected = {
        f"{TRAIN}[0].raster.uris[0]": ["there is no file", "none.tif"],
        f"{TRAIN}[1].raster.uris": ["'train-2'", "train-2.tif", "the file may be cut short", "again"],
        f"{TRAIN}[2].raster.uris": ["'train-5'", "train-5.tif", "not a raster"],
        f"{TRAIN}[3].raster.uris": ["'train-6'", "train-6.tif", "the file is empty"],
        f"{TRAIN}[4].raster.uris": ["'train-7'", "train-7.tif", "not a raster"],
        f"{TRAIN}[5].raster.channel_order": ["'train-8'", "no channel 3", "the channels 0 to 2"],
    }
    assert sorted(found) == sorted(expected)
    for place, texts in expected.items():
        for text in texts:
            assert text in found[place]
    assert not root.exists()


def test_labels_that_cannot_be_used_are_all_named(rv: Any, tiny_data: Path, root: Path) -> None:
    with_scenes(tiny_data, 5, 6, 7, 8, 9)
    scenes.write_geojson(tiny_data / "train-2.geojson", [])
    renamed = (tiny_data / "train-5.geojson").read_text().replace('"forest"', '"forrest"')
    (tiny_data / "train-5.geojson").write_text(renamed)
    metres = [(500_000.0, 4_500_000.0), (500_010.0, 4_500_000.0), (500_000.0, 4_500_010.0), (500_000.0, 4_500_000.0)]
    scenes.write_geojson(tiny_data / "train-6.geojson", [(metres, {"class_id": 0})])
    (tiny_data / "train-7.geojson").write_bytes((tiny_data / "train-1.geojson").read_bytes())
    scenes.cut_in_half(tiny_data / "train-8.geojson")
    raster = tiny_data / "labels.tif"
    scenes.write_image(raster, scenes.pixels_of(scenes.cell_classes(32, 0), 0)[..., :1], crs=None)
    sets = {
        f"{TRAIN}[0].labels.uri": str(tiny_data / "none.geojson"),
        f"{TRAIN}[6].labels": {
            "type_hint": "class_raster_labels",
            "uri": str(raster),
            "class_values": {"0": "forest"},
        },
    }

    found = findings_of(block_of(rv("check", settings(tiny_data, root, **sets)), 2))

    expected = {
        f"{TRAIN}[0].labels.uri": ["there is no file", "none.geojson"],
        f"{TRAIN}[1].labels.uri": ["train-2.geojson", "no polygon with a class", "set background_class"],
        f"{TRAIN}[2].labels.uri": ["train-5.geojson", "no class named 'forrest'", "did you mean 'forest'?"],
        f"{TRAIN}[3].labels.uri": ["train-6.geojson", "not in longitude and latitude", "(500000, 4500000)", '"crs"'],
        f"{TRAIN}[4].labels.uri": ["labels and image of scene 'train-7' do not overlap"],
        f"{TRAIN}[5].labels.uri": ["train-8.geojson", "it is no JSON"],
        f"{TRAIN}[6].labels.uri": ["labels.tif", "without a CRS", "64 x 64 px"],
    }
    assert sorted(found) == sorted(expected)
    for place, texts in expected.items():
        for text in texts:
            assert text in found[place]


@pytest.mark.parametrize("words", [("run", "inprocess"), pytest.param(("check",), marks=pytest.mark.slow)])
def test_layers_masks_and_stacks_that_cannot_be_used_are_all_named(
    rv: Any, tiny_data: Path, root: Path, words: tuple[str, ...]
) -> None:
    pytest.importorskip("pyogrio")
    with_scenes(tiny_data, 5, 6, 7, 8, 9)
    *_, plain = names = [str(tiny_data / f"train-{number}") for number in (1, 2, 5, 6, 7, 8, 9)]
    write_layer(tiny_data / "layers.gpkg", "parcels", scenes.square(0, 0, 64, origin=scenes.origin_of(1)))
    nowhere = {"type": "Feature", "properties": {"class_id": 0}, "geometry": None}
    Path(f"{names[3]}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [nowhere]}))
    pixels = scenes.pixels_of(scenes.cell_classes(64, 0), 0)
    scenes.write_image(tiny_data / "far.tif", pixels, origin=(900_000.0, 4_900_000.0))
    scenes.write_image(tiny_data / "mask.tif", pixels[..., :1], origin=(900_000.0, 4_900_000.0))
    write_without_transform(Path(f"{plain}.tif"), pixels)

    def vector(uri: str, **fields: Any) -> dict[str, Any]:
        return {"type_hint": "vector_labels", "uri": uri, **fields}

    def source(name: str, **fields: Any) -> dict[str, Any]:
        return {"type_hint": "raster_source", "uris": [f"{name}.tif"], **fields}

    sources = [source(names[5]), source(str(tiny_data / "far"))]
    mask = {"type_hint": "mask", "uri": str(tiny_data / "mask.tif"), "valid_values": [1]}
    sets = {
        f"{TRAIN}[0].labels": vector(str(tiny_data / "layers.gpkg"), layer="fields"),
        f"{TRAIN}[1].labels": vector(f"{names[1]}.geojson", class_property="crop"),
        f"{TRAIN}[2].labels": vector(f"{names[2]}.geojson", where="year = 2024"),
        f"{TRAIN}[3].labels": vector(f"{names[3]}.geojson"),
        f"{TRAIN}[4].raster": source(names[4], mask=mask),
        f"{TRAIN}[5].raster": {"type_hint": "raster_stack", "sources": sources},
    }

    block = block_of(rv(*words, settings(tiny_data, root, **sets)), 2)
    found = findings_of("\n".join(line for line in block.splitlines() if not line.startswith("  - (warning) ")))

    expected = {
        f"{TRAIN}[0].labels.layer": ["layers.gpkg", "has no layer 'fields'", "its layers are 'parcels'"],
        f"{TRAIN}[1].labels.class_property": ["train-2.geojson", "no column crop", "it has class_name"],
        f"{TRAIN}[2].labels.where": ["train-5.geojson", "no such column: year"],
        f"{TRAIN}[3].labels.uri": ["train-6.geojson", "1 x no geometry"],
        f"{TRAIN}[4].raster.mask": ["mask.tif", "lies wholly outside of the scene"],
        f"{TRAIN}[5].raster.sources[1]": ["far.tif", "lies wholly outside of the scene"],
        f"{TRAIN}[6].raster.uris": ["train-9.tif", "a CRS and no transform", "gdal_edit.py"],
    }
    assert sorted(found) == sorted(expected), found
    for place, texts in expected.items():
        for text in texts:
            assert text in found[place], found[place]
    assert not root.exists()


def write_layer(path: Path, layer: str, ring: Sequence[tuple[float, float]]) -> None:
    """A GeoPackage with one polygon of class 0."""
    import numpy as np
    import pyogrio
    import shapely

    wkb = np.array([shapely.to_wkb(shapely.Polygon(ring))], object)
    pyogrio.raw.write(
        path, wkb, [np.zeros(1, np.int32)], ["class_id"], layer=layer, crs="EPSG:4326", geometry_type="Polygon"
    )


def write_without_transform(path: Path, pixels: Any) -> None:
    """An image that has a CRS and does not say where in it its pixels lie."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    height, width, count = pixels.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        shape = {"height": height, "width": width, "count": count, "dtype": pixels.dtype}
        with rasterio.open(path, "w", driver="GTiff", crs=scenes.UTM, **shape) as file:
            file.write(pixels.transpose(2, 0, 1))


def test_labels_in_a_crs_of_their_own_that_nobody_knows_are_named(rv: Any, tiny_data: Path, root: Path) -> None:
    labels = json.loads((tiny_data / "train-1.geojson").read_text())
    labels["crs"] = {"type": "name", "properties": {"name": "EPSG:999999"}}
    (tiny_data / "train-1.geojson").write_text(json.dumps(labels))
    labels["crs"] = {"type": "name"}
    (tiny_data / "train-2.geojson").write_text(json.dumps(labels))
    found = findings_of(block_of(rv("check", settings(tiny_data, root)), 2))
    assert sorted(found) == [f"{TRAIN}[0].labels.uri", f"{TRAIN}[1].labels.uri"]
    assert "999999" in found[f"{TRAIN}[0].labels.uri"]
    assert "names no CRS" in found[f"{TRAIN}[1].labels.uri"]


WRONG_CONFIGS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "a scene id that repeats": (
        {f"{TRAIN}[0].id": "train-2"},
        {f"{TRAIN}[1].id": "scene id 'train-2' is also that of train_scenes[0]"},
    ),
    "scene ids that differ in case only": (
        {f"{TRAIN}[0].id": "TEST-4"},
        {"dataset.test_scenes[0].id": "without regard to case"},
    ),
    "a scene id that is a path": ({f"{TRAIN}[0].id": "../x"}, {f"{TRAIN}[0].id": "'../x' cannot be a scene id"}),
    "a negative channel": (
        {f"{TRAIN}[0].raster.channel_order": [0, -1, 2]},
        {f"{TRAIN}[0].raster.channel_order[1]": "channel -1 is negative"},
    ),
    "sizes that can never match": (
        {"predict.stride_px": 10, "dataset.test_scenes[0].labels.cell_size_px": 20},
        {
            "predict.stride_px": "windows every 10 px can never match all the cells of 16 px",
            "dataset.test_scenes[0].labels.cell_size_px": "one model has one cell size",
        },
    ),
}


@pytest.mark.parametrize("case", WRONG_CONFIGS)
def test_a_config_with(rv: Any, tiny_data: Path, root: Path, case: str) -> None:
    sets, expected = WRONG_CONFIGS[case]
    found = findings_of(block_of(rv("run", "inprocess", settings(tiny_data, root, **sets)), 2))
    assert sorted(found) == sorted(expected)
    for place, what in expected.items():
        assert what in found[place]
    assert not root.exists()


def test_a_crop_that_leaves_the_image_and_channels_that_differ_are_named(rv: Any, tiny_data: Path, root: Path) -> None:
    sets = {f"{TRAIN}[0].raster.bbox": [0, 0, 100, 100]}
    scenes.write_image(tiny_data / "test-4.tif", scenes.pixels_of(scenes.cell_classes(64, 4), 4)[..., :2])
    found = findings_of(block_of(rv("check", settings(tiny_data, root, **sets)), 2))
    assert "leaves the image" in found[f"{TRAIN}[0].raster.bbox"]
    assert "2 channels of uint8, but 3 of uint8" in found["dataset.test_scenes[0].raster"]
    assert "dataset.test_scenes[0].labels.uri" in found  # the new image lies elsewhere


def test_what_would_fail_only_after_hours_of_training_is_found_before(rv: Any, tiny_data: Path, root: Path) -> None:
    weights = tiny_data / "weights.pth"
    weights.write_bytes(pickle.dumps({"weight": 1.0}))
    sets = {
        "model.init_weights": str(weights),
        "dataset.validation_scenes[0].labels": None,
        "dataset.test_scenes[0].labels": None,
    }
    found = findings_of(block_of(rv("run", "inprocess", settings(tiny_data, root, **sets)), 2))
    assert "neither a .safetensors file nor a model bundle" in found["model.init_weights"]
    assert "no validation or test scene has labels" in found["eval.subsets"]
    assert not root.exists()
    commands = ("analyze", "chip", "train", "predict", "bundle")  # as the finding says
    del sets["model.init_weights"]
    assert rv("run", "inprocess", settings(tiny_data, root, **sets), commands, "--dry-run").returncode == 0


def write_aois(data: Path, size_px: float) -> None:
    """An area of interest for every scene: a square of pixels at (4, 4)."""
    for path in data.glob("*.tif"):
        seed = int(path.stem.rpartition("-")[2])
        ring = scenes.square(4, 4, size_px, origin=scenes.origin_of(seed))
        scenes.write_geojson(data / f"{path.stem}-aoi.geojson", [(ring, {})])


def test_areas_of_interest_that_hold_no_window_are_named_and_no_chip_at_all_is_refused(
    rv: Any, tiny_data: Path, root: Path
) -> None:
    write_aois(tiny_data, 8)
    block = block_of(rv("run", "inprocess", settings(tiny_data, root), "-a", "aoi=true"), 2)
    for place in (f"{TRAIN}[0]", f"{TRAIN}[1]", "dataset.validation_scenes[0]", "dataset.test_scenes[0]"):
        assert f"(warning) {place}.aoi_uris: none of the 16 " in block
    assert f"{TRAIN}: no training chip" in block
    assert "eval.subsets: there is nothing to evaluate" in block
    assert not root.exists()


def test_one_scene_whose_area_of_interest_holds_no_window_is_a_warning_with_its_counts(
    rv: Any, tiny_data: Path, root: Path
) -> None:
    write_aois(tiny_data, 40)
    scenes.write_geojson(tiny_data / "train-2-aoi.geojson", [(scenes.square(4, 4, 8, origin=scenes.origin_of(2)), {})])
    done = rv("run", "inprocess", settings(tiny_data, root), "chip", "-a", "aoi=true")
    assert done.returncode == 0, done.stderr
    assert "none of the 16 windows of scene 'train-2' is selected by its AOI" in done.stderr
    assert done.stderr.count("is selected by its AOI") == 1
    manifest = json.loads(next((root / ".rv/done/chip").glob("train-2.*")).read_text())
    assert manifest["counts"]["num_chips"] == 0


def test_eight_planted_faults_in_twenty_scenes_are_eight_findings_within_three_seconds(
    rv: Any, tiny_data: Path, root: Path
) -> None:
    with_scenes(tiny_data, *range(5, 21))
    assert len(list(tiny_data.glob("*.tif"))) == 20
    scenes.cut_in_half(tiny_data / "train-11.tif")
    (tiny_data / "train-12.tif").write_text("no raster")
    (tiny_data / "train-13.geojson").write_bytes((tiny_data / "train-1.geojson").read_bytes())
    (tiny_data / "train-14.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    places = {path.stem: index for index, path in enumerate(sorted(tiny_data.glob("train-*.tif")))}
    sets = {
        f"{TRAIN}[{places['train-15']}].raster.uris": [str(tiny_data / "none.tif")],
        f"{TRAIN}[{places['train-16']}].raster.channel_order": [0, 1, 7],
        f"{TRAIN}[{places['train-17']}].raster.bbox": [60, 0, 10, 10],
        f"{TRAIN}[{places['train-18']}].labels.class_property": "kind",
    }
    before = cpu_s_of_children()

    found = findings_of(block_of(rv("run", "local", settings(tiny_data, root, **sets)), 2))

    assert cpu_s_of_children() - before < 3
    fields = {
        "train-11": "raster.uris",
        "train-12": "raster.uris",
        "train-13": "labels.uri",
        "train-14": "labels.uri",
        "train-15": "raster.uris[0]",
        "train-16": "raster.channel_order",
        "train-17": "raster.bbox",
        "train-18": "labels.uri",
    }
    assert sorted(found) == sorted(f"{TRAIN}[{places[name]}].{field}" for name, field in fields.items())
    assert not root.exists()


def cpu_s_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_secret_in_the_uri_of_an_image_is_shown_nowhere(
    rv: Any, tiny_data: Path, root: Path, tmp_path: Path, isolated_environment: Path, web_server: WebServer
) -> None:
    secret = "hunter2-S3CRET"
    for path in tiny_data.iterdir():
        web_server.files[f"/{path.name}"] = path.read_bytes()
    address = web_server.url.replace("http://", "http://${SCENES_USER}:${SCENES_PASSWORD}@")
    env = {"SCENES_USER": "ada", "SCENES_PASSWORD": secret, "RV_RETRY_S": "0"}
    sets = {
        f"{TRAIN}[0].raster.uris": [f"{address}/train-1.tif"],
        f"{TRAIN}[0].labels.uri": f"{address}/train-1.geojson",
    }

    done = rv("run", "inprocess", settings(tiny_data, root, **sets), "analyze", "chip", env=env)

    assert done.returncode == 0, done.stderr
    assert (root / "chip" / "train-1.npy").exists()
    web_server.files.clear()
    refused = rv("check", settings(tiny_data, tmp_path / "other", **sets), env=env)
    assert refused.returncode == 2
    assert "/train-1.tif" in refused.stderr
    assert secret not in done.stdout + done.stderr + refused.stdout + refused.stderr
    files = [path for folder in (root, isolated_environment) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


# --- while it runs ----------------------------------------------------------------------------------------------------


def spoil_the_middle(path: Path) -> None:
    """Overwrite a stretch in the middle: a damage that opening a file, and reading its end, does not show."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1500] = bytes(1500)
    path.write_bytes(data)


@pytest.mark.parametrize("runner", [pytest.param("inprocess", marks=pytest.mark.slow), "local"])
def test_an_image_with_a_damaged_part_names_file_scene_and_window_and_leaves_no_half_chips(
    rv: Any, tiny_data: Path, root: Path, runner: str
) -> None:
    if runner == "local":
        pytest.importorskip("rv_runner_local.hooks")
    whole = (tiny_data / "train-2.tif").read_bytes()
    spoil_the_middle(tiny_data / "train-2.tif")
    words = ["run", runner, *settings(tiny_data, root), "chip"]
    # The look at the values of all scenes meets it before anything starts, in an image as small as this.
    early = rv(words)
    assert early.returncode == 2
    assert "pixels of scene 'train-2' cannot be read" in early.stderr
    words += ["--set", "predict.on_drift=ignore"]

    done = rv(words, "--keep-going")

    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "pixels of scene 'train-2' cannot be read" in said
    assert f"where: {tiny_data}/train-2.tif, rows " in said
    assert "columns 0 to 63" in said
    assert "Traceback" not in said
    assert {path.name.split(".")[0] for path in (root / ".rv/done/chip").iterdir()} <= {"train-1", "validation-3"}
    assert [path.name for path in root.rglob("*") if "train-2" in path.name or path.name.endswith(".tmp")] == []

    (tiny_data / "train-2.tif").write_bytes(whole)
    again = rv(words)
    assert again.returncode == 0, again.stderr
    assert (root / "chip" / "train-2.npy").exists()
    assert " 3 of 3 items" not in again.stdout


def test_a_disk_that_fills_up_while_chipping_leaves_whole_files_only(tiny_data: Path, tmp_path: Path) -> None:
    import numpy as np

    words = " ".join(settings(tiny_data, Path("$disk/root")))
    done = run_on_disk(
        tmp_path,
        "size=120k",
        f"""
rv run inprocess {words} chip; echo "first: $?"
cp -r "$disk/root" "{tmp_path}/copy"
mount -o remount,size=10m "$disk"
rv run inprocess {words} chip >/dev/null; echo "second: $?"
""",
    )
    said = done.stdout + done.stderr
    assert "first: 1" in said
    assert "the disk is full: " in said
    assert "Traceback" not in said
    assert "second: 0" in said
    copy = tmp_path / "copy"
    assert [path.name for path in copy.rglob("*.tmp")] == []
    for path in copy.glob("chip/*.npy"):
        assert np.load(path, allow_pickle=False).size
    for manifest in copy.glob(".rv/done/chip/*.json"):
        for output in json.loads(manifest.read_text())["outputs"]:
            assert (copy / output["path"]).stat().st_size == output["bytes"]


# --- bundles ----------------------------------------------------------------------------------------------------------


class Pickled:
    """Makes a file when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.flag),))


def rezip(bundle: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The bundle with its members changed, and with checksums that fit again."""
    import hashlib

    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    described = json.loads(members["bundle.json"])
    for name, entry in described["members"].items():
        entry |= {"bytes": len(members[name]), "sha256": hashlib.sha256(members[name]).hexdigest()}
    members["bundle.json"] = json.dumps(described).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def plain_pickle(bundle: Path, target: Path, flag: Path) -> None:
    target.write_bytes(pickle.dumps(Pickled(flag)))


def pickled_weights(bundle: Path, target: Path, flag: Path) -> None:
    rezip(bundle, target, lambda members: members.update({"model.safetensors": pickle.dumps(Pickled(flag))}))


def torch_zip(bundle: Path, target: Path, flag: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Pickled(flag)))


def added_script(bundle: Path, target: Path, flag: Path) -> None:
    rezip(bundle, target, lambda members: members.update({"sitecustomize.py": b"import os"}))


def escaping_name(bundle: Path, target: Path, flag: Path) -> None:
    rezip(bundle, target, lambda members: members.update({"../../escaped": b"x"}))


def absolute_name(bundle: Path, target: Path, flag: Path) -> None:
    rezip(bundle, target, lambda members: members.update({str(flag): b"x"}))


def link(bundle: Path, target: Path, flag: Path) -> None:
    target.write_bytes(bundle.read_bytes())
    entry = zipfile.ZipInfo("passwords")
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(entry, "/etc/passwd")


def bomb(bundle: Path, target: Path, flag: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bundle.json", b"0" * 50_000_000)


def many_files(bundle: Path, target: Path, flag: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for index in range(2000):
            archive.writestr(f"f{index}", b"")


def cut_short(bundle: Path, target: Path, flag: Path) -> None:
    target.write_bytes(bundle.read_bytes())
    scenes.cut_in_half(target)


def flipped_byte(bundle: Path, target: Path, flag: Path) -> None:
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 0xFF
    target.write_bytes(data)


def impossible_contract(bundle: Path, target: Path, flag: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        described = json.loads(members["bundle.json"])
        described["contract"]["backbone"] = "../../x"
        described["contract"]["chip_size_px"] = -5
        members["bundle.json"] = json.dumps(described).encode()

    rezip(bundle, target, change)


HOSTILE = {
    "a pickle": (plain_pickle, "it may run code when it is opened"),
    "a zip of torch.save": (torch_zip, "it may run code when it is opened"),
    "weights that are a pickle": (pickled_weights, ""),
    "a script beside the weights": (added_script, "it holds 'sitecustomize.py'"),
    "a name that leaves the folder": (escaping_name, "'../../escaped'"),
    "an absolute name": (absolute_name, "absolute name"),
    "a link": (link, "is a link"),
    "a bomb": (bomb, "times its size"),
    "too many files": (many_files, "above the limit"),
    "half a zip": (cut_short, ""),
    "a flipped byte": (flipped_byte, ""),
    "a contract that no model has": (impossible_contract, "no model description of rv"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_broken_bundle_is_refused_and_nothing_of_it_runs(
    rv: Any, tiny_run: TinyRun, tmp_path: Path, case: str
) -> None:
    make, expected = HOSTILE[case]
    flag = tmp_path / "flag"
    make(tiny_run.root / "bundle" / "model-bundle.zip", tmp_path / "bundle.zip", flag)

    done = rv("predict", tmp_path / "bundle.zip", tiny_run.data / "test-4.tif", "-o", tmp_path / "out")

    block = block_of(done, 1)
    assert "bundle.zip" in block
    assert expected in block
    assert not flag.exists()
    assert not list((tmp_path / "out").glob("*"))
    assert not list(tmp_path.parent.glob("escaped"))


def test_an_image_that_does_not_fit_the_bundle_is_refused_and_the_others_are_predicted(
    rv: Any, tiny_run: TinyRun, tmp_path: Path
) -> None:
    import numpy as np

    scenes.write_image(tmp_path / "two-bands.tif", np.ones((32, 32, 2), np.uint8))
    (tmp_path / "text.tif").write_text("no raster")
    bundle = tiny_run.root / "bundle" / "model-bundle.zip"
    images = [tmp_path / "two-bands.tif", tmp_path / "text.tif", tmp_path / "none.tif", tiny_run.data / "test-4.tif"]

    done = rv("predict", bundle, images, "-o", tmp_path / "out")

    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    for name in ("two-bands.tif", "text.tif", "none.tif"):
        assert name in done.stderr
