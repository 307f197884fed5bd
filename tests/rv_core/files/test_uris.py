from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core.errors import ConfigError, StorageError
from rv_core.files import uris

NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="/"), min_size=1
).filter(lambda name: name not in (".", ".."))


@pytest.mark.parametrize("uri", ["/data/a.tif", "a.tif", "file:///data/a.tif", "x/y://z", "FILE:///a", ""])
def test_paths_and_file_uris_are_local(uri: str) -> None:
    assert uris.is_local(uri)


@pytest.mark.parametrize("uri", ["s3://b/k", "http://h/x", "memory://a", "HTTPS://h/x", "zip+s3://b/k!x"])
def test_other_schemes_are_remote(uri: str) -> None:
    assert not uris.is_local(uri)
    assert not uris.is_relative(uri)


def test_only_plain_paths_without_a_leading_slash_or_variable_are_relative() -> None:
    assert [uris.is_relative(uri) for uri in ("a/b", "./a", "~/a", "/a", "file:///a", "${DATA}/a")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_local_path_decodes_file_uris_and_leaves_paths_alone() -> None:
    assert uris.local_path("file:///data/a%20b.tif") == "/data/a b.tif"
    assert uris.local_path("file://localhost/data/a.tif") == "/data/a.tif"
    assert uris.local_path("/data/a%20b.tif") == "/data/a%20b.tif"


@pytest.mark.parametrize("uri", ["s3://b/k", "file://server/share/a", "file://"])
def test_local_path_refuses_what_is_elsewhere(uri: str) -> None:
    with pytest.raises(ValueError, match=r"local|this machine"):
        uris.local_path(uri)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a.tif", "/base/dir/a.tif"),
        ("../a.tif", "/base/a.tif"),
        ("./x/", "/base/dir/x"),
        ("//data//a", "/data/a"),
        ("file:///data/../a", "/a"),
        ("s3://b/k", "s3://b/k"),
        ("${DATA}/a.tif", "${DATA}/a.tif"),
        ("a/${NAME}.tif", "/base/dir/a/${NAME}.tif"),
        ("", ""),
        ("file://server/a", "file://server/a"),
    ],
)
def test_absolute_names_the_same_file_from_every_folder(uri: str, expected: str) -> None:
    assert uris.absolute(uri, "/base/dir") == expected


def test_absolute_knows_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert uris.absolute("~/data", "/base") == "/home/ada/data"


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/data", "/data/a/b"),
        ("/data/", "/data/a/b"),
        ("/", "/a/b"),
        ("s3://b", "s3://b/a/b"),
        ("s3://b/p/", "s3://b/p/a/b"),
        ("memory://", "memory://a/b"),
        ("file:///", "file:///a/b"),
    ],
)
def test_join_keeps_the_slashes_of_the_root(root: str, expected: str) -> None:
    assert uris.join(root, "a", "b") == expected


@given(NAMES, NAMES)
def test_what_is_joined_to_a_root_stays_below_it(first: str, second: str) -> None:
    joined = uris.join("/root", first, f"{first}/{second}")
    assert os.path.normpath(joined) == joined
    assert joined.startswith("/root/")


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "..", "a/../b", "../a", "a//b", "a/", "./a", "a\nb", "a\x00b", "a\x7f", "a\u2028b", "a\ud800"],
)
def test_names_that_could_leave_the_root_or_break_a_line_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match="refused name"):
        uris.check_relative_name(name)


@pytest.mark.parametrize("name", ["a", "a/b.json", "..a", "a..", "...", "ä b/c#1"])
def test_plain_relative_names_pass(name: str) -> None:
    assert uris.check_relative_name(name) == name


def test_name_of_leaves_query_and_fragment_out_of_remote_uris() -> None:
    assert uris.name_of("https://h/p/a.tif?version=2#x") == "a.tif"
    assert uris.name_of("/p/what?.tif") == "what?.tif"
    assert uris.name_of("s3://bucket/folder/") == "folder"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("zip:///d/a.zip!/x.tif", "/d/a.zip"),
        ("zip+https://h/a.zip!x.tif", "https://h/a.zip"),
        ("zip+s3://b/a.zip!x.tif", "s3://b/a.zip"),
        ("tar+file:///d/a.tar!x", "/d/a.tar"),
        ("https://h/a!b", "https://h/a!b"),
    ],
)
def test_a_file_in_an_archive_is_found_in_its_archive(uri: str, expected: str) -> None:
    assert uris.container_of(uri) == expected


def test_expand_fills_in_every_variable() -> None:
    environ = {"BUCKET": "s3://b", "YEAR_1": "2024"}
    assert uris.expand("${BUCKET}/${YEAR_1}/a-${YEAR_1}.tif", environ) == "s3://b/2024/a-2024.tif"
    assert uris.expand("/plain/$HOME", environ) == "/plain/$HOME"


def test_expand_reads_the_environment_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATA_ROOT", "/data")
    assert uris.expand("${TEST_DATA_ROOT}/a") == "/data/a"


def test_expand_names_all_variables_that_are_missing_or_empty() -> None:
    with pytest.raises(ConfigError, match="A_1, B_2 is not set") as raised:
        uris.expand("${B_2}/${A_1}/${C_3}", {"A_1": "", "C_3": "x"})
    assert raised.value.block.where == "${B_2}/${A_1}/${C_3}"


def test_expand_refuses_a_variable_that_makes_the_uri_relative() -> None:
    with pytest.raises(ConfigError, match="relative path"):
        uris.expand("${DATA}/a", {"DATA": "data"})


