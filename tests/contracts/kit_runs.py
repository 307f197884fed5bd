"""Runs rules of the kits in a pytest of its own, where the wrong runners, pipelines and stores of the tests are installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from tests.contracts.installed_sources import install_sources, python_path

_HERE = Path(__file__).parent
_EXAMPLES = _HERE.parent.parent / "docs" / "examples"


def run_kit(
    folder: Path, text: str, ids: Sequence[str], *, environ: Mapping[str, str] | None = None
) -> dict[tuple[str, str], str]:
    """Run some tests of a test module.

    Args:
        folder: an empty folder.
        text: the test module.
        ids: `Class::test`, to be run in this order.
        environ: added to the environment.

    Returns:
        (class, test without its parameters) -> why it failed or was skipped, "" for what passed.
    """
    site = folder / "site"
    hooks = {"background": "rv_runner_background.hooks"}
    install_sources(site, "rv-runner-background", _EXAMPLES / "rv_runner_background" / "src", hooks)
    hooks = {"wrong": "wrong_plugins.hooks", "heavy": "wrong_plugins.heavy_hooks"}
    install_sources(site, "wrong-plugins", _HERE / "wrong_runners", hooks)
    install_sources(site, "wrong-stores", _HERE / "wrong_stores", {"stores": "wrong_stores.hooks"})
    module, results = folder / "test_kit.py", folder / "results.xml"
    module.write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    argv = [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}", *(f"{module}::{name}" for name in ids)]
    own = {"PYTHONPATH": python_path(site), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        argv,
        cwd=folder,
        env={**os.environ, **own, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return _outcomes(results)


def _outcomes(path: Path) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        key = (case.get("classname", "").rpartition(".")[2], re.sub(r"\[.*", "", case.get("name", "")))
        problems = [child for child in case if child.tag in ("failure", "error", "skipped")]
        text = "\n".join(f"{child.tag}: {child.get('message', '')}\n{child.text or ''}" for child in problems)
        found[key] = found.get(key) or text
    return found
