"""`rv compare`: what differs between roots, told where a person reads it, and as files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.rv_report.conftest import HOSTILE, check_page

from rv_core import ReportOutcomes, api
from rv_core.hello import HelloConfig
from rv_report.comparing.comparison import compared
from rv_report.comparing.output import csv_of, interval_text, page_of
from rv_report.comparing.roots import ComparedRoot, labels_of
from rv_report.page import render

Rv = Callable[..., Any]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three roots in a folder, which differ in one field."""
    folder = tmp_path_factory.mktemp("sweep")
    configs = [
        HelloConfig(root_uri=str(folder / greeting), name=greeting, num_items=2, greeting=greeting)
        for greeting in ("hi", "hello", HOSTILE[:8])
    ]
    for config in configs:
        api.run(replace(config, root_uri=config.root_uri.replace("<script>", "odd"), name=""), quiet=True)
    return folder


def outcomes(predicted: list[int], **changes: Any) -> ReportOutcomes:
    truth = [0, 1] * (len(predicted) // 2)
    accuracy = float(np.mean(np.array(predicted) == truth))
    values = {
        "subset": "test",
        "metrics": {"accuracy": accuracy, "calibration error": 0.1},
        "classes": ["a", "b"],
        "cells": [f"s [{i}]" for i in range(len(predicted))],
        "places": [(15 + 0.001 * (i % 40), 47 + 0.001 * (i // 40)) for i in range(len(predicted))],
        "groups": [0] * len(predicted),
        "truth": truth,
        "predicted": predicted,
    }
    return ReportOutcomes(**{**values, **changes})


def root(label: str, found: ReportOutcomes | None = None, **facts: Any) -> ComparedRoot:
    known = {"config": {"rate": 1}, "outcomes": {} if found is None else {found.subset: found}}
    return ComparedRoot(label, f"/{label}", "p", "done", **{**known, **facts})


def test_a_folder_of_roots_names_exactly_what_differs(rv: Rv, sweep: Path) -> None:
    done = rv("compare", sweep)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "config differs:",
        "  where     hello  hi  odd",
        "  greeting  hello  hi  <script>",
        "data: no files from elsewhere were read",
        "code: no code of the user's own was run",
        "versions: the versions are the same",
        "No metrics are compared: no root has an evaluation that an installed plugin tells of.",
    ]


def test_all_of_it_is_written_as_a_page_a_table_and_json(rv: Rv, sweep: Path, tmp_path: Path) -> None:
    words = ["compare", sweep / "hi", sweep / "odd", "--html", "c.html", "--csv", "c.csv", "--json"]
    for _ in range(2):  # files of ours are replaced
        done = rv(*words)
        assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["config"] == [{"where": "greeting", "values": ["hi", "<script>"]}]
    assert [one["label"] for one in found["roots"]] == ["hi", "odd"]
    page = check_page((tmp_path / "c.html").read_text())
    assert "greeting hi <script>" in page.text
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert [(row["part"], row["name"], row["root"], row["value"]) for row in rows] == [
        ("config", "greeting", "hi", "hi"),
        ("config", "greeting", "odd", "<script>"),
    ]
    (tmp_path / "mine.csv").write_text("mine")
    refused = rv("compare", sweep, "--csv", "mine.csv")
    assert refused.returncode == 2
    assert "no table of rv compare" in refused.stderr


def test_the_report_of_a_folder_of_roots_is_one_table_of_them(rv: Rv, sweep: Path, tmp_path: Path) -> None:
    done = rv("report", sweep)
    assert done.returncode == 0, done.stderr
    page = check_page((tmp_path / "report.html").read_text())
    assert "Comparison of 3 runs" in page.text
    assert "greeting hello hi <script>" in page.text


def test_less_than_two_roots_is_an_error(rv: Rv, sweep: Path, tmp_path: Path) -> None:
    alone = rv("compare", sweep / "hi")
    assert alone.returncode == 2
    assert "name two roots or more" in alone.stderr
    nowhere = rv("compare", sweep / "hi", tmp_path / "nowhere")
    assert (nowhere.returncode, nowhere.stderr.splitlines()[0]) == (2, "usage error: no run found here")


def test_inputs_that_differ_are_told(rv: Rv, sweep: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep / "hi", tmp_path / "copy")
    for manifest in (copy / ".rv" / "done" / "cpu_task").iterdir():
        plain = json.loads(manifest.read_text())
        plain["parts"]["item_inputs"] = {"s3://bucket/a.tif": "sha256:1"}
        manifest.write_text(json.dumps(plain))
    done = rv("compare", sweep / "hi", copy)
    assert "data differs:\n  where              hi  copy\n  s3://bucket/a.tif  –   sha256:1\n" in done.stdout


def test_an_improvement_is_marked_and_equal_answers_are_not() -> None:
    rng = np.random.default_rng(0)
    right = np.array([0, 1] * 400)
    wrong = np.where(rng.random(800) < 0.3, 1 - right, right).tolist()
    found = compared([root("a", outcomes(wrong)), root("b", outcomes(wrong)), root("c", outcomes(right.tolist()))])
    accuracy, calibration = found.metrics
    assert interval_text(accuracy.intervals[0]) == "+0.000 [+0.000, +0.000]"
    assert interval_text(accuracy.intervals[1]).endswith(" *")
    assert calibration.intervals == (None, None)
    (note,) = found.notes  # what is the same of several roots is said once
    assert note.startswith("test: b and c, each with a, have 800 cells in common, in ")
    assert len(csv_of(found).splitlines()) == 1 + 2 * 3


def test_only_cells_that_both_have_are_compared() -> None:
    one, two = outcomes([0, 1, 0, 1]), outcomes([0, 1, 0, 1], cells=["s [0]", "s [1]", "s [9]", "t [0]"])
    found = compared([root("a", one), root("b", two)])
    assert found.notes[0].startswith("test: b and a have 2 cells in common")
    assert "no interval is claimed; 4 cells of one alone are left out." in found.notes[0]
    apart = compared([root("a", one), root("b", outcomes([0, 1], cells=["x", "y"]))])
    assert "no cell of test in common" in apart.notes[0]
    assert apart.metrics[0].intervals == (None,)


def test_classes_in_another_order_and_other_labels_are_told_by_name() -> None:
    one = outcomes([0, 1] * 20)
    turned = outcomes([1, 0] * 20, classes=["b", "a"], truth=[1, 0] * 19 + [1, 1], metrics={"accuracy": 39 / 40})
    found = compared([root("a", one), root("b", turned)])
    assert found.metrics[0].intervals[0].difference == pytest.approx(-1 / 40)
    assert "; 1 cell has another label." in found.notes[0]


def test_figures_that_the_cells_do_not_give_and_roots_without_any_are_told() -> None:
    odd = outcomes([0, 1] * 20, metrics={"accuracy": 0.5})
    found = compared(
        [root("a", outcomes([0, 1] * 20)), root("b", odd), root("c", problems=("its newest run is failed",))]
    )
    assert found.notes[0] == "c: its newest run is failed."
    assert "test: c is not compared: c has no evaluation of test." in found.notes
    assert "test: the cells of b give other figures than its files: run eval again (--rerun)." in found.notes
    assert found.metrics[0].values == (1.0, 0.5, None)


def test_numbers_of_other_pipelines_are_compared_without_an_interval() -> None:
    found = compared([root("a", numbers={"total": 3}), root("b", numbers={"total": 5})])
    assert [(row.metric, row.values, row.intervals) for row in found.metrics] == [("total", (3, 5), (None,))]
    assert "no interval is claimed" in found.notes[0]


def test_hostile_text_reaches_neither_page_nor_spreadsheet() -> None:
    names = ["=cmd()", HOSTILE]
    one = outcomes([0, 1] * 20, classes=names, metrics={f"F1 of {HOSTILE}": 1.0})
    facts = {"config": {"=1+1": HOSTILE}, "versions": {HOSTILE: "1"}}
    found = compared([root(HOSTILE, one, **facts), root("b", one, config={"=1+1": 2})])
    text = render(page_of(found))
    check_page(text)
    assert "<script>alert" not in text
    table = csv_of(found)
    assert "\x1b" not in table
    assert not any(row["name"].startswith("=") for row in csv.DictReader(table.splitlines()))


def test_labels_are_as_long_as_tells_roots_apart() -> None:
    assert labels_of(["/a/x", "/a/y/"]) == ["x", "y"]
    assert labels_of(["/a/out", "s3://b/out"]) == ["a/out", "b/out"]
