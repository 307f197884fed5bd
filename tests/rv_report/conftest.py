"""Roots to report about, each made once."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rv_core import api
from rv_core.hello import HelloConfig

HOSTILE = "<script>alert(1)</script>\x1b[31m\x00 \"quoted' & {{ 7 * 7 }}"


class Reader(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, blanks folded."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def check_page(text: str) -> Reader:
    """A page is whole, asks for nothing, and has one script, its own."""
    page = Reader(text)
    assert len(page.of("script")) == 1
    assert not any(tag in {"iframe", "object", "embed", "base", "form"} for tag, _ in page.elements)
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), attributes
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not any(ord(character) < 32 and character not in "\n\t" for character in text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    return page


@pytest.fixture(scope="session")
def hello_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five items in three tasks whose config holds text that means something in HTML."""
    root = tmp_path_factory.mktemp("hello") / "root"
    api.run(HelloConfig(root_uri=str(root), num_items=5, greeting=HOSTILE), splits=3, quiet=True)
    return root
