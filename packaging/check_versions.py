"""Fail unless every distribution has the version that is to be released: `check_versions.py 0.1.0`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def versions() -> dict[str, str]:
    """The version of every distribution of this repository, by name."""
    found = {}
    for path in sorted([*ROOT.glob("rv_*/pyproject.toml"), ROOT / "suite" / "pyproject.toml"]):
        text = path.read_text(encoding="utf-8")
        project = tomllib.loads(text)["project"]
        source = tomllib.loads(text).get("tool", {}).get("hatch", {}).get("version", {}).get("path")
        own = project.get("version") or _version_in(path.parent / source)
        found[project["name"]] = own
    return found


def _version_in(path: Path) -> str:
    match = re.search(r'^__version__ = "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else ""


def main(wanted: str) -> int:
    """Say which distributions have another version."""
    wrong = {name: version for name, version in versions().items() if version != wanted}
    for name, version in wrong.items():
        print(f"{name} has version {version or 'unknown'}, not {wanted}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
