"""Small distributions of plugins, as pip installs them: a package beside a `.dist-info` folder with an entry point.

A test module that wants them has `pytest_plugins = ("tests.plugin_fixtures",)`.
"""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

HEADER = "from rv_core import CommandSpec, ConfigSpec, PipelineSpec, RunnerSpec, hookimpl\n"


class Site:
    """A folder that is put on the path, like site-packages.

    Args:
        folder: where distributions are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        distribution: str,
        hooks: str = "",
        *,
        version: str = "1.0",
        entry_point: str = "",
        package: str = "",
        files: Mapping[str, str] | None = None,
        target: str = "",
    ) -> str:
        """Write a distribution.

        Args:
            distribution: its name.
            hooks: text of its module `hooks`, after an import of everything from rv_core that it may need.
            version: its version.
            entry_point: the entry point's name; that of the package if left out.
            package: the package's name; made of the distribution's if left out.
            files: more modules of the package, by file name.
            target: what the entry point names; `PACKAGE.hooks` if left out.

        Returns:
            The package's name.
        """
        package = package or distribution.replace("-", "_")
        own = self.folder / package
        own.mkdir(parents=True)
        texts = {"__init__.py": "", "hooks.py": HEADER + textwrap.dedent(hooks), **(files or {})}
        for name, text in texts.items():
            (own / name).write_text(textwrap.dedent(text))
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[rv]\n{entry_point or package} = {target or f'{package}.hooks'}\n")
        return package

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a fresh process that sees the distributions."""
        path = os.pathsep.join(filter(None, [str(self.folder), os.environ.get("PYTHONPATH", "")]))
        return {"PYTHONPATH": path, **more}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder for distributions, which only processes with `env=site.environ()` see."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture
def own_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The same folder, on the path of this process as well; its modules are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(site.folder))
    yield site
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(site.folder)):
            del sys.modules[name]
    importlib.invalidate_caches()
