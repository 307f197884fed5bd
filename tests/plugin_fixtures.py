"""Small distributions of plugins, as pip installs them: a package beside a `.dist-info` folder with an entry point.

A test module that wants them has `pytest_plugins = ("tests.plugin_fixtures",)`.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

HEADER = (
    "from rv_core import CommandSpec, ConfigSpec, PipelineSpec, ReportSectionsSpec, RunnerSpec, StoreSpec, hookimpl\n"
)


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


def _pip_installed(site: Site, folder: Path) -> Site:
    """The same distributions as wheels that pip has installed into an empty folder."""
    wheels = [_wheel(site.folder, info, folder) for info in sorted(site.folder.glob("*.dist-info"))]
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", folder / "installed"]
    subprocess.run([*argv, *wheels], check=True, capture_output=True, text=True)
    return Site(folder / "installed")


def _wheel(sources: Path, info: Path, folder: Path) -> Path:
    name = info.name.removesuffix(".dist-info")
    path = folder / f"{name}-py3-none-any.whl"
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    package = sources / name.rpartition("-")[0]
    files = [file for top in (package, info) for file in sorted(top.rglob("*")) if file.is_file()]
    names = [file.relative_to(sources).as_posix() for file in files]
    with zipfile.ZipFile(path, "w") as wheel:
        for file, inside in zip(files, names, strict=True):
            wheel.write(file, inside)
        record = f"{info.name}/RECORD"
        wheel.writestr(record, "".join(f"{inside},,\n" for inside in (*names, record)))
    return path


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A folder for distributions, which only processes with `env=site.environ()` see."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture(scope="module")
def pip_installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Site], object]], Site]:
    """`pip_installed(write)`: the distributions that `write(site)` writes, as wheels that pip has installed."""

    def install(write: Callable[[Site], object]) -> Site:
        site = Site(tmp_path_factory.mktemp("sources"))
        write(site)
        return _pip_installed(site, tmp_path_factory.mktemp("wheels"))

    return install


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
