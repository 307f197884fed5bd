"""From a plan to calls of sbatch: order, dependencies, arrays and their chunks, what each job asks for."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rv_core import Job, Plan, Resources, Task
from rv_runner_slurm.job_settings import job_settings
from rv_runner_slurm.preflight import option_findings
from rv_runner_slurm.settings import CommandSettings, SlurmSettings
from rv_runner_slurm.submission import (
    JobRequest,
    RunFacts,
    chunk_size,
    comment_of,
    job_name,
    render,
    request_key,
    requests_of,
)


def job(name: str, num_tasks: int = 1, *requires: str, **resources: Any) -> Job:
    job_id = f"p.{name}"
    ids = [job_id] if num_tasks == 1 else [f"{job_id}.{n + 1}-of-{num_tasks}" for n in range(num_tasks)]
    tasks = tuple(Task(id_, job_id, index, num_tasks) for index, id_ in enumerate(ids))
    return Job(job_id, "p", name, tasks, tuple(f"p.{r}" for r in requires), Resources(**resources))


def facts(**changes: Any) -> RunFacts:
    values: dict[str, Any] = {
        "run_id": "r1",
        "folder": Path("/shared/out/.rv/runs/r1/slurm"),
        "argv": lambda job: ["python", "-m", "rv_core", "run-command", "c.json", job.command],
        "environ": lambda job: {"RV_RUN_ID": "r1"},
        "root_of": lambda pipeline: "/shared/out",
    }
    return RunFacts(**{**values, **changes})


def submit(*jobs: Job, settings: SlurmSettings | None = None, **changes: Any) -> dict[str, JobRequest]:
    requests = requests_of(Plan(jobs), settings or SlurmSettings(), facts(**changes))
    return {request.key: request for request in requests}


def option(request: JobRequest, name: str) -> str | None:
    found = [o.partition("=")[2] for o in request.options if o.partition("=")[0] == f"--{name}"]
    return found[-1] if found else None


def test_a_split_job_is_an_array_and_a_single_task_is_none() -> None:
    requests = submit(job("chip", 4), job("train", 1, "chip"))
    assert option(requests["p.chip"], "array") == "0-3"
    assert option(requests["p.train"], "array") is None


def test_jobs_that_require_nothing_are_held_and_others_wait_for_all_that_they_require() -> None:
    requests = submit(job("a", 2), job("b"), job("c", 1, "a", "b"))
    ids = {"p.a": "11", "p.b": "12"}
    assert [requests[key].is_held for key in ("p.a", "p.b", "p.c")] == [True, True, False]
    assert requests["p.a"].argv_options({})[-1] == "--hold"
    assert requests["p.c"].argv_options(ids)[-1] == "--dependency=afterok:11:12"


def test_no_dependant_of_a_failed_job_waits_for_ever() -> None:
    assert all("--kill-on-invalid-dep=yes" in r.options for r in submit(job("a"), job("b", 1, "a")).values())


def test_an_array_above_the_clusters_limit_is_cut_into_chunks_that_dependants_wait_for() -> None:
    requests = submit(job("chip", 12), job("train", 1, "chip"), max_array_size=5)
    assert [(r.key, option(r, "array")) for r in requests.values()] == [
        ("p.chip", "0-3"),
        ("p.chip+2", "0-3"),
        ("p.chip+3", "0-3"),
        ("p.train", None),
    ]
    assert requests["p.train"].after == ("p.chip", "p.chip+2", "p.chip+3")
    assert ["index=$((4 + SLURM_ARRAY_TASK_ID))" in r.script for r in requests.values()] == [False, True, False, False]


@given(num_tasks=st.integers(2, 300), max_array_size=st.integers(1, 60))
def test_chunks_hold_every_task_once_and_are_found_by_their_number(num_tasks: int, max_array_size: int) -> None:
    requests = list(submit(job("chip", num_tasks), max_array_size=max_array_size).values())
    seen = [r.traces.first + index for r in requests for index in range(r.num_tasks) if r.traces.first is not None]
    assert seen == list(range(num_tasks))
    assert all(1 <= request.num_tasks <= max_array_size for request in requests)
    size = chunk_size(num_tasks, len(requests))
    for split_index in range(num_tasks):
        number, index = divmod(split_index, size)
        assert requests[number].key == request_key("p.chip", number)
        assert requests[number].traces.first == split_index - index


def test_what_a_command_declares_is_asked_for() -> None:
    request = submit(job("train", 1, cpus=4, memory_mib=2000, gpus=2, timeout_s=3600, attempts=3))["p.train"]
    asked = {name: option(request, name) for name in ("cpus-per-task", "mem", "gres", "time")}
    # Three attempts of an hour, and five minutes besides: the task itself ends an attempt that takes too long.
    assert asked == {"cpus-per-task": "4", "mem": "2000M", "gres": "gpu:2", "time": "185"}


def test_nothing_is_asked_for_that_nobody_named() -> None:
    request = submit(job("train"))["p.train"]
    names = ("partition", "account", "qos", "constraint", "cpus-per-task", "mem", "gres", "time")
    assert [option(request, name) for name in names] == [None] * len(names)


def test_a_gpu_job_goes_to_the_gpu_partition_with_the_type_of_gpu() -> None:
    settings = SlurmSettings(partition="cpu", gpu_partition="gpu", gpu_type="a100")
    requests = submit(job("chip"), job("train", 1, gpus=1), settings=settings)
    assert (option(requests["p.chip"], "partition"), option(requests["p.chip"], "gres")) == ("cpu", None)
    assert (option(requests["p.train"], "partition"), option(requests["p.train"], "gres")) == ("gpu", "gpu:a100:1")
    assert option(submit(job("t", gpus=1), settings=SlurmSettings(partition="all"))["p.t"], "partition") == "all"


def test_a_table_of_a_job_counts_before_one_of_its_command_and_both_before_the_declaration() -> None:
    settings = SlurmSettings(
        cpus=1,
        memory_mib=500,
        environment={"A": "general", "B": "general"},
        sbatch_options=["--nice=1"],
        commands={
            "train": CommandSettings(cpus=8, gpus=0, environment={"B": "command"}, sbatch_options=["--nice=2"]),
            "p.train": CommandSettings(cpus=16, time_limit_s=90, attempts=7),
        },
    )
    own = job_settings(job("train", 1, cpus=2, gpus=4, timeout_s=10), settings)
    assert (own.cpus, own.memory_mib, own.gpus, own.time_limit_s, own.attempts) == (16, 500, 0, 90, 7)
    assert own.environment == {"A": "general", "B": "command"}
    request = submit(job("train"), settings=settings)["p.train"]
    assert [word for word in request.options if word.startswith("--nice")] == ["--nice=1", "--nice=2"]
    # By its name and its comment a run knows its jobs: nothing takes their place.
    assert [word.partition("=")[0] for word in request.options[-2:]] == ["--job-name", "--comment"]
    assert option(request, "time") == "2"  # Slurm counts minutes


def test_a_command_that_names_no_attempts_gets_those_of_the_settings() -> None:
    assert job_settings(job("a"), SlurmSettings(attempts=4)).attempts == 4
    assert job_settings(job("a", attempts=2), SlurmSettings(attempts=4)).attempts == 2
    assert job_settings(job("a"), SlurmSettings()).attempts == 1


@pytest.mark.parametrize(("time_limit_s", "has_signal"), [(None, True), (3600, True), (200, False)])
def test_a_task_is_told_before_its_time_limit_unless_that_would_be_at_its_start(
    time_limit_s: int | None, has_signal: bool
) -> None:
    request = submit(job("a"), settings=SlurmSettings(time_limit_s=time_limit_s))["p.a"]
    assert ("--signal=B:USR1@60" in request.options) == has_signal


def test_a_limit_of_running_tasks_is_one_of_the_array() -> None:
    settings = SlurmSettings(max_running_tasks=3, commands={"b": CommandSettings(max_running_tasks=0)})
    requests = submit(job("a", 9), job("b", 9), settings=settings)
    assert [option(r, "array") for r in requests.values()] == ["0-8%3", "0-8"]


def test_variables_are_the_runs_and_the_settings() -> None:
    settings = SlurmSettings(environment={"GDAL_CACHEMAX": "500"})
    assert submit(job("a"), settings=settings)["p.a"].environ == {"RV_RUN_ID": "r1", "GDAL_CACHEMAX": "500"}


def test_whether_slurm_may_start_a_job_again_is_a_setting() -> None:
    assert "--requeue" in submit(job("a"))["p.a"].options
    assert "--no-requeue" in submit(job("a"), settings=SlurmSettings(requeue=False))["p.a"].options


def test_a_percent_sign_in_a_folder_is_no_pattern_of_slurm() -> None:
    request = submit(job("a", 2), folder=Path("/data/100%A of it/slurm"))["p.a"]
    assert option(request, "output") == "/data/100%%A of it/slurm/p.a.%a.out"


@given(st.text(min_size=1, max_size=90), st.text(min_size=1, max_size=90))
def test_names_are_valid_and_tell_jobs_apart(first: str, second: str) -> None:
    names = [job_name("20260101-000000-abcdef", key) for key in (first, second)]
    for name in names:
        assert name.startswith("rv-20260101-000000-abcdef-")
        assert len(name) <= 128
        assert name.isascii() and not set(name) & set(" ,;'\"\n")
    assert (names[0] == names[1]) == (first == second)


def test_comments_of_long_roots_stay_apart_and_short() -> None:
    assert comment_of("/data/out") == "rv /data/out"
    for long in ("/data/" + "x" * 4000, "/data/" + "数" * 1300):
        assert len(comment_of(long).encode()) < 650
        assert comment_of(long) != comment_of(long + "y")


def test_what_is_rendered_reads_back_as_the_options_of_sbatch() -> None:
    requests = submit(job("a", 2), job("b", 1, "a"), settings=SlurmSettings(environment={"X": "it's; $HOME"}))
    text = render(list(requests.values()))
    calls = [line for line in text.splitlines() if line.startswith("env ")]
    assert shlex.split(calls[0].removesuffix(" <<'END'")) == [
        "env",
        "RV_RUN_ID=r1",
        "X=it's; $HOME",
        "sbatch",
        *requests["p.a"].argv_options({}),
    ]
    assert "--dependency=afterok:<id of p.a>" in shlex.split(calls[1].removesuffix(" <<'END'"))


def test_ten_thousand_tasks_are_requested_in_a_moment() -> None:
    def environ(_: Job) -> Mapping[str, str]:
        return {}

    requests = submit(job("chip", 10_000), environ=environ, max_array_size=1001)
    assert sum(request.num_tasks for request in requests.values()) == 10_000
    assert len(requests) == 10


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("--array=0-9", True),
        ("--arr=0-9", True),
        ("-a0-9", True),
        ("-o", True),
        ("--output=x.log", True),
        ("--export=NONE", True),
        ("--wait", True),
        ("--wait-all-nodes=1", False),
        ("--mail-type=FAIL", False),
        ("--exclude=n7", False),
        ("--exclusive", False),
        ("-p", False),
        ("debug", False),
        ("--dependency=afterok:7", False),
    ],
)
def test_an_option_of_sbatch_that_the_runner_gives_itself_is_refused_in_settings(given: str, taken: bool) -> None:
    general = [*option_findings(Plan((job("a"), job("b"))), SlurmSettings(sbatch_options=[given]))]
    assert [found.where for found in general] == ["slurm.sbatch_options"] * taken
    own = SlurmSettings(commands={"b": CommandSettings(sbatch_options=[given])})
    findings = [*option_findings(Plan((job("a"), job("b"))), own)]
    assert [found.where for found in findings] == ["slurm.commands.b.sbatch_options"] * taken
    assert all(repr(given) in found.what for found in findings)
