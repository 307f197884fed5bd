"""Fail unless the recipe for conda renders and asks for what the packages that it installs ask for.

`check_recipe.py` reads packaging/conda/recipe.yaml as rattler-build does. It builds nothing: that needs the packages of
a conda channel.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "packaging" / "conda" / "recipe.yaml"
#: What a requirement of an index of Python packages is called on a channel.
CONDA_NAMES = {"torch": "pytorch"}
#: What no package of Python brings.
PROGRAMS = {"make", "python"}


def rendered() -> dict[str, Any]:
    """The recipe with its variables filled in, checked by rattler-build."""
    from rattler_build import Stage0Recipe, VariantConfig

    (variant,) = Stage0Recipe.from_file(str(RECIPE)).render(VariantConfig())
    recipe: dict[str, Any] = variant.recipe.to_dict()
    return recipe


def project_of(package: str) -> dict[str, Any]:
    """The table `project` of a package's pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def wrong(recipe: dict[str, Any]) -> list[str]:
    """What the recipe says otherwise than the packages, a line each."""
    packages = re.findall(r"\./(\w+)", recipe["build"]["script"])
    own = {project_of(package)["name"] for package in packages}
    needed = [_split(r) for package in packages for r in project_of(package)["dependencies"]]
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in needed if name not in own}
    asked = dict(map(_split, recipe["requirements"]["run"]))
    missing = {path.parent.name for path in ROOT.glob("rv_*/pyproject.toml")} - set(packages)
    found = [f"script: {package} is not installed" for package in sorted(missing)]
    found += [
        f"run: {name} {asked.get(name, 'is missing')}; its package asks for {bound or 'any'}"
        for name, bound in wanted.items()
        if asked.get(name) != bound
    ]
    found += [f"run: no package asks for {name}" for name in sorted(set(asked) - set(wanted) - PROGRAMS)]
    version = project_of("suite")["version"]
    if recipe["package"]["version"] != version:
        found.append(f"version: {recipe['package']['version']}, and that of rv-suite is {version}")
    return found


def _split(requirement: str) -> tuple[str, str]:
    """`name>=1.2` or `name >=1.2` as name and bound, extras left out."""
    name, bound = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?\s*(.*)", requirement).groups()  # type: ignore[union-attr]
    return name, bound.replace(" ", "")


def main() -> int:
    """Say what is wrong."""
    found = wrong(rendered())
    for line in found:
        print(f"{RECIPE.relative_to(ROOT)}: {line}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
