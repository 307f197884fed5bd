"""Where weights are kept: fetched once and checked, from a real server on loopback, and needed from nowhere after."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core.errors import ConfigError, DataError, StorageError
from rv_pipeline_chip_classification.pretrained.card import WeightCard, parse_card
from rv_pipeline_chip_classification.pretrained.store import add_card, added_names, fetch, find_card, is_here

from .weight_files import as_json, card_of

if TYPE_CHECKING:
    from tests.file_servers import WebServer

pytest_plugins = ("tests.file_servers",)

DATA = b"weights " * 50_000


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RV_RETRY_S", "1")


@pytest.fixture
def served(web_server: WebServer) -> WebServer:
    web_server.files = {"/small.json": as_json(card_of(DATA)), "/small.safetensors": DATA}
    return web_server


def card_on(server: WebServer, **changes: object) -> WeightCard:
    return parse_card(as_json(card_of(DATA, **changes)), where=f"{server.url}/small.json")


def test_weights_are_fetched_once_and_offline_afterwards(served: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"{served.url}/small.json"
    card = find_card(uri)
    assert not is_here(card)
    assert fetch(card).read_bytes() == DATA
    assert [path for method, path in served.requests if method == "GET"] == ["/small.json", "/small.safetensors"]
    served.requests.clear()
    assert fetch(card).read_bytes() == DATA
    assert served.requests == []
    monkeypatch.setenv("RV_OFFLINE", "1")
    assert find_card(uri) == card and is_here(card)
    assert fetch(find_card(uri)).read_bytes() == DATA
    assert served.requests == []


def test_a_server_that_is_gone_is_no_matter_once_the_weights_are_here(
    served: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"{served.url}/small.json"
    fetch(find_card(uri))
    served.failures = [503] * 20
    assert fetch(find_card(uri)).read_bytes() == DATA
    assert "its last text is taken" in caplog.text
    with pytest.raises(StorageError):
        find_card(f"{served.url}/never-seen.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sha256": "0" * 64}, "the SHA-256 is"),
        ({"sha256": None, "sha256_prefix": "0" * 8}, "the SHA-256 is"),
        ({"size": 5}, "the card says 5"),
    ],
)
def test_another_file_than_the_card_says_is_refused_and_not_kept(
    served: WebServer, changes: dict[str, object], words: str
) -> None:
    card = card_on(served, **changes)
    for _ in range(2):
        with pytest.raises(DataError, match="not those of their card") as raised:
            fetch(card)
        assert words in raised.value.block.why
    assert not is_here(card)


def test_the_first_digits_are_enough_where_no_more_are_known(served: WebServer) -> None:
    digits = hashlib.sha256(DATA).hexdigest()
    card = card_on(served, sha256=None, sha256_prefix=digits[:8])
    path = fetch(card)
    assert path.read_bytes() == DATA
    # A card of another file with these digits must not stand for it.
    other = card_on(served, sha256=None, sha256_prefix=digits[:8], file="other.safetensors")
    assert not is_here(other) and is_here(card)


def test_a_download_that_is_cut_off_leaves_nothing(served: WebServer, tmp_path: Path) -> None:
    card = card_on(served)
    served.failures = [200, *["cut"] * 30]
    with pytest.raises(StorageError):
        fetch(card)
    assert not is_here(card)
    assert [
        path for path in (tmp_path / "cache" / "weights").rglob("*") if path.is_file() and path.stat().st_size
    ] == []
    served.failures = []
    assert fetch(card).read_bytes() == DATA


def test_of_two_processes_at_once_one_fetches_also_where_the_server_marks_nothing(
    served: WebServer, tmp_path: Path
) -> None:
    served.has_etag = served.has_last_modified = False
    code = (
        "import sys; from rv_pipeline_chip_classification.pretrained.store import fetch, find_card; "
        "print(len(fetch(find_card(sys.argv[1])).read_bytes()))"
    )
    words = [sys.executable, "-c", code, f"{served.url}/small.json"]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in started] == [str(len(DATA))] * 2
    assert served.requests.count(("GET", "/small.safetensors")) == 1


def test_a_card_that_was_taken_in_is_known_by_its_name(served: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no card of weights named 'small'"):
        find_card("small")
    card = add_card(f"{served.url}/small.json")
    assert added_names() == ["small"]
    monkeypatch.setenv("RV_OFFLINE", "1")
    assert find_card("small") == card
    assert fetch(find_card("small")).read_bytes() == DATA


def test_no_card_takes_the_name_of_one_that_comes_with_the_package(served: WebServer) -> None:
    served.files["/evil.json"] = as_json(card_of(DATA, name="resnet18-imagenet1k-v1"))
    with pytest.raises(DataError, match="comes with rv"):
        add_card(f"{served.url}/evil.json")
    assert added_names() == []


def test_a_card_and_weights_of_this_machine_are_used_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "small.json").write_bytes(as_json(card_of(DATA)))
    (tmp_path / "small.safetensors").write_bytes(DATA)
    card = find_card(str(tmp_path / "small.json"))
    assert fetch(card) == tmp_path / "small.safetensors"
    (tmp_path / "small.safetensors").write_bytes(DATA[:-1] + b"!")
    with pytest.raises(DataError, match="not those of their card"):
        fetch(card)
