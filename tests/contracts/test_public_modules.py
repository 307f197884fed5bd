"""Plugins are written against `rv_core` and a short list of public modules: whatever else is in the core may move.

grimp comes with import-linter: the session `contracts` has it and runs this, elsewhere it is skipped.
"""

from __future__ import annotations

from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp", reason="grimp comes with import-linter, in the session contracts")

ROOT = Path(__file__).parent.parent.parent
SOURCES = {path.name: path.parent for path in sorted(ROOT.glob("rv_*/src/rv_*")) if path.is_dir()}
PLUGINS = [name for name in SOURCES if name != "rv_core"]

#: Besides the names of `rv_core` itself.
PUBLIC = {
    "rv_core.api",
    "rv_core.cli.output",
    "rv_core.cli.state",
    "rv_core.config.saved",
    "rv_core.config.values",
    "rv_core.errors",
    "rv_core.files.by_uri",
    "rv_core.files.problems",
    "rv_core.files.stores",
    "rv_core.files.uris",
    "rv_core.files.zips",
    "rv_core.machine.cores",
    "rv_core.machine.folders",
    "rv_core.plugins.signing",
    "rv_core.redaction",
    "rv_core.settings.files",
    "rv_core.settings.sections",
    "rv_core.status.values",
    "rv_core.user_code.configs",
    "rv_core.wording",
}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_public_modules_of_the_core_alone(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rv_core", plugin):
        monkeypatch.syspath_prepend(SOURCES[name])
    graph = grimp.build_graph("rv_core", plugin, exclude_type_checking_imports=False, cache_dir=None)
    found = {
        f"{module} imports {imported}"
        for module in graph.modules
        if module.split(".")[0] == plugin
        for imported in graph.find_modules_directly_imported_by(module)
        if imported.split(".")[0] == "rv_core" and imported not in {"rv_core", *PUBLIC}
    }
    assert not found, "\n".join(sorted(found))
