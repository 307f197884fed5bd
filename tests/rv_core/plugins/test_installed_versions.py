"""Headers of installed distributions are those that importlib.metadata finds."""

from __future__ import annotations

from importlib.metadata import distributions, requires, version

from rv_core.plugins.installed_versions import header, needs_of, version_of


def test_every_distribution_here_has_the_name_version_and_needs_that_python_finds() -> None:
    names = {found.metadata["Name"]: header(found, "name") for found in distributions()}
    assert len(names) > 10
    for name, read in names.items():
        assert read == name
        assert version_of(name) == version(name)
        assert needs_of(name) == (requires(name) or [])


def test_what_is_not_installed_has_neither() -> None:
    assert (version_of("no-such-distribution"), needs_of("no-such-distribution")) == ("", [])
