"""`rv run --reuse` with roots in S3: the service copies, and every digest is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.cli.app import main
from rv_core.files import asking, by_uri
from rv_core.plan.manifests import Manifest

pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3


def taken_from(root: str) -> dict[str, str]:
    folder = f"{root}/.rv/done"
    texts = by_uri.read_many([f"{folder}/{name}" for name in by_uri.list_files(folder)])
    return {m.item: m.taken_from for m in map(Manifest.from_text, texts.values())}


def test_the_service_copies_within_a_bucket_and_no_more_than_it_takes_at_once(
    s3_root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_uri.write_bytes(f"{s3_root}/a", b"12345")
    store = asking.store_for(s3_root)
    assert store.copy(f"{s3_root}/a", f"{s3_root}/sub/b c")
    assert by_uri.read_bytes(f"{s3_root}/sub/b c") == b"12345"
    monkeypatch.setattr(type(store), "max_copy_bytes", 4)
    assert not store.copy(f"{s3_root}/a", f"{s3_root}/d")
    assert not by_uri.exists(f"{s3_root}/d")


def test_what_another_root_has_done_is_copied_by_the_service_unless_it_is_damaged(
    s3_root: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "inprocess", "rv_core.hello", "-a", "num_items=2", "-a"]
    first, second = f"{s3_root}/1", f"{s3_root}/2"
    assert main([*words, f"root_uri={first}"]) == 0
    data = by_uri.read_bytes(f"{first}/cpu_task/item-1.txt")
    by_uri.write_bytes(f"{first}/cpu_task/item-1.txt", data[:-2] + b"?\n")
    monkeypatch.setattr(type(asking.store_for(first)), "upload", None)  # the service copies what it has
    assert main([*words, f"root_uri={second}", "--reuse", first]) == 0
    assert "item-1.txt has other bytes than recorded" in capsys.readouterr().out
    assert taken_from(second) == {"item-0": first, "item-1": "", "all": first}


@pytest.mark.slow
def test_a_root_here_takes_from_the_store_and_the_other_way_round(tmp_path: Path, s3_root: str) -> None:
    words = ["run", "inprocess", "rv_core.hello", "-a", "num_items=2", "-a"]
    far, here, back = f"{s3_root}/far", str(tmp_path / "here"), f"{s3_root}/back"
    assert main([*words, f"root_uri={far}"]) == 0
    assert main([*words, f"root_uri={here}", "--reuse", far]) == 0
    assert set(taken_from(here).values()) == {far}
    assert main([*words, f"root_uri={back}", "--reuse", here]) == 0
    assert set(taken_from(back).values()) == {here}
    for root in (here, back):
        assert main(["status", root, "--verify"]) == 0
