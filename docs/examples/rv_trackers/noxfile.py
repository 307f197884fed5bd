"""The checks of this package: `nox` runs all of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types; the package says that it has them (`py.typed`)."""
    session.install("mypy", ".")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests, on the wheel that users would install and not on this folder."""
    dist = Path("build/dist")
    shutil.rmtree(dist, ignore_errors=True)
    session.install("build")
    session.run("python", "-m", "build", "--wheel", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    session.install(f"{wheel}[test]")
    session.run("pytest", *session.posargs)
