"""Every finding of pre-flight is said, all of them at once, and nothing is submitted."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud

pytestmark = pytest.mark.s3
Rv = Callable[..., tuple[int, str, str]]
HELLO = "rv_core.hello"


@pytest.fixture
def refused(cloud: Cloud, rv_here: Rv) -> Callable[..., str]:
    """`refused(code, words…)`: what `rv run batch` prints when it refuses; not one job was submitted."""

    def run(code: int, *words: str, root: str = "") -> str:
        before = len(cloud.batch.calls_of("SubmitJob"))
        found, _, err = rv_here("run", "batch", HELLO, "-a", "root_uri", root or cloud.new_root(), *words)
        assert (found, len(cloud.batch.calls_of("SubmitJob")) - before) == (code, 0), err
        return err

    return run


def settings_file(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rv.toml").write_text(text)
    monkeypatch.chdir(tmp_path)


def test_a_local_root_is_refused_with_its_place_in_the_config(refused: Callable[..., str]) -> None:
    assert "hello.root_uri: /no/such/folder is a folder of this machine" in refused(2, root="/no/such/folder")


def test_every_local_uri_of_the_config_is_listed(cloud: Cloud, rv_here: Rv, tmp_path: Path) -> None:
    (tmp_path / "scenes.py").write_text(
        "from dataclasses import dataclass, field\n"
        "from rv_core import Config, Items, Pipeline, PipelineConfig, Uri, command\n"
        "@dataclass(kw_only=True)\n"
        "class Scene(Config):\n    id: str\n    uris: list[Uri]\n"
        "@dataclass(kw_only=True)\n"
        "class ScenesConfig(PipelineConfig):\n    scenes: list[Scene]\n    weights: Uri | None = None\n"
        "    def build(self): return Scenes(self)\n"
        "class Scenes(Pipeline):\n"
        "    @command(items='scenes')\n"
        "    def chip(self, scenes: Items): pass\n"
        "def get_config(root_uri: str):\n"
        "    scenes = [Scene(id=f's{i}', uris=['s3://rv-test/a.tif', f'/data/{i}.tif']) for i in range(2)]\n"
        "    return ScenesConfig(root_uri=root_uri, scenes=scenes, weights='weights.pth')\n"
    )
    before = len(cloud.batch.calls_of("SubmitJob"))
    code, _, err = rv_here("run", "batch", tmp_path / "scenes.py", "-a", "root_uri", tmp_path / "out")
    assert code == 2
    assert f"scenes.root_uri: {tmp_path}/out is a folder of this machine" in err
    for place, uri in (("scenes[0].uris[1]", "/data/0.tif"), ("scenes[1].uris[1]", "/data/1.tif")):
        assert f"scenes.{place}: {uri} is a file of this machine; upload it" in err
    assert "weights.pth is a file of this machine" in err
    assert "a.tif is a file" not in err
    assert len(cloud.batch.calls_of("SubmitJob")) == before
    code, _, err = rv_here("run", "batch", tmp_path / "scenes.py", "-a", "root_uri", tmp_path / "out", "--dry-run")
    assert code == 2
    assert "scenes.root_uri" in err


def test_code_beside_the_module_that_does_not_travel_is_named(cloud: Cloud, rv_here: Rv, tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("COUNT = 2\n")
    (tmp_path / "needs_more.py").write_text(
        "import beside_it\nfrom rv_core.hello import HelloConfig\n"
        "def get_config(root_uri: str): return HelloConfig(root_uri=root_uri, num_items=beside_it.COUNT)\n"
    )
    code, _, err = rv_here("run", "batch", tmp_path / "needs_more.py", "-a", "root_uri", cloud.new_root())
    assert code == 2
    assert (
        "imports beside_it from its folder, which other machines do not have; send them along with --ship-code" in err
    )


def test_settings_that_are_missing_are_named_with_what_needs_them(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CPU_JOB_QUEUE", "GPU_JOB_QUEUE", "CPU_JOB_DEFINITION", "GPU_JOB_DEFINITION"):
        monkeypatch.delenv(f"RV_BATCH_{name}")
    err = refused(2)
    assert "batch.cpu_job_queue: is not set; needed for cpu_task; `rv batch setup" in err
    assert "or set RV_BATCH_GPU_JOB_DEFINITION" in err
    assert "4 problems found" in err


def test_queues_and_definitions_that_do_not_exist_are_all_named(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_BATCH_CPU_JOB_QUEUE", "nowhere")
    monkeypatch.setenv("RV_BATCH_GPU_JOB_DEFINITION", "nothing:9")
    err = refused(2)
    assert "batch.cpu_job_queue: there is no job queue 'nowhere' in this account and region" in err
    assert "batch.gpu_job_definition: there is no active job definition 'nothing:9'" in err


def test_a_disabled_queue_is_refused(
    cloud: Cloud, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.batch.aws.make_queue("off", cloud.setup.cpu_environment)
    cloud.batch.client("batch").update_job_queue(jobQueue="off", state="DISABLED")
    monkeypatch.setenv("RV_BATCH_CPU_JOB_QUEUE", "off")
    assert "batch.cpu_job_queue: the job queue off is disabled; enable it" in refused(2)


def test_a_deregistered_definition_is_refused(
    cloud: Cloud, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = cloud.batch.aws.make_definition("old")
    cloud.batch.client("batch").deregister_job_definition(jobDefinition=arn)
    monkeypatch.setenv("RV_BATCH_CPU_JOB_DEFINITION", arn)
    assert "is INACTIVE; name an active revision" in refused(2)
    monkeypatch.setenv("RV_BATCH_CPU_JOB_DEFINITION", "old")
    assert "there is no active job definition 'old'" in refused(2)


def test_a_gpu_job_on_a_queue_without_gpus_can_never_be_placed(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_BATCH_GPU_JOB_QUEUE", "rv-cpu")
    err = refused(2)
    assert (
        "hello.gpu_task: asks for 2 vCPUs, 4096 MiB, 1 GPU, which rv-cpu can never give: none of the instance types"
        in err
    )
    assert "use a GPU queue" in err


def test_requests_that_no_instance_can_hold_are_refused(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file(tmp_path, "[batch.commands.cpu_task]\nmemory_mib = 60000\ncpus = 99\n", monkeypatch)
    err = refused(2)
    assert (
        "hello.cpu_task: asks for 99 vCPUs, 60000 MiB, which rv-cpu can never give: rv-cpu-spot has at most 4 vCPUs"
        in err
    )
    settings_file(tmp_path, "[batch.commands.cpu_task]\nmemory_mib = 60000\n", monkeypatch)
    assert (
        "none of the instance types of rv-cpu-spot (c5.xlarge) is large enough; c5.xlarge has 4 vCPUs, 8192 MiB"
        in refused(2)
    )


def test_a_gpu_job_that_is_only_too_large_is_told_to_ask_for_less(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_BATCH_CPUS", "5")
    (line,) = [line for line in refused(2).splitlines() if "hello.gpu_task" in line]
    assert "rv-gpu-spot has at most 4 vCPUs; ask for less" in line


def test_shared_memory_is_compared_with_the_definition(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file(tmp_path, "[batch.commands.gpu_task]\nshared_memory_mib = 8192\n", monkeypatch)
    err = refused(2)
    assert "8192 MiB of shared memory are wanted, and the job definition rv-gpu has 64" in err
    assert "a job cannot ask for more" in err


def test_a_share_identifier_goes_with_fair_share_queues_only(
    cloud: Cloud, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_BATCH_SHARE_IDENTIFIER", "blue")
    assert "rv-cpu is no fair-share queue: it takes neither share identifier nor priority" in refused(2)
    monkeypatch.delenv("RV_BATCH_SHARE_IDENTIFIER")
    policy = "arn:aws:batch:us-east-1:123456789012:scheduling-policy/fair"
    cloud.batch.aws.make_queue("fair", cloud.setup.cpu_environment, scheduling_policy=policy)
    monkeypatch.setenv("RV_BATCH_CPU_JOB_QUEUE", "fair")
    assert "the job queue fair is a fair-share queue, and no share identifier is set" in refused(2)


def test_more_splits_than_an_array_holds_are_refused(refused: Callable[..., str]) -> None:
    err = refused(2, "-a", "num_items", "10001", "--splits", "10001")
    assert "hello.cpu_task: has 10001 splits; AWS Batch takes at most 10000 in one array job; use fewer --splits" in err


def test_variables_that_belong_to_batch_are_refused(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file(tmp_path, "[batch.environment]\nAWS_BATCH_MINE = 'x'\n", monkeypatch)
    assert "the variable AWS_BATCH_MINE begins with AWS_BATCH" in refused(2)


def test_a_table_that_nearly_fits_a_command_is_pointed_out(
    cloud: Cloud, rv_here: Rv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file(tmp_path, "[batch.commands.cpu_tsk]\ncpus = 2\n[batch.commands.elsewhere]\ncpus = 2\n", monkeypatch)
    code, out, err = rv_here("check", HELLO, "--runner", "batch", "-a", "root_uri", cloud.new_root())
    assert (code, out) == (0, "No errors, 1 warning (batch).\n")
    assert "warning: batch.commands.cpu_tsk: fits no command of this run; did you mean 'cpu_task'?" in err
    assert "elsewhere" not in err


def test_an_image_of_another_version_is_refused(
    cloud: Cloud, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = cloud.batch.aws.make_definition("built-long-ago", memory_mib=1024)
    cloud.batch.client("batch").tag_resource(resourceArn=arn, tags={"rv-core": "0.0.1"})
    monkeypatch.setenv("RV_BATCH_CPU_JOB_DEFINITION", "built-long-ago")
    assert "the image of built-long-ago holds rv-core 0.0.1, here is 0.1.0" in refused(2)


def test_a_root_that_cannot_be_written_to_is_refused(refused: Callable[..., str]) -> None:
    err = refused(2, root="s3://no-such-bucket/root")
    assert "hello.root_uri: s3://no-such-bucket/root cannot be written to: there is no such bucket" in err
    assert "1 problem found" in err


def test_where_the_root_gives_no_plan_the_set_up_is_looked_at_all_the_same(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RV_BATCH_CPU_JOB_QUEUE", "nowhere")
    monkeypatch.delenv("RV_BATCH_GPU_JOB_DEFINITION")
    err = refused(2, root="s3://no-such-bucket/root")
    assert "3 problems found" in err
    for said in ("there is no such bucket", "'nowhere'", "batch.gpu_job_definition: is not set; needed for gpu_task"):
        assert said in err


def test_ec2_that_cannot_be_asked_keeps_nothing_back(
    cloud: Cloud, rv_here: Rv, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", f"http://127.0.0.1:{port}")
    code, out, err = rv_here("check", HELLO, "--runner", "batch", "-a", "root_uri", cloud.new_root())
    assert code == 0, err
    assert "AWS cannot be reached: ec2:DescribeInstanceTypes, so what it tells was not checked" in out + err


def test_checking_writes_nothing(cloud: Cloud, rv_here: Rv) -> None:
    root = cloud.new_root()
    assert rv_here("check", HELLO, "--runner", "batch", "-a", "root_uri", root)[0] == 0
    assert cloud.keys(root) == []


def test_without_a_region_the_environment_is_wrong_not_the_config(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    assert "AWS: no AWS region is set; set AWS_REGION, or batch.region" in refused(3)


def test_without_credentials_the_environment_is_wrong_not_the_config(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("RV_RETRY_S", "1")
    err = refused(3)
    assert "AWS: no AWS credentials found; set AWS_PROFILE or log in" in err
    assert "1 problem found" in err


def test_everything_that_is_wrong_comes_at_once(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RV_BATCH_CPU_JOB_QUEUE", "nowhere")
    monkeypatch.delenv("RV_BATCH_GPU_JOB_QUEUE")
    err = refused(2, "-a", "num_items", "10001", "--splits", "10001", root="/no/such/folder")
    assert "4 problems found before anything was started" in err
    for said in ("hello.root_uri", "10001 splits", "'nowhere'", "batch.gpu_job_queue: is not set"):
        assert said in err


def test_an_unknown_profile_of_aws_is_an_environment_that_is_wrong(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    err = refused(3, root="s3://rv-test/profile")
    assert "the AWS profile does not exist" in err
    assert os.environ["AWS_PROFILE"] in err
