"""The image is not your code: tasks compare first, and `--ship-code` sends along what is named."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugin_fixtures import Site
    from tests.rv_runner_batch.conftest import Cloud

pytestmark = pytest.mark.s3
pytest_plugins = ("tests.plugin_fixtures",)
Rv = Callable[..., Any]

PIPELINE = """
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command

@dataclass(kw_only=True)
class ProbeConfig(PipelineConfig):
    word: str = "hi"
    def build(self):
        return ProbePipeline(self)

class ProbePipeline(Pipeline):
    @command(items=lambda config: ["a", "b"], reads=("word",))
    def look(self, items: Items[str]) -> None:
        from rv_probe.layers import LAYERS
        for item in items:
            self.storage.write_text(f"look/{item}.txt", f"{self.config.word} {LAYERS}")

def get_config(root_uri: str, word: str = "hi"):
    return ProbeConfig(root_uri=root_uri, word=word)
"""


def install(site: Site, version: str, layers: str = "1", pipeline: str = PIPELINE) -> None:
    """A distribution `rv-probe` with a pipeline."""
    files = {
        "__init__.py": f'__version__ = "{version}"\n',
        "pipeline.py": pipeline,
        "layers.py": f"LAYERS = '{layers}'\n",
    }
    hooks = """
    @hookimpl
    def rv_configs():
        return [ConfigSpec(plugin="rv-probe", types={"probe": "rv_probe.pipeline:ProbeConfig"})]
    """
    site.install("rv-probe", hooks, version=version, files=files)


@pytest.fixture
def image(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """What is installed in the image besides rv itself; the CPU queue uses it."""
    from tests.local_batch.images import Image
    from tests.plugin_fixtures import Site

    folder = tmp_path / "image"
    folder.mkdir()
    found = Site(folder)
    name = f"probe:{tmp_path.name}"
    cloud.batch.images[name] = Image(environ=found.environ())
    definition = f"probe-{abs(hash(tmp_path))}"
    cloud.batch.aws.make_definition(definition, image=name, memory_mib=512)
    monkeypatch.setenv("RV_BATCH_CPU_JOB_DEFINITION", definition)
    return found


def submit(cloud: Cloud, rv: Rv, site: Site, *words: str) -> dict[str, Any]:
    """Submit and wait for the end; the job."""
    before = len(cloud.batch.jobs())
    done = rv("run", "batch", "rv_probe.pipeline", *words, env=site.environ())
    assert done.returncode == 0, done.stderr
    (job,) = cloud.jobs_since(before)
    return dict(cloud.batch.wait_for_status(job["jobId"]))


def failed_task(cloud: Cloud, rv: Rv, site: Site, root: str) -> dict[str, Any]:
    status = json.loads(rv("status", root, "--json", env=site.environ()).stdout)
    (task,) = [task for job in status["jobs"] for task in job["tasks"] if task["state"] == "failed"]
    return dict(task)


def test_another_version_in_the_image_fails_at_once_naming_both_and_passes_with_ship_code(
    cloud: Cloud, rv: Rv, site: Site, image: Site
) -> None:
    install(site, "0.2", layers="two")
    install(image, "0.1", layers="one")
    root = cloud.new_root()
    assert submit(cloud, rv, site, "-a", "root_uri", root)["status"] == "FAILED"
    task = failed_task(cloud, rv, site, root)
    assert task["exit_code"] == 3
    assert "rv_probe is 0.1 here and was 0.2 where the run was submitted" in task["reason"]
    assert task["ended"] - task["started"] < 5
    assert submit(cloud, rv, site, "-a", "root_uri", root, "--ship-code=rv_probe")["status"] == "SUCCEEDED"
    assert cloud.text(f"{root}/look/a.txt") == "hi two", "the code that travelled was used, not that of the image"


def test_an_edit_without_a_new_version_is_seen_too(cloud: Cloud, rv: Rv, site: Site, image: Site) -> None:
    install(site, "0.1", pipeline=PIPELINE + "\n# edited\n")
    install(image, "0.1")
    root = cloud.new_root()
    submit(cloud, rv, site, "-a", "root_uri", root)
    reason = failed_task(cloud, rv, site, root)["reason"]
    assert "the module rv_probe.pipeline is " in reason
    assert reason.count("SHA-256") == 1


def test_what_the_image_lacks_is_named_and_may_travel(cloud: Cloud, rv: Rv, site: Site, image: Site) -> None:
    install(site, "0.1")
    root = cloud.new_root()
    submit(cloud, rv, site, "-a", "root_uri", root)
    assert "the module rv_probe.pipeline is not here" in failed_task(cloud, rv, site, root)["reason"]
    shipped = submit(cloud, rv, site, "-a", "root_uri", root, "--ship-code", "--splits", "2")
    assert shipped["status"] == "SUCCEEDED"
    assert cloud.text(f"{root}/look/b.txt") == "hi 1"


def test_a_module_travels_with_what_it_imports_from_its_folder_and_nothing_else(
    cloud: Cloud, rv: Rv, site: Site, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    (folder / "my_layers" / "deep").mkdir(parents=True)
    (folder / "my_layers" / "__init__.py").write_text("")
    (folder / "my_layers" / "deep" / "__init__.py").write_text("WORD = 'from deep'\n")
    (folder / "unused.py").write_text("raise RuntimeError('never')\n")
    (folder / "secrets.txt").write_text("password\n")
    (folder / "experiment.py").write_text(
        "from rv_core.hello import HelloConfig\n"
        "from my_layers.deep import WORD\n"
        "def get_config(root_uri: str): return HelloConfig(root_uri=root_uri, num_items=1, greeting=WORD)\n"
    )
    root = cloud.new_root()
    done = rv("run", "batch", folder / "experiment.py", "-a", "root_uri", root, "--ship-code", "--wait", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert cloud.text(f"{root}/cpu_task/item-0.txt") == "from deep item-0\n"
    (name,) = [key for key in cloud.keys(root) if key.startswith(".rv/code/")]
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    data = cloud.batch.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/{name}")["Body"].read()
    names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    assert names == ["experiment.py", "my_layers/__init__.py", "my_layers/deep/__init__.py"]


def test_code_that_was_changed_on_its_way_is_refused(cloud: Cloud, rv: Rv, site: Site, image: Site) -> None:
    install(site, "0.1")
    root = cloud.new_root()
    before = len(cloud.batch.jobs())
    with cloud.batch.holding("SUBMITTED"):
        words = ("run", "batch", "rv_probe.pipeline", "-a", "root_uri", root, "--ship-code")
        done = rv(*words, env=site.environ())
        assert done.returncode == 0, done.stderr
        (name,) = [key for key in cloud.keys(root) if key.startswith(".rv/code/")]
        cloud.put(f"{root}/{name}", "something else")
    cloud.batch.wait_for_status(cloud.jobs_since(before)[0]["jobId"], "FAILED")
    assert "the code that travels with this config was changed" in failed_task(cloud, rv, site, root)["reason"]


def test_an_array_without_its_runner_in_the_image_fails_instead_of_doing_the_first_share_twice(
    cloud: Cloud, rv: Rv, site: Site, image: Site
) -> None:
    from tests.local_batch.images import Image

    install(site, "0.1")
    definition = next(
        iter(cloud.batch.client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"][::-1])
    )
    cloud.batch.images[definition["containerProperties"]["image"]] = Image(
        environ={**site.environ(), "RV_DISABLE_PLUGINS": "batch"}
    )
    root = cloud.new_root()
    before = len(cloud.batch.jobs())
    words = ("run", "batch", "rv_probe.pipeline", "-a", "root_uri", root, "--splits", "2")
    assert rv(*words, env=site.environ()).returncode == 0
    job = cloud.batch.wait_for_status(cloud.jobs_since(before)[0]["jobId"], "FAILED")
    child = cloud.batch.job(f"{job['jobId']}:1")
    assert [attempt["container"]["exitCode"] for attempt in child["attempts"]] == [3]
    assert "the runner 'batch' is not installed here" in cloud.batch.log_of(child["jobId"])