def test_conceal_puts_the_name_of_the_variable_back() -> None:
    environ = {"TOKEN": "s3cr3t!", "N": "7"}
    text = "GET https://h/a?token=s3cr3t! failed 7 times"
    assert uris.conceal(text, "https://h/a?token=${TOKEN}&n=${N}", environ) == (
        "GET https://h/a?token=${TOKEN} failed 7 times"
    )


@pytest.mark.parametrize(
    "uri",
    [
        "/data/a.tif",
        "./a:b.tif",
        "a.tif",
        "vsi-data/a.tif",
        "vsi.tif",
        "${DATA}/a.tif",
        "s3://bucket/key with space",
        "https://host:8443/a?version=2&bands=1",
        "http://[::1]:80/a",
        "https://host/@user/a",
        "https://${USER}:${PASSWORD}@host/a",
        "https://host/a?sig=${SIG}&se=2025",
        "abfs://container@account.dfs.core.windows.net/a",
        "file:///data/a.tif",
        "memory://root",
        "zip:///d/a.zip!/x.tif",
        "/data/what?token=1.tif",
    ],
)
def test_usual_uris_have_no_problem(uri: str) -> None:
    assert uris.problem_with(uri) is None


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "empty"),
        ("/a\nb", "control character"),
        ("s3://b/a\rb", "control character"),
        (" /a", "space"),
        ("/a/${1X}", "variable name"),
        ("/a/${", "variable name"),
        ("<VRTDataset/>", "inline GDAL"),
        ('{"type": "FeatureCollection"}', "inline GDAL"),
        ("/vsicurl/http://h/a.tif", "GDAL path"),
        ("/VSIS3/b/a.tif", "GDAL path"),
        ("vsis3/b/a.tif", "GDAL path"),
        ("vsizip:/a.zip/b", "GDAL path"),
        ("vsicurl?url=x", "GDAL path"),
        ("PG:host=h password=p", "connection string"),
        ("NETCDF:a.nc:v", "connection string"),
        ("vrt:///a.tif?bands=1", "connection string"),
        ("simplecache::s3://b/a", "chained"),
        ("file://server/a", "file:///"),
        ("s3:///a", "no bucket"),
    ],
)
def test_uris_that_are_not_plain_ones_are_refused(uri: str, words: str) -> None:
    problem = uris.problem_with(uri)
    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAKEY:TOPSECRET@bucket/a",
        "s3://AKIAKEY:TOP/SECRET@bucket/a",
        "s3://AKIAKEY:12345@bucket",
        "https://ada:TOPSECRET@host/a",
        "https://TOPSECRET@host/a",
        "https://ada:TOP/SECRET@host/a",
        "abfs://container:TOPSECRET@account/a",
        "https://${USER}:TOPSECRET@host/a",
        "https://b.s3.amazonaws.com/a?X-Amz-Signature=TOPSECRET&X-Amz-Date=1",
        "https://h/a?se=1&sig=TOPSECRET",
        "https://h/a?Signature=TOPSECRET",
        "https://h/a?x=1&token=TOPSECRET",
        "https://h/a?ACCESS_TOKEN=TOPSECRET",
        "https://h/a?X%2DGoog%2DSignature=TOPSECRET",
        "https://h/a?api-key=TOPSECRET",
        "https://h/a#access_token=TOPSECRET",
        "https://h/a?private_token=TOPSECRET",
        "https://h/a?job-token=TOPSECRET",
        "https://h/a?password=TOPSECRET${N}",
    ],
)
def test_secrets_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    problem = uris.problem_with(uri)
    assert problem is not None
    assert "holds a" in problem
    assert "SECRET" not in problem
    assert "12345" not in problem


@pytest.mark.parametrize(
    ("uri", "secrets"),
    [
        ("https://ada:p%2Fw@host/a", ["p%2Fw", "p/w"]),
        ("https://token@host/a", ["token", "token"]),
        ("s3://KEY:a/b@bucket/a", ["a/b", "a/b"]),
        ("sftp://ada@host/a", []),
        ("abfs://container@account/a", []),
        ("https://host:8080/a@b", []),
        ("https://host/a", []),
        ("/folder/ada:secret@host", []),
    ],
)
def test_the_secrets_in_a_uri_are_found(uri: str, secrets: list[str]) -> None:
    assert uris.secrets_in(uri) == secrets


@given(st.text())
def test_every_text_gets_an_answer(text: str) -> None:
    assert uris.problem_with(text) is None or uris.problem_with(text)
    uris.is_relative(text)
    uris.name_of(text)
    uris.container_of(text)
    uris.secrets_in(text)


@pytest.mark.parametrize(
    ("root_a", "root_b", "expected"),
    [
        ("/data/run", "/data/run/", True),
        ("/data/run", "/data/run/sub", True),
        ("/data/run", "/data/run2", False),
        ("/data/run", "file:///data/run", True),
        ("s3://b/run", "s3a://b/run/sub/", True),
        ("s3://b/run", "s3://c/run", False),
        ("s3://b", "s3://b/run", True),
        ("s3://b/run", "/b/run", False),
        ("https://h:443/a", "https://H/a/b", True),
        ("memory://a", "memory:///a/b", True),
        ("${UNSET_HERE}/a", "${UNSET_HERE}/a/b", True),
        ("file://server/a", "/a", False),
        ("/", "/a", True),
    ],
)
def test_equal_and_nested_roots_are_found(root_a: str, root_b: str, expected: bool) -> None:
    assert uris.same_or_nested(root_a, root_b) is expected
    assert uris.same_or_nested(root_b, root_a) is expected


def test_roots_that_are_the_same_through_a_link_or_a_variable_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("TEST_ROOT", str(tmp_path))
    assert uris.same_or_nested(str(tmp_path / "real"), str(tmp_path / "link" / "sub"))
    assert uris.same_or_nested("${TEST_ROOT}/real", str(tmp_path / "link"))
