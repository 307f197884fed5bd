"""The runner `batch` passes the conformance kit, on a local AWS Batch and a local S3."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rv_core.testing import RunnerConformance

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def rv_root_uri(module_cloud: Cloud) -> str:
    return f"s3://{module_cloud.setup.bucket}/conformance"


@pytest.fixture(scope="module")
def rv_environ(module_cloud: Cloud) -> dict[str, str]:
    return {**module_cloud.environ, "AWS_EC2_METADATA_DISABLED": "true"}


class TestBatch(RunnerConformance):
    runner_name = "batch"
