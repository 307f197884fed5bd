"""The checks of this repository: `nox` runs what every change must pass, `nox -s full` all there is.

Every session has an environment of its own. The packages are built into wheels once; a session of a package installs
the wheels of the core and of that package alone, so that a forgotten dependency or an import across plugins is seen.
What every session came to is written to build/results/, from which `.ci/closing_line.py` makes the closing line.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.stop_on_first_error = False
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
DIST = ROOT / "build" / "dist"
RESULTS = ROOT / "build" / "results"
PACKAGES = (
    "rv_core",
    "rv_runner_local",
    "rv_runner_batch",
    "rv_runner_slurm",
    "rv_store_s3",
    "rv_report",
    "rv_pipeline_chip_classification",
)
PLUGINS = PACKAGES[1:]
#: The distribution without code, whose extras name the packages.
SUITE = "suite"
SOURCES = [str(Path(package) / "src") for package in PACKAGES]
TEST_TOOLS = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "jsonschema"]
#: Most tests wait for processes of their own: two at a time, more where there are cores; a file's tests stay together.
WORKERS = ["-n", str(max(2, min(os.cpu_count() or 1, 6))), "--dist", "loadfile"]
S3_TOOLS = ["moto[server]"]
#: Extras whose lowest versions are tested.
EXTRAS = {"rv_pipeline_chip_classification": ("vector", "onnx")}
#: What runs the models that are written for it.
ONNX_TOOLS = ["onnxruntime"]
#: A page is opened where Chromium is installed (apt-get install chromium).
BROWSER_TOOLS = ["playwright", "axe-playwright-python"]
DIST_TOOLS = ["twine", "check-wheel-contents", "check-jsonschema", "py-rattler-build"]
NOTEBOOK_TOOLS = ["ipykernel", "nbclient", "nbformat"]
#: What is left to the sessions of `full`.
QUICK = "not slow and not real_data and not random_kills"
#: Later versions of Python that are tested, where an interpreter of theirs is found (on the PATH, or pyenv's).
PYTHONS = ("3.12", "3.13")
#: Spelt out: a bare `torch` may bring gigabytes that nobody asked for.
TORCH = "torch==2.13.0"

CHECKS = ["lint", "types", "contracts"]
QUICK_TESTS = [
    "tests_core",
    "tests_runner_local",
    "tests_runner_batch",
    "tests_runner_slurm",
    "tests_store_s3",
    "tests_report",
    "tests_chip_classification",
    "e2e",
]
CONFORMANCE = ["conformance", "conformance_local", "conformance_batch", "conformance_slurm"]
LONG_TESTS = [
    *CONFORMANCE,
    *(f"pythons({version})" for version in PYTHONS),
    "third_party",
    "guides",
    "site",
    "dist",
    "start",
    "real_scenes",
    "random_kills",
    "minimums",
    "benchmarks",
]
nox.options.sessions = [*CHECKS, *QUICK_TESTS]


@contextmanager
def recorded(name: str) -> Iterator[None]:
    """Leave a result that can be counted: what pytest wrote, else one check that passed or failed."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    result, junit = RESULTS / f"{name}.json", RESULTS / f"{name}.xml"
    junit.unlink(missing_ok=True)
    result.write_text(json.dumps({"passed": 0, "failed": 1}))
    try:
        yield
        result.write_text(json.dumps({"passed": 1, "failed": 0}))
    finally:
        if junit.exists():
            result.unlink()


def check(**options: Any) -> Callable[[Callable[..., None]], Any]:
    """A nox session whose result is counted; the import path of the caller's shell does not get in."""

    def decorate(function: Callable[..., None]) -> Any:
        @wraps(function)
        def run(session: nox.Session, **parameters: Any) -> None:
            session.env["PYTHONPATH"] = None
            with recorded(session.name):
                function(session, **parameters)

        return nox.session(**options)(run)

    return decorate


def install(session: nox.Session, *requirements: str, constraints: Path = ROOT / "constraints.txt") -> None:
    """Install with the tested versions, or with those of another file."""
    session.install("--quiet", "-c", str(constraints), *requirements)


def wheel(package: str, extra: str = "") -> str:
    """The wheel of a package, with an extra, as pip takes it."""
    (path,) = DIST.glob(f"{package}-*.whl")
    return f"{path}[{extra}]" if extra else str(path)


