"""A run goes on where it stopped, whoever worked on it before: this machine or AWS Batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.rv_runner_batch.conftest import Cloud, Gate

pytestmark = pytest.mark.s3
Rv = Callable[..., tuple[int, str, str]]
Gated = Callable[..., tuple[int, str, str]]
HELLO = "rv_core.hello"


def items_done(cloud: Cloud, root: str, command: str) -> list[str]:
    """The items of a command that have a manifest."""
    keys = [key for key in cloud.keys(root) if key.startswith(f".rv/done/{command}/")]
    return [key.rpartition("/")[2].partition(".")[0] for key in keys]


def test_what_was_begun_on_this_machine_is_finished_by_batch(cloud: Cloud, gate: Gate, gated: Gated) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    flag = gate.order("fail", "i2")
    gate.open()
    code, _, err = gated(root, "--splits", "4", "--keep-going", runner="local")
    assert code == 1, err
    assert len(items_done(cloud, root, "work")) == 3
    flag.unlink()
    code, out, err = gated(root, "--splits", "4", "--wait")
    assert code == 0, err
    assert "gated.work    run   1 of 4 items · " in out
    work, train, report = cloud.jobs_since(before)
    assert "arrayProperties" not in work, "one item is a plain job"
    assert [job["tags"]["rv-job"] for job in (work, train, report)] == ["gated.work", "gated.train", "gated.report"]
    assert cloud.text(f"{root}/train/weights.txt").startswith("5")


def test_what_was_begun_on_batch_is_finished_on_this_machine(
    cloud: Cloud, gate: Gate, gated: Gated, rv_here: Rv
) -> None:
    pytest.importorskip("rv_runner_local.hooks")
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    flag = gate.order("fail", "i3")
    gate.open()
    assert gated(root, "--splits", "2")[0] == 0
    cloud.batch.wait_for_status(cloud.jobs_since(before)[-1]["jobId"], "FAILED")
    flag.unlink()
    before = len(cloud.batch.jobs())
    code, out, err = gated(root, "--splits", "2", runner="local")
    assert code == 0, err
    assert "1 of 4 items" in out
    assert len(cloud.batch.jobs()) == before
    assert cloud.text(f"{root}/report/all.txt") == "done\n"
    assert rv_here("status", root)[1].splitlines()[0].endswith("  done")


def test_only_unfinished_items_of_many_are_submitted_again_as_one_small_array(
    cloud: Cloud, gate: Gate, gated: Gated
) -> None:
    root, before = cloud.new_root(), len(cloud.batch.jobs())
    flags = [gate.order("fail", name) for name in ("i3", "i7", "i11")]
    gate.open()
    many = ("-a", "num_items", "12", "--splits", "12")
    assert gated(root, *many)[0] == 0
    cloud.batch.wait_for_status(cloud.jobs_since(before)[-1]["jobId"], "FAILED")
    for flag in flags:
        flag.unlink()
    before = len(cloud.batch.jobs())
    code, out, err = gated(root, *many)
    assert code == 0, err
    assert "gated.work    run   3 of 12 items in 3 tasks" in out
    work, train, report = cloud.jobs_since(before)
    assert work["arrayProperties"]["size"] == 3
    assert train["dependsOn"] == [{"jobId": work["jobId"]}]
    assert cloud.batch.wait_for_status(report["jobId"])["status"] == "SUCCEEDED"
    assert sorted(items_done(cloud, root, "work")) == sorted(f"i{index}" for index in range(12))


@pytest.mark.slow
def test_two_hundred_items_with_three_unfinished_plan_an_array_of_three(cloud: Cloud, rv_here: Rv) -> None:
    """The manifests are written by a run in this process; the plan is only looked at."""
    root = cloud.new_root()
    many = (HELLO, "-a", "root_uri", root, "-a", "num_items", "200")
    assert rv_here("run", "inprocess", *many, "cpu_task")[0] == 0
    bucket, _, prefix = root.removeprefix("s3://").partition("/")
    for item in ("item-5", "item-50", "item-150"):
        (key,) = [k for k in cloud.keys(root) if k.startswith(f".rv/done/cpu_task/{item}.")]
        cloud.batch.client("s3").delete_object(Bucket=bucket, Key=f"{prefix}/{key}")
    code, out, err = rv_here("run", "batch", *many, "--splits", "200", "--dry-run")
    assert code == 0, err
    assert "hello.cpu_task  run   3 of 200 items in 3 tasks" in out
    assert '"size": 3' in out
    assert out.count('"jobName"') == 2
