"""Stores that plugins declare: found by scheme, never in the place of a built-in one, and refused where they clash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rv_core.cli.plugin_check import check_targets
from rv_core.cli.verbs import command_problem
from rv_core.errors import PluginError
from rv_core.plugins.installed import Plugins, load_plugins

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site

pytest_plugins = ("tests.plugin_fixtures",)

STORE = "@hookimpl\ndef rv_stores(): return [StoreSpec({scheme!r}, 'rv_stored.store:{name}', 'a store')]\n"
MODULE = "from rv_core import Store\nclass Mine(Store): pass\nclass Other: pass\n"


def load(**environ: str) -> Plugins:
    return load_plugins(environ)


def install(site: Site, scheme: object, *, distribution: str = "rv-stored", name: str = "Mine") -> None:
    site.install(distribution, STORE.format(scheme=scheme, name=name), files={"store.py": MODULE})


def test_the_core_serves_files_web_servers_and_the_rest_through_fsspec() -> None:
    plugins = load()
    assert plugins.store_spec("file").target == "rv_core.files.stores:LocalStore"
    assert plugins.store_spec("http").target == plugins.store_spec("https").target
    assert plugins.store_spec("memory") is plugins.store_specs()["*"]


def test_a_declared_store_serves_its_scheme(own_site: Site) -> None:
    install(own_site, "mine+x")
    plugins = load()
    assert plugins.store_spec("mine+x").target == "rv_stored.store:Mine"
    assert str(plugins.owner_of("store", "mine+x").provides[0]) == "store mine+x"
    assert load(RV_DISABLE_PLUGINS="rv-stored").store_spec("mine+x").scheme == "*"


def test_a_scheme_that_two_plugins_declare_is_an_error_naming_both(own_site: Site) -> None:
    install(own_site, "mine")
    install(own_site, "mine", distribution="rv-also")
    with pytest.raises(PluginError) as raised:
        load().store_spec("mine")
    assert "rv-stored 1.0" in str(raised.value)
    assert "rv-also 1.0" in str(raised.value)


@pytest.mark.parametrize("scheme", ["file", "https", "*"])
def test_a_built_in_store_is_never_replaced(own_site: Site, scheme: str) -> None:
    install(own_site, scheme)
    plugins = load()
    assert plugins.store_spec(scheme).target.startswith("rv_core.")
    assert "the built-in one is never replaced" in str(plugins.findings()[0])


@pytest.mark.parametrize("scheme", ["", "S3", "a://", "a_b", "1a", None])
def test_what_cannot_be_a_scheme_makes_a_broken_plugin(own_site: Site, scheme: object) -> None:
    install(own_site, scheme)
    (finding,) = load().findings()
    assert "cannot be a scheme" in finding.what


def test_a_broken_plugin_is_named_where_its_store_is_wanted(own_site: Site) -> None:
    own_site.install("rv-store-mine", "import no_such_module\n")
    with pytest.raises(PluginError, match="cannot be loaded") as raised:
        load().store_spec("mine")
    assert "no_such_module" in str(raised.value)


def test_a_target_that_is_no_store_is_found_by_check(own_site: Site) -> None:
    install(own_site, "mine", name="Other")
    (problem,) = check_targets(load(), command_problem)
    assert str(problem).endswith("store mine → rv_stored.store:Other: is not a subclass of rv_core.Store")
