"""What must not be shown."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core import redaction
from rv_core.redaction import (
    HIDDEN,
    is_secret_variable,
    redact,
    redact_settings,
    redact_values,
    redact_words,
    register_environment,
    register_mapping,
    register_secret,
)


@pytest.fixture(autouse=True)
def no_registered_secrets() -> Iterator[None]:
    before = set(redaction._registered)
    redaction._registered.clear()
    yield
    redaction._registered.clear()
    redaction._registered.update(before)


@pytest.mark.parametrize(
    ("text", "secret", "kept"),
    [
        ("GET https://ada:hunter2@host/x.tif failed", "hunter2", "@host/x.tif failed"),
        ("https://token@host/x", "token@", "https://***@host/x"),
        ("s3://AKIAIOSFODNN7EXAMPLE:wJalrXUtnFEMI@bucket/key", "wJalr", "@bucket/key"),
        ("cannot read http://u:pass/word@host/x.tif now", "word", "@host/x.tif now"),
        ("https://h/x?X-Amz-Signature=abc123&page=2", "abc123", "page=2"),
        ("https://h/x?page=2&X-Amz-Credential=AK%2Fz&y=1", "AK%2Fz", "&y=1"),
        ("https://a.blob.core.windows.net/c/x?sv=1&sig=Zm9v%3D", "Zm9v", "sv=1"),
        ("https://h/x?token=tok123#frag", "tok123", "#frag"),
        ("https://h/x?access_token=tok123", "tok123", "access_token="),
        ("https://h/x?private_token=tok123", "tok123", "private_token="),
        ("key id AKIAIOSFODNN7EXAMPLE was used", "AKIAIOSFODNN7EXAMPLE", "was used"),
        ("ASIAIOSFODNN7EXAMPLE", "ASIA", "***"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalr", "aws_secret_access_key = ***"),
        ("AWS_SESSION_TOKEN=FwoGZXIvYXdz//", "FwoG", "AWS_SESSION_TOKEN=***"),
        ('{"password": "hun ter2", "n": 3}', "hun ter2", '"n": 3}'),
        ("password='a b' next", "a b", "next"),
        ('{\\"api_key\\": \\"xyz987\\"}', "xyz987", "api_key"),
        ("Authorization: Bearer eyJhbGciOi.J9", "eyJhbGciOi", "Bearer ***"),
    ],
)
def test_secrets_are_hidden_and_the_rest_is_kept(text: str, secret: str, kept: str) -> None:
    found = redact(text)
    assert secret not in found
    assert kept in found
    assert redact(found) == found


@pytest.mark.parametrize(
    "text",
    [
        "https://host/path/x.tif?page=2",
        "s3://bucket/key/a@b.tif",
        "http://host:8080/a@b.tif",
        "http://[::1]:8080/a@b.tif",
        "http://host:${PORT}/a@b.tif",
        "mail ada@example.org",
        "read 12 tokens: 512",
        'the word token and "token": 12 and password: null',
        "token=${TOKEN}",
        "password=${DB_PASSWORD} is expanded later",
        "c:/x/y",
        "",
        "chip zion_r0c1: image changed",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    assert redact(text) == text


def test_registered_secrets_are_hidden_in_every_spelling() -> None:
    register_secret('p"ä ss/w')
    assert redact('x p"ä ss/w y') == "x *** y"
    assert "ss" not in redact(json.dumps({"k": 'p"ä ss/w'}).replace("k", "z"))
    assert redact("u=p%22%C3%A4%20ss%2Fw") == "u=***"


def test_longer_secrets_go_first() -> None:
    register_secret("abcd")
    assert redact("abcdefgh", ["abcdefgh"]) == "***"


def test_short_and_empty_values_are_not_registered() -> None:
    for value in (None, "", "   ", "1", "abc"):
        register_secret(value)
    assert redact("1 abc   x") == "1 abc   x"


def test_values_are_redacted_all_the_way_down() -> None:
    value = {"a": ["https://u:p@h/x", 3, None, True], "b": {"c": ("secretword",)}}
    assert redact_values(value, ["secretword"]) == {"a": ["https://***@h/x", 3, None, True], "b": {"c": ["***"]}}


def test_text_under_the_name_of_a_secret_is_hidden_and_keys_of_jobs_are_not() -> None:
    value = {"db.password": "hunter2", "API_TOKEN": "${TOKEN}", "key": "0f3a99", "token": 12, "a": [{"secret": "x"}]}
    assert redact_values(value) == value | {"db.password": HIDDEN, "a": [{"secret": HIDDEN}]}


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("API_TOKEN", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("LICENSE_KEY", True),
        ("SENTRY_DSN", True),
        ("DB_PASS", True),
        ("registry.auth", True),
        ("LOG_LEVEL", False),
        ("KEYBOARD", False),
        ("AUTHOR", False),
        ("PASSAGES", False),
        ("TOKENIZERS_PARALLELISM", False),
    ],
)
def test_settings_are_hidden_by_their_names(name: str, is_secret: bool) -> None:
    assert is_secret_variable(name) == is_secret
    shown = redact_settings({"commands": {"train": {"environment": {name: "value-4711"}}}})
    assert shown == {"commands": {"train": {"environment": {name: HIDDEN if is_secret else "value-4711"}}}}


def test_values_of_a_mapping_of_settings_are_hidden_wherever_they_occur() -> None:
    register_mapping({"API_TOKEN": "tok4", "cost-key": "team", "LICENSE_KEY": "licence-4711", "LOG_LEVEL": "DEBUGGING"})
    assert redact("tok4 licence-4711 /home/team DEBUGGING") == "*** *** /home/team DEBUGGING"


def test_secrets_of_the_environment_are_hidden_and_ordinary_variables_are_not() -> None:
    register_environment(
        {"API_TOKEN": "ghp_4711abc", "GPG_KEY": "A035C8C19219BA", "PWD": "/home/ada/work", "X_TOKEN": "1"}
    )
    assert redact("ghp_4711abc A035C8C19219BA /home/ada/work 1") == "*** A035C8C19219BA /home/ada/work 1"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "-a", "password", "hunter2", "-s", "2"], ["run", "-a", "password", HIDDEN, "-s", "2"]),
        (["run", "--arg", "db.api_token", "hunter2"], ["run", "--arg", "db.api_token", HIDDEN]),
        (["run", "-a", "password=hunter2"], ["run", "-a", f"password={HIDDEN}"]),
        (["mine", "--api-token", "hunter2", "x"], ["mine", "--api-token", HIDDEN, "x"]),
        (["run", "-a", "password", "${DB_PASSWORD}"], ["run", "-a", "password", "${DB_PASSWORD}"]),
        (["run", "-a", "names", "password", "x"], ["run", "-a", "names", "password", "x"]),
    ],
)
def test_the_words_of_a_command_line_show_no_secret(words: list[str], expected: list[str]) -> None:
    assert redact_words(words) == expected


FRAGMENTS = [
    *(
        "https://",
        "s3://",
        "@",
        ":",
        "/",
        "?",
        "&",
        "=",
        " ",
        '"',
        "'",
        "\\",
        ",",
        "${",
        "}",
        "***",
        "Bearer ",
        "#",
        ";",
    ),
    *("password", "token", "sig", "X-Amz-Signature", "secret_key", "AKIAIOSFODNN7EXAMPLE", "abc12345678", "12", "null"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_long_lines_are_redacted_in_reasonable_time() -> None:
    import time

    for line in ("a://b:" * 20_000, "a-" * 50_000, "x" * 100_000, "a.b:" * 25_000, "://" * 20_000):
        start = time.process_time()
        redact(line)
        assert time.process_time() - start < 2.0
