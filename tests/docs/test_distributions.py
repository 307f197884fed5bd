"""What the packages' metadata say fits together."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parent.parent.parent
_PACKAGES = sorted(path.parent.name for path in _ROOT.glob("rv_*/pyproject.toml"))


def project_of(package: str) -> dict[str, Any]:
    return tomllib.loads((_ROOT / package / "pyproject.toml").read_text())["project"]


def test_every_package_folder_is_seen() -> None:
    assert {
        "rv_core",
        "rv_runner_local",
        "rv_runner_batch",
        "rv_runner_slurm",
        "rv_store_s3",
        "rv_report",
        "rv_pipeline_chip_classification",
    } <= set(_PACKAGES)


@pytest.mark.parametrize("package", _PACKAGES)
def test_a_distribution_carries_the_licence_a_readme_and_its_types(package: str) -> None:
    assert (_ROOT / package / "LICENSE").read_bytes() == (_ROOT / "LICENSE").read_bytes()
    assert (_ROOT / package / "README.md").read_text().startswith(f"# {project_of(package)['name']}\n")
    assert (_ROOT / package / "src" / package / "py.typed").is_file()


@pytest.mark.parametrize("package", _PACKAGES)
def test_every_requirement_has_a_lower_bound_and_a_tested_version_above_it(package: str) -> None:
    tested = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (_ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for requirement in project_of(package)["dependencies"]:
        name, lowest = re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups()
        if name.replace("-", "_") in _PACKAGES:
            continue
        assert _numbers(tested[name]) >= _numbers(lowest), requirement


@pytest.mark.parametrize("package", _PACKAGES)
def test_every_requirement_has_a_reason(package: str) -> None:
    reasons = (_ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text()
    project = project_of(package)
    extras = [r for extra in project.get("optional-dependencies", {}).values() for r in extra]
    for requirement in [*project["dependencies"], *extras]:
        name = re.match(r"[\w.-]+", requirement)[0]
        assert name == "pytest" or name.replace("-", "_") in _PACKAGES or f"| {name} |" in reasons, requirement


def test_the_versions_of_python_that_are_claimed_are_those_that_are_tested() -> None:
    later = re.search(r"^PYTHONS = \((.*)\)$", (_ROOT / "noxfile.py").read_text(), re.MULTILINE)[1]
    tested = {"3.11", *re.findall(r'"([\d.]+)"', later)}
    for package in [*_PACKAGES, "suite"]:
        claimed = re.findall(r"Python :: (3\.\d+)", " ".join(project_of(package)["classifiers"]))
        assert set(claimed) == tested, package


def test_the_suite_names_every_package_and_only_by_extras() -> None:
    project = tomllib.loads((_ROOT / "suite" / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = {re.match(r"[\w-]+", needs)[0].replace("-", "_") for extra in extras.values() for needs in extra}
    assert named == {*_PACKAGES, "rv_suite"} - {"rv_core"}
    everything = re.search(r"\[(.*)\]", extras["all"][0])[1].split(",")
    assert set(everything) == set(extras) - {"all", "onnx", "timm", "vector"}
    assert [re.match(r"[\w-]+", needs)[0] for needs in project["dependencies"]] == ["rv-core"]


def test_a_release_is_refused_where_a_version_differs() -> None:
    argv = [sys.executable, str(_ROOT / "packaging" / "check_versions.py")]
    version = tomllib.loads((_ROOT / "suite" / "pyproject.toml").read_text())["project"]["version"]
    assert subprocess.run([*argv, version], check=False).returncode == 0
    refused = subprocess.run([*argv, "9.9.9"], check=False, capture_output=True, text=True)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == len(_PACKAGES) + 1


def test_the_recipe_for_apptainer_makes_the_image_of_docker_of_what_is_there() -> None:
    recipe = (_ROOT / "packaging" / "apptainer" / "rv.def").read_text()
    image = (_ROOT / "docker" / "Dockerfile").read_text()
    sections = dict(re.findall(r"^%(\w+)\n((?:(?!%).*\n?)*)", recipe, re.MULTILINE))
    assert set(sections) == {"arguments", "files", "post", "runscript"}
    assert f"Bootstrap: docker\nFrom: {re.search('^FROM (.*)$', image, re.MULTILINE)[1]}\n" in recipe
    copied = dict(line.split() for line in sections["files"].strip().splitlines())
    assert copied.pop("dist") == "/opt/dist"  # what `make dist` leaves
    assert all((_ROOT / path).is_file() for path in copied)
    assert set(re.findall(r"/opt/[\w.]+", sections["post"])) == {"/opt/dist", *copied.values()}
    pinned = re.findall(r"torch==[\d.]+", image)
    assert re.findall(r"torch==[\d.]+", sections["post"]) == pinned
    assert re.findall(r"{{ (\w+) }}", sections["post"]) == re.findall(r"(\w+)=", sections["arguments"])
    assert subprocess.run(["sh", "-n"], input=sections["post"], text=True, check=False).returncode == 0


def test_nothing_names_a_package_index() -> None:
    files = [
        *_ROOT.glob("*.md"),
        *_ROOT.glob("docs/*.md"),
        *_ROOT.glob("rv_*/README.md"),
        *_ROOT.glob("docker/*"),
        *_ROOT.glob("packaging/*/*"),
    ]
    named = [path.name for path in files if re.search(r"pypi\.org|download\.pytorch", path.read_text())]
    assert not named


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
