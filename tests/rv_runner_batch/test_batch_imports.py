"""Submitting needs neither arrays nor rasters nor models, and little time of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud

HEAVY = {"numpy", "rasterio", "shapely", "torch", "torchvision", "safetensors", "PIL"}
SCRIPT = """
import json, os, sys, time
from rv_core.cli.app import main
code = main(sys.argv[1:])
sys.stdout.flush()
used = os.times()
print(json.dumps({"code": code, "cpu_s": used.user + used.system, "modules": sorted(sys.modules)}))
"""


@pytest.mark.s3
def test_submitting_imports_nothing_heavy_and_takes_less_than_two_seconds(cloud: Cloud) -> None:
    with cloud.batch.holding("SUBMITTED"):
        words = ("run", "batch", "rv_core.hello", "-a", "root_uri", cloud.new_root(), "--splits", "50")
        done = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
        seen = json.loads(done.stdout.splitlines()[-1])
        assert seen["code"] == 0, done.stderr
        for job in cloud.jobs_since(0):
            cloud.batch.client("batch").terminate_job(jobId=job["jobId"], reason="test")
    assert {name.partition(".")[0] for name in seen["modules"]} & HEAVY == set()
    assert "boto3" in seen["modules"]
    assert seen["cpu_s"] < 2.0


def test_a_task_asks_the_runner_for_its_index_without_boto3() -> None:
    code = (
        "import sys; from rv_runner_batch.runner import BatchRunner\n"
        "BatchRunner().split_index({'AWS_BATCH_JOB_ARRAY_INDEX': '1'})\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'boto3', 'botocore', 'obstore', 'typer', 'rich'}))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
