from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core.files import by_uri
from rv_core.files.storage import FileOutput, Storage
from rv_core.plan.manifests import Manifest, done_names, item_file_name, manifest_name, output_json, read_done
from rv_core.status.verification import verify


def manifest(
    item: str = "a", key: str = "0123456789abcdef", size: int = 3, ended: str = "2026-01-01T00:00:00Z"
) -> Manifest:
    output = {"path": f"copy/{item}.txt", "bytes": size, "sha256": "00"}
    return Manifest("copy", item, key, (output,), parts={"version": 1}, timings={"ended": ended}, counts={"n": 2})


def put(root: Path, entry: Manifest) -> None:
    by_uri.write_bytes(f"{root}/{entry.name}", entry.to_text().encode())


@given(st.text(min_size=1, max_size=150), st.text(min_size=1, max_size=150))
def test_every_item_id_has_a_file_name_of_its_own(a: str, b: str) -> None:
    name = item_file_name(a)
    assert "/" not in name and not name.startswith(".") and len(name) <= 120 and name.isascii()
    assert (name == item_file_name(b)) == (a == b)


def test_a_plain_id_is_its_own_file_name() -> None:
    assert manifest_name("chip", "zion_r0c1", "k") == ".rv/done/chip/zion_r0c1.k.json"


def test_a_manifest_comes_back_as_it_was_written() -> None:
    assert Manifest.from_text(manifest().to_text()) == manifest()


def test_an_item_is_done_when_manifest_and_outputs_are_there(tmp_path: Path) -> None:
    put(tmp_path, manifest())
    assert read_done(str(tmp_path), ["copy"]).problem("copy", "a", "0123456789abcdef") == "copy/a.txt is missing"
    by_uri.write_bytes(f"{tmp_path}/copy/a.txt", b"abc")
    state = read_done(str(tmp_path), ["copy"])
    assert state.problem("copy", "a", "0123456789abcdef") is None
    assert state.problem("copy", "a", "another key") == "not done yet"
    assert state.problem("copy", "b", "0123456789abcdef") == "not done yet"
    by_uri.write_bytes(f"{tmp_path}/copy/a.txt", b"abcd")
    assert "has 4 bytes instead of 3" in str(
        read_done(str(tmp_path), ["copy"]).problem("copy", "a", "0123456789abcdef")
    )


def test_a_damaged_manifest_counts_as_none(tmp_path: Path) -> None:
    put(tmp_path, manifest())
    (tmp_path / manifest().name).write_text("{ not json")
    (tmp_path / ".rv/done/copy/b.k.json").write_text('{"format": 99}')
    assert read_done(str(tmp_path), ["copy"]).manifests == {}


WHOLE: dict[str, Any] = json.loads(manifest().to_text())
OUTPUT = WHOLE["outputs"][0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        (manifest().to_text()[:40], "it is no JSON"),
        ("[]", "it is a list instead of an object"),
        ("[" * 100_000, "nested more than 100 deep"),
        (json.dumps({**WHOLE, "outputs": [{}]}), r"outputs[0].path is missing"),
        (json.dumps({**WHOLE, "outputs": [{**OUTPUT, "path": 5}]}), "outputs[0].path is a whole number instead of"),
        (json.dumps({**WHOLE, "outputs": [{**OUTPUT, "bytes": -1}]}), "outputs[0].bytes is not a whole number"),
        (
            json.dumps({**WHOLE, "outputs": [{**OUTPUT, "path": "../x"}]}),
            "outputs[0].path is not a path below the root",
        ),
        (json.dumps({**WHOLE, "outputs": [{**OUTPUT, "path": "/etc/x"}]}), "outputs[0].path is not a path below"),
        (json.dumps({**WHOLE, "command": None}), "command is null instead of text"),
        (json.dumps({**WHOLE, "parts": {"inputs": []}}), "parts.inputs is a list instead of an object"),
        (json.dumps({**WHOLE, "key": "f" * 16}), "it is that of another item, command or key"),
    ],
)
def test_a_manifest_of_another_shape_is_no_evidence_and_the_plan_says_so(tmp_path: Path, text: str, said: str) -> None:
    by_uri.write_bytes(f"{tmp_path}/copy/a.txt", b"abc")
    by_uri.write_bytes(f"{tmp_path}/{manifest().name}", text.encode())
    state = read_done(str(tmp_path), ["copy"])
    problem = str(state.problem("copy", "a", "0123456789abcdef"))
    assert state.manifests == {}
    assert problem.startswith("its manifest is damaged: ") and said in problem


def test_an_output_that_others_write_into_counts_while_it_is_there(tmp_path: Path) -> None:
    written: list[FileOutput] = []
    storage = Storage(str(tmp_path), on_written=lambda _, output: written.append(output))
    storage.write_text("copy/a.txt", "abc")
    storage.write_text("copy/a.aux.xml", "<a/>", may_change=True)
    outputs = tuple(map(output_json, written))
    assert outputs[0].keys() == {"path", "bytes", "sha256"}, "as ever"
    put(tmp_path, manifest()._replace(outputs=outputs))
    (tmp_path / "copy" / "a.aux.xml").write_text("<a><statistics/></a>")
    key = "0123456789abcdef"
    assert read_done(str(tmp_path), ["copy"]).problem("copy", "a", key) is None
    assert [c.problem for c in verify(str(tmp_path))] == ["", ""]
    (tmp_path / "copy" / "a.aux.xml").unlink()
    assert read_done(str(tmp_path), ["copy"]).problem("copy", "a", key) == "copy/a.aux.xml is missing"


def test_the_newest_manifest_explains_a_change(tmp_path: Path) -> None:
    put(tmp_path, manifest(key="1" * 16, ended="2026-01-01T00:00:00Z"))
    newer = manifest(key="2" * 16, ended="2026-01-02T00:00:00Z")
    put(tmp_path, newer._replace(parts={"version": 2}))
    assert read_done(str(tmp_path), ["copy"]).last_parts("copy", "a") == {"version": 2}


def test_done_names_are_one_listing_of_a_command(tmp_path: Path) -> None:
    put(tmp_path, manifest())
    assert done_names(str(tmp_path), "copy") == {"a.0123456789abcdef.json"}
    assert done_names(str(tmp_path), "other") == set()
