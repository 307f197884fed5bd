"""Scenes from a file of STAC items: what they are is taken into the config, and no run asks a catalogue."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from rv_core.errors import ConfigError, Finding
from rv_core.files import by_uri, uris
from rv_pipeline_chip_classification.catalogs.rows import beside
from rv_pipeline_chip_classification.config import RasterConfig, RasterSourceConfig, RasterStackConfig, SceneConfig
from rv_pipeline_chip_classification.vectors.files import library

_MAX_BYTES = 256 * 1024**2
_MAX_FINDINGS = 20
_MAX_ITEMS = 100_000
_NO_ID = re.compile(r"[^A-Za-z0-9._-]+")


def scenes_from_stac(
    items: str,
    assets: Mapping[str, str],
    *,
    grid: str | None = None,
    resampling: Literal["nearest", "bilinear", "cubic"] = "bilinear",
) -> list[SceneConfig]:
    """A scene per item of an item collection, in the order of the file; without labels, which `dataclasses.replace` gives.

    The config holds the ids of the items, the addresses of their assets and their versions (`SceneConfig.version`: the
    item's `version` or `updated`, and the checksums of the assets): an item that is replaced in the file makes its own
    scene anew, and a run asks no catalogue. What pystac-client or `stac-client search` saves is such a file.

    Args:
        items: an ItemCollection (a FeatureCollection of items) or one item, as JSON; or STAC-GeoParquet (`.parquet`).
        assets: name of a channel -> key of the asset, in the order that the model sees; one asset may have several bands.
        grid: the channel on whose pixels the scene lies; None is the first.
        resampling: as of `RasterStackConfig`.

    Raises:
        ConfigError: with all items that lack an asset, or where there is no item.
    """
    if not assets or (grid is not None and grid not in assets):
        what = "no asset is named" if not assets else f"there is no channel {grid!r}"
        raise ConfigError(what, where="assets", fix='write for instance assets={"red": "B04", "nir": "B08"}')
    file = uris.absolute(items, os.getcwd()) if uris.is_relative(items) else items
    scenes, findings, taken = [], list[Finding](), set[str]()
    for number, item in enumerate(_items_of(file)):
        try:
            scene_id = _scene_id(item, taken)
            sources = [_source(item, name, key, file) for name, key in assets.items()]
            raster: RasterConfig = sources[0]
            if len(sources) > 1:
                place = list(assets).index(grid) if grid is not None else 0
                raster = RasterStackConfig(sources=sources, grid=place, resampling=resampling)
            scenes.append(SceneConfig(id=scene_id, raster=raster, version=_version(item, list(assets.values()))))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            named = str(item.get("id", ""))[:100] if isinstance(item, dict) else ""
            findings.append(Finding(f"item {number} {named!r}", str(err)))
    if findings:
        raise ConfigError("items cannot be used as scenes", where=file, findings=findings[:_MAX_FINDINGS])
    return scenes


def _items_of(file: str) -> list[Any]:
    if uris.name_of(file).lower().endswith((".parquet", ".geoparquet")):
        if of_rows := _items_of_parquet(file):
            return of_rows
        raise _no_item(file)
    info = by_uri.stat(file)
    if info is not None and info.size > _MAX_BYTES:
        raise _refused(file, f"it has {info.size:,} bytes; at most {_MAX_BYTES:,} are read")
    try:
        document = json.loads(by_uri.read_bytes(file))
    except (ValueError, RecursionError) as err:
        raise _refused(file, f"it is no JSON: {str(err)[:200]}") from err
    kind = document.get("type") if isinstance(document, dict) else None
    items = document.get("features") if kind == "FeatureCollection" else [document] if kind == "Feature" else None
    if not isinstance(items, list):
        raise _refused(file, f"its type is {str(kind)[:50]!r}")
    if not items:
        raise _no_item(file)
    return items


def _items_of_parquet(file: str) -> list[Any]:
    """The items of STAC-GeoParquet 1.0, where properties are columns, as JSON has them."""
    kind = "STAC-GeoParquet"
    parquet, arrow = (library(name, where=file, kind=kind) for name in ("pyarrow.parquet", "pyarrow"))
    try:
        with parquet.ParquetFile(str(by_uri.local_copy(file))) as opened:
            if opened.metadata.num_rows > _MAX_ITEMS:
                raise _refused(file, f"it has more than {_MAX_ITEMS:,} rows")
            there = set(opened.schema_arrow.names)
            if not {"id", "assets"} <= there:
                raise _refused(file, "it has no columns id and assets")
            rows = opened.read(columns=sorted({"id", "assets", "version", "updated"} & there)).to_pylist()
    except (arrow.ArrowException, OSError) as err:
        raise _refused(file, str(err)[:300]) from err
    return [_item_of_row(row) for row in rows]


def _item_of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    updated = row.get("updated")
    if isinstance(updated, datetime):
        updated = updated.isoformat().replace("+00:00", "Z")
    assets = row["assets"] if isinstance(row["assets"], dict) else {}
    # A column holds the assets of all items: those that an item lacks are null.
    there = {key: asset for key, asset in assets.items() if asset is not None}
    properties = {"version": row.get("version"), "updated": updated}
    return {"type": "Feature", "id": row["id"], "properties": properties, "assets": there}


def _no_item(file: str) -> ConfigError:
    return ConfigError("there is no item", where=file, fix="search for another time or place")


def _scene_id(item: Any, taken: set[str]) -> str:
    text = item.get("id") if isinstance(item, dict) and item.get("type") == "Feature" else None
    if not isinstance(text, str) or not (scene_id := _NO_ID.sub("-", text).lstrip("._-")[:100]):
        raise ValueError("it is no item with an id")
    if scene_id.casefold() in taken:
        raise ValueError(f"its id gives the scene id {scene_id!r}, as that of another item does")
    taken.add(scene_id.casefold())
    return scene_id


def _source(item: Mapping[str, Any], name: str, key: str, file: str) -> RasterSourceConfig:
    there = item.get("assets")
    asset = there.get(key) if isinstance(there, dict) else None
    href = asset.get("href") if isinstance(asset, dict) else None
    if not isinstance(href, str) or not href:
        known = ", ".join(list(there)[:_MAX_FINDINGS]) if isinstance(there, dict) else ""
        raise ValueError(f"it has no asset {key!r} with an address; its assets are {known[:300] or 'none'}")
    return RasterSourceConfig(uris=[beside(file, href)], name=name)


def _version(item: Mapping[str, Any], keys: list[str]) -> str:
    """What changes when an item or one of its assets is replaced, as far as the catalogue says."""
    properties = item.get("properties")
    its = properties if isinstance(properties, dict) else {}
    sums = (item["assets"][key].get("file:checksum") for key in keys)
    parts = [its.get("version"), its.get("updated"), *sums]
    return " ".join(part[:200] for part in parts if isinstance(part, str))


def _refused(file: str, why: str) -> ConfigError:
    fix = "give an ItemCollection as JSON, as pystac-client saves it"
    return ConfigError("this is no file of STAC items", where=file, why=why, fix=fix)
