"""A `scenes.csv` – scene_id, image, labels, split – and what its files say: where scenes lie, and what they hold."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rv_core.errors import DataError, Finding, RvError, UsageError
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.config import RasterSourceConfig
from rv_pipeline_chip_classification.file_boundary import file_boundary
from rv_pipeline_chip_classification.ground.footprints import Footprint, area_m2, footprint_of
from rv_pipeline_chip_classification.scenes.scene_raster import SceneRaster
from rv_pipeline_chip_classification.verbs.splitting.class_areas import class_areas_px

_NEEDED = ("scene_id", "image")
_SHOWN_PROBLEMS = 20


@dataclass(frozen=True)
class SceneTable:
    """The rows of a scenes.csv.

    Args:
        path: the file.
        columns: its columns, in order.
        rows: column -> text.
        class_names: class value -> name, from a `classes.json` beside it; None without one.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    class_names: dict[int, str] | None

    def uri_of(self, text: str) -> str:
        """A file that a row names, from the folder of the table on."""
        return uris.absolute(text, str(self.path.parent))


@dataclass(frozen=True)
class SceneFacts:
    """What the files of a scene say.

    Args:
        footprint: where it lies.
        areas_m2: class -> square metres; all of it as one class if it has no labels.
    """

    footprint: Footprint
    areas_m2: dict[str, float]


def read_scene_table(path: Path) -> SceneTable:
    """Read a scenes.csv.

    Raises:
        UsageError: if it cannot be read, or is no table of scenes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError("the table of scenes cannot be read", where=str(path), why=str(err)) from err
    reader = csv.DictReader(io.StringIO(text), restkey="", restval="")
    try:
        rows = tuple({key: (value or "").strip() for key, value in row.items() if key} for row in reader)
    except csv.Error as err:
        raise UsageError("this is no table of scenes", where=str(path), why=str(err)) from err
    columns = tuple(reader.fieldnames or ())
    missing = [name for name in _NEEDED if name not in columns]
    if missing or not rows:
        why = f"it has no column {' or '.join(missing)}" if missing else "it has no row"
        fix = "write scene_id,image,labels and a row per scene; files are named from its folder on"
        raise UsageError("this is no table of scenes", where=str(path), why=why, fix=fix)
    _check_rows(path, rows)
    return SceneTable(path.absolute(), columns, rows, _class_names(path.parent / "classes.json"))


def _check_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    seen: set[str] = set()
    findings = []
    for number, row in enumerate(rows, 2):
        if not row["scene_id"] or not row["image"]:
            findings.append(Finding(f"row {number}", "it has no scene_id or no image"))
        elif row["scene_id"] in seen:
            findings.append(Finding(f"row {number}", f"scene_id {row['scene_id']!r} is there already"))
        seen.add(row["scene_id"])
    if findings:
        raise UsageError("rows of the table are wrong", where=str(path), findings=findings[:_SHOWN_PROBLEMS])


def _class_names(path: Path) -> dict[int, str] | None:
    if not path.exists():
        return None
    try:
        classes = json.loads(by_uri.read_text(str(path)))["classes"]
        return {int(entry["id"]): str(entry["name"]) for entry in classes}
    except (RvError, ValueError, KeyError, TypeError, OverflowError) as err:
        fix = "it needs {'classes': [{id, name}]}; remove it to count every value"
        raise UsageError("classes.json cannot be used", where=str(path), why=str(err), fix=fix) from err


def look_at_scenes(table: SceneTable) -> list[SceneFacts]:
    """Open the images' headers and the labels of all rows.

    Raises:
        DataError: with a finding for each scene that cannot be used, or has no place on Earth.
    """
    found, findings = [], []
    for row in table.rows:
        try:
            with file_boundary(f"scene {row['scene_id']!r} cannot be used", where=row["image"]):
                found.append(_look_at(table, row))
        except RvError as err:
            findings.append(err.as_finding(row["scene_id"]))
    if findings:
        what = f"{len(findings)} of {len(table.rows)} scenes cannot be used"
        raise DataError(what, where=str(table.path), findings=findings[:_SHOWN_PROBLEMS])
    return found


def _look_at(table: SceneTable, row: Mapping[str, str]) -> SceneFacts:
    with SceneRaster(RasterSourceConfig(uris=[table.uri_of(row["image"])]), row["scene_id"]) as raster:
        footprint = footprint_of(raster)
        if footprint is None:
            fix = "give it its CRS and transform, for instance with gdal_translate -a_srs -a_ullr"
            raise DataError("the image has no place on Earth", where=row["image"], fix=fix)
        whole_m2 = area_m2(footprint)
        labels = row.get("labels", "")
        if not labels:
            return SceneFacts(footprint, {"(no labels)": whole_m2})
        uri = table.uri_of(labels)
        areas = class_areas_px(uri, row["scene_id"], raster.grid, raster.extent, names=table.class_names)
        pixel_m2 = whole_m2 / (raster.extent.height * raster.extent.width)
        return SceneFacts(footprint, {name: pixels * pixel_m2 for name, pixels in areas.items()})


def write_scene_table(table: SceneTable, target: Path, subsets: Sequence[str]) -> None:
    """Write the table with a column `split`; files are still found from the new place.

    Args:
        table: the table.
        target: the file, which is replaced.
        subsets: of the rows; "" for one that is left out.
    """
    columns = [*table.columns, *(["split"] if "split" not in table.columns else [])]
    is_elsewhere = target.absolute().parent != table.path.parent
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row, subset in zip(table.rows, subsets, strict=True):
        places = {key: row.get(key, "") for key in ("image", "labels")} if is_elsewhere else {}
        moved = {key: _from(target, table.uri_of(value)) for key, value in places.items() if value}
        writer.writerow({**row, **moved, "split": subset})
    by_uri.write_bytes(str(target.absolute()), text.getvalue().encode())


def _from(target: Path, uri: str) -> str:
    """A file as it is named from the folder of a table; a remote one keeps its name."""
    return os.path.relpath(uris.local_path(uri), target.absolute().parent) if uris.is_local(uri) else uri
