"""The digest of the code of a backbone of one's own: of all that it imports by name, and of nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rv_core.errors import ConfigError
from rv_pipeline_chip_classification.config_checks import own_backbone
from rv_pipeline_chip_classification.model.own_code import code_digest, digest_of_backbone


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path with a module, what it imports, and a package."""
    files = {
        "rvt_net.py": "import os\nimport numpy\nimport rvt_layers\nraise SystemExit('was imported')\n",
        "rvt_layers.py": "from rvt_widths import WIDTH\nimport rvt_not_there\n",
        "rvt_widths.py": "WIDTH = 3\n",
        "rvt_beside.py": "",
        "rvt_pack/__init__.py": "raise SystemExit('was imported')\n",
        "rvt_pack/net.py": "from . import parts\nfrom .deep.inner import x\nimport rvt_widths\n",
        "rvt_pack/parts.py": "",
        "rvt_pack/other.py": "",
        "rvt_pack/deep/__init__.py": "",
        "rvt_pack/deep/inner.py": "from ..parts import y\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "inside", "outside"),
    [
        ("rvt_net", ["rvt_net.py", "rvt_layers.py", "rvt_widths.py"], ["rvt_beside.py"]),
        (
            "rvt_pack.net",
            ["rvt_pack/net.py", "rvt_pack/parts.py", "rvt_pack/deep/inner.py"],
            ["rvt_pack/other.py", "rvt_widths.py"],
        ),
    ],
)
def test_the_digest_is_that_of_the_text_of_what_is_imported_by_name(
    code: Path, module: str, inside: list[str], outside: list[str]
) -> None:
    first = code_digest(module)
    assert code_digest(module) == first and len(first) == 64
    for name in outside:
        (code / name).write_text("changed = 1\n")
        assert code_digest(module) == first, name
    for name in inside:
        text = (code / name).read_text()
        (code / name).write_text(text + "changed = 1\n")
        assert code_digest(module) != first, name
        (code / name).write_text(text)
    assert not {"rvt_net", "rvt_pack"} & set(sys.modules)


def test_code_that_is_not_here_or_no_python_is_told(code: Path) -> None:
    for module in ("rvt_none", "rvt_pack.none", "rvt_none.net"):
        with pytest.raises(ConfigError, match=f"there is no module '{module}' here"):
            code_digest(module)
    (code / "rvt_net.py").write_text("def (")
    with pytest.raises(ConfigError, match="is no Python that can be read"):
        code_digest("rvt_net")


def test_only_a_backbone_of_ones_own_has_code() -> None:
    assert [digest_of_backbone(name) for name in ("small_cnn", "resnet50", "timm:vit:tiny")] == [None] * 3
    assert own_backbone("my.nets:Small") == ("my.nets", "Small")
    assert [own_backbone(name) for name in ("timm:a", "a:b:c", "a b:c", "../a:b", ":x", "x:", "ä:b")] == [None] * 7