def pytest(session: nox.Session, *paths: str, marks: str = QUICK) -> None:
    """Run pytest in the session's environment; its exit code 5, no test that fits, is no failure."""
    junit = RESULTS / f"{session.name}.xml"
    options = ["-q", *WORKERS, "-m", marks, f"--junitxml={junit}"]
    session.run("pytest", *options, *paths, *session.posargs, success_codes=[0, 5])


def assert_absent(session: nox.Session, *modules: str) -> None:
    """Fail unless none of the modules can be imported: the session is to prove that they are not needed."""
    code = (
        f"import importlib.util as u; present = [m for m in {modules!r} if u.find_spec(m)]; assert not present, present"
    )
    session.run("python", "-I", "-c", code, silent=True)


def plugins_but(*wanted: str) -> list[str]:
    """Every plugin of this project but those that a session installs."""
    return [package for package in PLUGINS if package not in wanted]


@check(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Style and likely mistakes, by ruff."""
    install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@check(reuse_venv=True)
def types(session: nox.Session) -> None:
    """Types, by mypy: strict for the core, nearly so for the plugins."""
    install(
        session, "mypy", "numpy", "jinja2", *direct_requirements("rv_core"), *extra_requirements("rv_core", "testing")
    )
    session.run("mypy", *session.posargs)


@check(reuse_venv=True)
def contracts(session: nox.Session) -> None:
    """Which module may import what, by import-linter, whose contracts are in pyproject.toml; and no circles."""
    install(session, "import-linter", "pytest", "pytest-timeout")
    session.run("lint-imports", "--no-logo", env={"PYTHONPATH": ":".join(SOURCES)}, external=False)
    # Where grimp were missing, all would be skipped, and pytest would end with 5: only 0 passes.
    session.run("pytest", "-q", "tests/contracts/test_import_circles.py", "tests/contracts/test_public_modules.py")


@check(reuse_venv=True)
def wheels(session: nox.Session) -> None:
    """Build the wheel of every package into build/dist, once for all sessions."""
    install(session, "build", "hatchling")
    for old in DIST.glob("*.whl"):
        old.unlink()
    for package in PACKAGES:
        session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(DIST), package, silent=True)


@check(requires=["wheels"])
def tests_core(session: nox.Session) -> None:
    """The core from its wheel, alone."""
    install(session, wheel("rv_core"), *TEST_TOOLS)
    assert_absent(session, "boto3", "numpy", "obstore", "rasterio", "torch", *PLUGINS)
    pytest(session, "tests/rv_core", marks=f"{QUICK} and not s3")


@check(requires=["wheels"])
def tests_runner_local(session: nox.Session) -> None:
    """The core and the local runner, nothing else."""
    install(session, wheel("rv_core"), wheel("rv_runner_local"), *TEST_TOOLS)
    assert_absent(session, "boto3", "numpy", "obstore", "rasterio", "torch", *plugins_but("rv_runner_local"))
    pytest(session, "tests/rv_runner_local", marks=f"{QUICK} and not s3")


@check(requires=["wheels"])
def tests_runner_batch(session: nox.Session) -> None:
    """The core, both runners, the store of S3 and a local AWS Batch; neither arrays nor rasters nor models."""
    wanted = ("rv_runner_local", "rv_runner_batch", "rv_store_s3")
    install(session, wheel("rv_core"), *map(wheel, wanted), *TEST_TOOLS, *S3_TOOLS)
    assert_absent(session, "numpy", "rasterio", "torch", *plugins_but(*wanted))
    pytest(session, "tests/rv_runner_batch", "tests/local_batch")


@check(requires=["wheels"])
def tests_runner_slurm(session: nox.Session) -> None:
    """The core, the Slurm runner and a real Slurm where its programs are installed; nothing else."""
    install(session, wheel("rv_core", "testing"), wheel("rv_runner_slurm"), *TEST_TOOLS)
    assert_absent(session, "boto3", "numpy", "obstore", "rasterio", "torch", *plugins_but("rv_runner_slurm"))
    pytest(session, "tests/rv_runner_slurm", "tests/slurm_cluster", marks=f"{QUICK} and not s3")


@check(requires=["wheels"])
def tests_chip_classification(session: nox.Session) -> None:
    """The core and the chip-classification pipeline, nothing else."""
    install(
        session,
        wheel("rv_core"),
        wheel("rv_pipeline_chip_classification", "vector,onnx"),
        TORCH,
        *ONNX_TOOLS,
        *TEST_TOOLS,
    )
    assert_absent(session, "boto3", "obstore", *plugins_but("rv_pipeline_chip_classification"))
    pytest(session, "tests/rv_pipeline_chip_classification", marks=f"{QUICK} and not s3")


@check(requires=["wheels"])
def tests_store_s3(session: nox.Session) -> None:
    """The core with its extra `s3`, which is the store of S3, against a local S3 server."""
    install(session, wheel("rv_core", "s3"), wheel("rv_store_s3"), *TEST_TOOLS, *S3_TOOLS)
    assert_absent(session, "numpy", "rasterio", "torch", *plugins_but("rv_store_s3"))
    pytest(session, "tests/rv_store_s3")


@check(requires=["wheels"])
def tests_report(session: nox.Session) -> None:
    """The core and the reports, nothing else."""
    install(session, wheel("rv_core"), wheel("rv_report"), *TEST_TOOLS)
    assert_absent(session, "boto3", "obstore", "rasterio", "torch", *plugins_but("rv_report"))
    pytest(session, "tests/rv_report", marks=f"{QUICK} and not s3")


@check(requires=["wheels"])
def e2e(session: nox.Session) -> None:
    """All packages together: whole runs, start-up, the documentation and its notebook, broken and new plugins."""
    install_everything(session)
    install(session, *NOTEBOOK_TOOLS)
    pytest(session, "tests/e2e", "tests/startup", "tests/docs", "tests/contracts")


@check(requires=["wheels"], venv_backend="none")
@nox.parametrize("version", PYTHONS, ids=PYTHONS)
def pythons(session: nox.Session, version: str) -> None:
    """The core and the local runner with later versions of Python, whose own deprecations are errors too."""
    python = interpreter(version)
    if python is None:
        (RESULTS / f"{session.name}.json").write_text(json.dumps({"passed": 0, "failed": 0}))
        session.skip(f"no Python {version} is on the PATH or in pyenv")
    folder = Path(session.create_tmp()) / version
    session.run(python, "-m", "venv", "--clear", str(folder), external=True)
    mine = str(folder / "bin" / "python")
    wanted = [wheel("rv_core", "testing"), wheel("rv_runner_local"), *TEST_TOOLS]
    session.run(mine, "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), *wanted, external=True)
    options = ["-q", *WORKERS, "-m", f"{QUICK} and not s3", f"--junitxml={RESULTS / f'{session.name}.xml'}"]
    tests = ["tests/rv_core", "tests/rv_runner_local"]
    session.run(mine, "-m", "pytest", *options, *tests, *session.posargs, external=True)


@check()
def dist(session: nox.Session) -> None:
    """Build all that is released into dist/, look at it and at the recipes, and install it into an empty environment."""
    install(session, "build", "hatchling", *DIST_TOOLS)
    look_at_recipes(session)
    folder = ROOT / "dist"
    for old in [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]:
        old.unlink()
    for package in (*PACKAGES, SUITE):
        session.run("python", "-m", "build", "--no-isolation", "--outdir", str(folder), package, silent=True)
    session.run("twine", "check", "--strict", *map(str, sorted(folder.iterdir())))
    full = [path for package in PACKAGES for path in folder.glob(f"{package}-*.whl")]  # that of the suite is empty
    session.run("check-wheel-contents", *map(str, full))
    empty = Path(session.create_tmp()) / "empty"
    session.run("python", "-m", "venv", "--clear", str(empty))
    python = str(empty / "bin" / "python")
    wanted = ["-c", str(ROOT / "constraints.txt"), TORCH, "rv-suite[all]"]
    session.run(python, "-m", "pip", "install", "-q", "--find-links", str(folder), *wanted, external=True)
    session.run(str(empty / "bin" / "rv"), "plugins", "check", external=True)


def look_at_recipes(session: nox.Session) -> None:
    """What cannot be run here is held to its schema: workflows, forms and citation; the recipe for conda to the packages."""
    schemas = {
        "github-workflows": [".github/workflows/*.yml", "docs/examples/*/.github/workflows/*.yml"],
        "github-issue-forms": [".github/ISSUE_TEMPLATE/*.yml"],
        "citation-file-format": ["CITATION.cff"],
    }
    for schema, patterns in schemas.items():
        paths = [str(path) for pattern in patterns for path in ROOT.glob(pattern)]
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)
    session.run("python", "packaging/check_recipe.py")


@nox.session(python=False)
def full(session: nox.Session) -> None:
    """Everything: the default sessions and the long ones."""
    for name in [*CHECKS, *QUICK_TESTS, *LONG_TESTS]:
        session.notify(name)


@check(requires=["wheels"])
def conformance(session: nox.Session) -> None:
    """The core alone: every rule of the conformance kits on what it holds, and on what is wrong on purpose."""
    install(session, wheel("rv_core", "testing"), *TEST_TOOLS)
    assert_absent(session, "boto3", "numpy", "obstore", "rasterio", "torch", *PLUGINS)
    pytest(session, "tests/contracts", "tests/rv_core/runner/test_inprocess_conformance.py", marks="slow or not slow")


@check(requires=["wheels"])
def conformance_local(session: nox.Session) -> None:
    """Every rule of the conformance kit on the runner `local`."""
    pass_the_kit(session, "local")


@check(requires=["wheels"])
def conformance_batch(session: nox.Session) -> None:
    """Every rule of the conformance kit on the runner `batch` and a local AWS Batch."""
    pass_the_kit(session, "batch", "rv_store_s3", tools=S3_TOOLS)


@check(requires=["wheels"])
def conformance_slurm(session: nox.Session) -> None:
    """Every rule of the conformance kit on the runner `slurm` and a real Slurm, where its programs are installed."""
    pass_the_kit(session, "slurm")


def pass_the_kit(session: nox.Session, runner: str, *needed: str, tools: Sequence[str] = ()) -> None:
    """Every rule of the conformance kit on one runner, beside the core and the plugins that it needs."""
    package = f"rv_runner_{runner}"
    wanted = (package, *needed)
    install(session, wheel("rv_core", "testing"), *map(wheel, wanted), *TEST_TOOLS, *tools)
    assert_absent(session, "numpy", "rasterio", "torch", *plugins_but(*wanted))
    pytest(session, f"tests/{package}/test_{runner}_conformance.py", marks="slow or not slow")


@check(requires=["wheels"])
def third_party(session: nox.Session) -> None:
    """Packages as others write them pass their own tests beside the core alone: from `rv plugins new`, and examples."""
    install(session, wheel("rv_core", "testing"), "ruff", "mypy")
    assert_absent(session, *PLUGINS)
    with tempfile.TemporaryDirectory() as folder:  # ruff passes over what is below .nox
        for kind in ("commands", "pipeline", "runner"):
            session.run("rv", "plugins", "new", "first-try", "--kind", kind, "--into", folder, silent=True)
        for path in [*sorted(Path(folder).iterdir()), *sorted((ROOT / "docs" / "examples").glob("rv_*"))]:
            install(session, f"{path}[test]")
            with session.chdir(path):
                session.run("ruff", "check", ".")
                session.run("ruff", "format", "--check", ".")
                session.run("mypy")
                session.run("rv", "plugins", "check")
                session.run("pytest", "-q")
            session.run("pip", "uninstall", "--quiet", "--yes", path.name)


@check(requires=["wheels"])
def guides(session: nox.Session) -> None:
    """Every block of the guides, in order, as a reader would run them."""
    install(session, wheel("rv_core", "testing"), wheel("rv_runner_local"), *TEST_TOOLS, *NOTEBOOK_TOOLS)
    session.env["RV_WHEELS"] = str(DIST)
    pytest(session, "tests/docs/test_guides.py", "tests/docs/test_python_page.py", marks="slow or not slow")


@check(requires=["dist"])
def start(session: nox.Session) -> None:
    """The section Start as a new user takes it, in an empty environment and with a clock."""
    install(session, *TEST_TOOLS)
    session.env["RV_DIST"] = str(ROOT / "dist")
    pytest(session, "-s", "tests/docs/test_start_from_nothing.py", marks="slow or not slow")


@check()
def site(session: nox.Session) -> None:
    """The documentation as a site, in build/site; a link that leads nowhere fails it."""
    install(session, "mkdocs-material")
    session.run("mkdocs", "build", "--strict", "--quiet", env={"NO_MKDOCS_2_WARNING": "1"})


@check(requires=["wheels"])
def real_scenes(session: nox.Session) -> None:
    """The main job on real scenes (RV_TEST_DATA), and every other test that takes long."""
    install_everything(session)
    install(session, *BROWSER_TOOLS, *NOTEBOOK_TOOLS)
    # For the tests that make frames, and for an independent reader of vector files.
    install(session, wheel("rv_pipeline_chip_classification", "vector"), "pandas", "geopandas")
    own = ["tests/contracts", "tests/docs/test_guides.py", *ROOT.glob("tests/rv_*/test_*_conformance.py")]
    pytest(session, "tests", *(f"--ignore={path}" for path in own), marks="(real_data or slow) and not random_kills")


@check(requires=["wheels"])
def random_kills(session: nox.Session) -> None:
    """Runs that are killed at random moments end with the bytes of an undisturbed run."""
    install_everything(session)
    pytest(session, "tests", marks="random_kills")


@check(requires=["wheels"])
def minimums(session: nox.Session) -> None:
    """The lowest version of every direct requirement but torch, those of extras that need no more than wheels too."""
    path = ROOT / "build" / "minimums.txt"
    path.write_text("\n".join(lowest_versions()) + "\n")
    install_everything(session, constraints=path)
    install(session, *(wheel(package, ",".join(extras)) for package, extras in EXTRAS.items()), constraints=path)
    pytest(session, *(f"tests/{package}" for package in PACKAGES), "tests/e2e")


@check(requires=["wheels"])
def benchmarks(session: nox.Session) -> None:
    """What things cost, each ratio beside its limit; `-- startup` for one file, `-- commands --beside COMMIT` with another's."""
    install_everything(session)
    session.run("python", "tests/benchmarks/run_benchmarks.py", *session.posargs)


@check(requires=["wheels"])
def coverage(session: nox.Session) -> None:
    """Lines and branches that no quick test reaches; not part of `full`."""
    install_everything(session)
    install(session, "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "-q", "-m", QUICK, "tests", *session.posargs)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


def install_everything(session: nox.Session, **options: Any) -> None:
    """The wheels of every package, and the tools of the tests."""
    install(session, *map(wheel, PACKAGES), TORCH, *TEST_TOOLS, *S3_TOOLS, **options)


def project_of(package: str) -> dict[str, Any]:
    """The table `project` of a package's pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    return project


def interpreter(version: str) -> str | None:
    """The program of a version of Python that has venv and pip; None where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")), reverse=True)]
    for program in filter(None, found):
        told = f"import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != {version!r})"
        if subprocess.run([program, "-c", told], capture_output=True, check=False).returncode == 0:
            return program
    return None


def direct_requirements(package: str) -> list[str]:
    """What a package needs, as in its pyproject.toml."""
    return list(project_of(package)["dependencies"])


def extra_requirements(package: str, extra: str) -> list[str]:
    """What an extra of a package needs."""
    return list(project_of(package)["optional-dependencies"][extra])


def lowest_versions() -> list[str]:
    """`name==lowest` for every direct requirement but torch; the tools of the tests as they are elsewhere."""
    required = [r for package in PACKAGES for r in direct_requirements(package)]
    required += [
        r for package, extras in EXTRAS.items() for extra in extras for r in extra_requirements(package, extra)
    ]
    bounds = [match.groups() for match in (re.match(r"([\w.-]+)>=([\w.]+)", r) for r in required) if match]
    own = [package.replace("_", "-") for package in PACKAGES]
    lowest = [f"{name}=={version}" for name, version in bounds if name not in ("torch", *own)]
    tested = (ROOT / "constraints.txt").read_text().splitlines()
    tools = {re.sub(r"\[.*\]", "", tool) for tool in (*TEST_TOOLS, *S3_TOOLS)}
    return [TORCH, *sorted(lowest), *(line for line in tested if line.split("==")[0] in tools)]
