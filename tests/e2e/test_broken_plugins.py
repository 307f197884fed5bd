"""A third-party plugin that is broken: every verb goes on working, and `rv plugins` explains what is wrong with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

RUNNER = """
@hookimpl
def rv_runners():
    return [RunnerSpec(name="{name}", target="{package}.runner:R", summary="of {package}")]
"""


@pytest.fixture
def broken_site(site: Site) -> Site:
    """Four broken plugins, two of which want the same name, and one that is fine."""
    site.install("rv-import-error", "import nosuchlibrary\n")
    site.install("rv-wrong-hook", "@hookimpl\ndef rv_runers():\n    return []\n")
    site.install("rv-wrong-version", "RV_HOOK_API_VERSION = 99\n" + RUNNER.format(name="late", package="rv_wrong_version"))
    site.install("rv-first", RUNNER.format(name="twice", package="rv_first"), version="1.2")
    site.install("rv-second", RUNNER.format(name="twice", package="rv_second"), version="3.4")
    site.install("rv-greedy", RUNNER.format(name="inprocess", package="rv_greedy"))
    site.install("rv-good", RUNNER.format(name="good", package="rv_good"))
    return site
