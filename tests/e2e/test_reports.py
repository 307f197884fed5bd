"""Reports and comparisons of real runs; in a browser too, where one is installed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import TINY, TinyRun
from tests.rv_report.conftest import check_page

Rv = Callable[..., Any]

pytest.importorskip("rv_report.hooks")


def evaluated(root: Path, subset: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "eval" / subset / "eval.json").read_text())
    return found


def test_the_report_shows_the_figures_of_eval_json_and_maps(rv: Rv, tiny_run: TinyRun, tmp_path: Path) -> None:
    done = rv("report", tiny_run.root)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    page = check_page(text)
    assert len(text) < 3_000_000
    for subset in ("validation", "test"):
        overall = evaluated(tiny_run.root, subset)["overall"]
        accuracy, macro = overall["accuracy"], overall["macro"]["f1"]
        assert f"{subset}: accuracy {accuracy:.3f}, macro F1 {macro:.3f}" in page.text
        for name, counts in zip(("forest", "shrub", "rock"), overall["confusion"], strict=True):
            assert f"{name} {' '.join(map(str, counts))}" in page.text
    kinds = {(img.get("src") or "").partition(";")[0] for img in page.of("img")}
    assert {"data:image/png", "data:image/jpeg"} <= kinds
    for title in ("Classes", "Maps", "Worst errors", "Calibration", "Training", "Commands and tasks"):
        assert title in page.text


def test_a_hostile_class_name_reaches_nothing(rv: Rv, tiny_run: TinyRun, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_run.root, tmp_path / "root")
    hostile = "<script>alert(1)</script>"
    for path in (path for path in root.rglob("*") if path.suffix in (".json", ".geojson", ".jsonl")):
        path.write_bytes(re.sub(rb'"forest"', json.dumps(hostile).encode(), path.read_bytes()))
    done = rv("report", root)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.html").read_text()
    page = check_page(text)
    assert "<script>alert" not in text
    assert page.text.count(hostile) > 5


def test_a_run_is_not_told_apart_from_its_copy(rv: Rv, tiny_run: TinyRun, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_run.root, tmp_path / "copy")
    done = rv("compare", tiny_run.root, copy, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["config"] == found["data"] == found["code"] == found["versions"] == []
    differences = [row["differences"][0] for row in found["metrics"] if row["differences"][0]]
    assert len(differences) >= 6
    for difference in differences:
        assert {value for value in difference.values() if value is not None} <= {0.0}
    assert not any("other figures" in note for note in found["notes"])
    values = {(row["subset"], row["metric"]): row["values"] for row in found["metrics"]}
    assert values["test", "accuracy"] == [evaluated(copy, "test")["overall"]["accuracy"]] * 2


@pytest.mark.slow
def test_a_sweep_names_exactly_the_learning_rate(rv: Rv, tiny_run: TinyRun, tmp_path: Path) -> None:
    for rate in ("0.0001", "0.003"):
        words = ["-a", f"data={tiny_run.data}", "-a", f"root_uri={tmp_path / 'sweep' / rate}"]
        rates = ["--set", f"train.learning_rate={rate}", "--reuse", tiny_run.root]
        done = rv("run", "inprocess", TINY, *words, *rates)
        assert done.returncode == 0, done.stderr
    done = rv("compare", tmp_path / "sweep", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["config"] == [{"where": "train.learning_rate", "values": ["0.0001", "0.003"]}]
    assert found["data"] == found["code"] == []


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium; skips where there is none."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: no page is opened in a browser"
    )
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium is installed (apt-get install chromium): no page is opened in a browser")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["tiny", "hello", "comparison"])
def test_a_browser_shows_it_whole_on_a_screen_and_on_a_telephone(
    rv: Rv, tiny_run: TinyRun, tmp_path: Path, what: str
) -> None:
    if what == "hello":
        words = ["-a", f"root_uri={tmp_path / 'root'}", "-a", "num_items=200", "--splits", "200"]
        assert rv("-q", "run", "inprocess", "hello", *words).returncode == 0
    root = tmp_path / "root" if what == "hello" else tiny_run.root
    words = (
        ["compare", root, *(shutil.copytree(root, tmp_path / f"copy-{number}") for number in range(2, 7)), "--html"]
        if what == "comparison"
        else ["report", root, "-o"]
    )
    assert rv(*words, "page.html").returncode == 0
    with browser() as opened:
        for width in (1280, 400):
            for scheme in ("light", "dark"):
                _look(opened, tmp_path / "page.html", width, scheme)
        if what == "tiny":
            _swipe(opened, tmp_path / "page.html")


def _look(opened: Any, path: Path, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("data:") else None)
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    found = Axe().run(page).response["violations"]
    assert [(one["impact"], one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert said == [path.as_uri()]
    page.close()


def _swipe(opened: Any, path: Path) -> None:
    page = opened.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    figure = page.locator(".map").first
    assert figure.locator(".layer:visible").count() == 1
    figure.get_by_label("wrong cells").check()
    assert figure.locator(".layer:visible").get_attribute("alt").startswith("wrong cells of")
    figure.locator("input[type=range]").fill("20")
    assert figure.locator(".stack").evaluate("stack => stack.style.getPropertyValue('--cut')") == "20%"
    stack = figure.locator(".stack")
    stack.click(position={"x": 0.75 * stack.bounding_box()["width"], "y": 10})
    assert figure.locator("input[type=range]").input_value() == "75"
    page.close()
