"""A search of a STAC API: a real server on loopback that pages, asked once; and items that come as Parquet."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.stac_api import StacApi

from rv_core.errors import ConfigError
from rv_pipeline_chip_classification import scenes_from_stac, search_stac


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StacApi]:
    server = StacApi(tmp_path)
    yield server
    server.close()


@pytest.mark.parametrize("is_post", [True, False])
def test_a_search_is_asked_once_and_read_from_its_file_then(
    api: StacApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_post: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    api.is_post = is_post
    search = {"collections": ["c0", "c1"]}
    file = search_stac(api.url, search, saved="items.json")
    assert file == str(tmp_path / "items.json") and api.requests == 4
    scenes = scenes_from_stac(file, {"red": "B04"})
    assert [scene.id for scene in scenes] == [f"S2_{number}" for number in range(8)]
    assert scenes[3].version == "2024-05-01T00:00:00Z" and scenes[3].raster.uris == [str(tmp_path / "3.tif")]
    api.items[2]["properties"]["updated"] = "2024-06-01T00:00:00Z"
    monkeypatch.setenv("RV_OFFLINE", "1")
    assert scenes_from_stac(search_stac(api.url, search, saved="items.json"), {"red": "B04"}) == scenes
    assert api.requests == 4
    with pytest.raises(ConfigError, match="RV_OFFLINE"):
        search_stac(api.url, {"collections": ["c1"]}, saved="items.json")
    monkeypatch.delenv("RV_OFFLINE")
    Path(file).unlink()
    found = scenes_from_stac(search_stac(api.url, search, saved="items.json"), {"red": "B04"})
    assert [one.id for one, other in zip(found, scenes, strict=True) if one != other] == ["S2_2"]
    other = search_stac(api.url, {"collections": ["c1"]}, saved="items.json")
    assert [scene.id for scene in scenes_from_stac(other, {"red": "B04"})] == ["S2_1", "S2_3", "S2_5", "S2_7"]


def test_assets_that_lie_beside_their_item_keep_their_place(api: StacApi, tmp_path: Path) -> None:
    api.items[1]["assets"]["B04"]["href"] = "../b/4.tif"
    api.items[1]["links"] = [{"rel": "self", "href": "https://example.org/items/one/item.json"}]
    api.items[3]["assets"]["B04"]["href"] = "4.tif"
    api.items[3].pop("links", None)
    saved = search_stac(api.url, {"collections": ["c1"]}, saved=str(tmp_path / "items.json"))
    first, second, *_ = scenes_from_stac(saved, {"red": "B04"})
    assert first.raster.uris == ["https://example.org/items/b/4.tif"]
    assert second.raster.uris == [f"{api.url}4.tif"]


def test_an_answer_that_cannot_be_used_is_one_error(
    api: StacApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = str(tmp_path / "items.json")
    with pytest.raises(ConfigError, match="found no item"):
        search_stac(api.url, {"collections": ["c7"]}, saved=saved)
    with pytest.raises(ConfigError, match="more than 5 items"):
        search_stac(api.url, {}, saved=saved, max_items=5)
    with pytest.raises(ConfigError, match="no search"):
        search_stac(f"{api.url}search?limit=1&collections=c0", {}, saved=saved)
    api.failures = [400]
    with pytest.raises(ConfigError, match="answers 400"):
        search_stac(api.url, {}, saved=saved)
    api.failures, api.next_host = [503], "http://127.0.0.2/"
    with pytest.raises(ConfigError, match="another server"):
        search_stac(api.url, {}, saved=saved)
    with pytest.raises(ConfigError, match="secret in its query"):
        search_stac(f"{api.url}?token=abcdefgh", {}, saved=saved)
    monkeypatch.setenv("RV_RETRY_S", "0")
    with pytest.raises(ConfigError, match="cannot be reached"):
        search_stac("http://127.0.0.1:9/", {}, saved=saved)
    assert not Path(saved).exists()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"junk\r\n\r\n", "cannot be reached: junk"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 200_000, "no JSON"),
        *(
            (b'HTTP/1.1 200 OK\r\n\r\n{"links":[{"rel":"search","href":"%s"}]}' % href, "no address of a server")
            for href in (b"http://[bad", b"file:///items.json")
        ),
    ],
)
def test_what_is_no_http_or_nests_without_end_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str
) -> None:
    monkeypatch.setenv("RV_RETRY_S", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConfigError, match=why):
            search_stac(f"http://127.0.0.1:{server.getsockname()[1]}/", {}, saved=str(tmp_path / "items.json"))
        thread.join()


def test_items_come_as_parquet_too(api: StacApi, tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from datetime import UTC, datetime

    rows = [
        {"id": item["id"], "assets": item["assets"], "updated": datetime(2024, 5, 1, tzinfo=UTC)} for item in api.items
    ]
    rows[1]["assets"] = {"B05": {"href": "b5.tif"}}
    path = str(tmp_path / "items.parquet")
    parquet.write_table(arrow.Table.from_pylist(rows[:1] + rows[2:]), path)
    saved = search_stac(api.url, {}, saved=str(tmp_path / "items.json"))
    of_json = scenes_from_stac(saved, {"red": "B04"})
    assert scenes_from_stac(path, {"red": "B04"}) == of_json[:1] + of_json[2:]
    schema = arrow.schema(
        [
            ("id", arrow.string()),
            ("assets", arrow.struct([(key, arrow.struct([("href", arrow.string())])) for key in ("B04", "B05")])),
        ]
    )
    parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), path)
    with pytest.raises(ConfigError, match="its assets are B05"):
        scenes_from_stac(path, {"red": "B04"})
    parquet.write_table(arrow.table({"x": [1]}), path)
    with pytest.raises(ConfigError, match="no columns id and assets"):
        scenes_from_stac(path, {"red": "B04"})
    parquet.write_table(arrow.Table.from_pylist([], schema=schema), path)
    with pytest.raises(ConfigError, match="there is no item"):
        scenes_from_stac(path, {"red": "B04"})
