"""No block of a page is only shown: what is not run as a step is run by itself, read, or looked through."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.docs.page_fences import PAGES, REASONS, ROOT, Fence, fences
from tests.docs.verb_tree import commands

pytest.importorskip("rv_pipeline_chip_classification.hooks")
pytest.importorskip("rv_runner_slurm.hooks")
pytest.importorskip("rv_runner_batch.hooks")

_FENCES = [fence for page in PAGES for fence in fences(page)]
#: Page -> the test that runs its Python in the place where it makes sense.
_PYTHON_RUN_ELSEWHERE = {
    "docs/python.md": "tests/docs/test_python_page.py",
    "rv_pipeline_chip_classification/README.md": "tests/e2e/test_results_in_python.py",
}


def of(language: str) -> list[Fence]:
    return [fence for fence in _FENCES if fence.language == language and not fence.is_step]


def name_of(fence: Fence) -> str:
    return fence.name


def test_every_fence_is_a_block_that_something_is_done_with() -> None:
    lines = sum(len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert lines == 2 * len(_FENCES), "a fence that is indented or not closed is not seen"
    known = {"", "console", "python", "toml", "json"}
    assert [f.name for f in _FENCES if f.language not in known and not f.is_step] == []
    marks = sum(len(re.findall("^<!-- not run", page.read_text(), re.MULTILINE)) for page in PAGES)
    assert marks == sum(bool(fence.unrun) for fence in _FENCES), "a mark stands in the line before its block"


def test_only_commands_stay_unrun_and_for_a_known_reason() -> None:
    wrong = [f"{f.name}: {f.unrun}" for f in _FENCES if f.unrun and (f.unrun not in REASONS or f.language != "console")]
    assert wrong == []


@pytest.mark.parametrize("fence", of(""), ids=name_of)
def test_a_block_without_a_language_holds_no_command(fence: Fence) -> None:
    assert not re.search(r"^(\$ |rv |make |pip )", fence.body, re.MULTILINE)


@pytest.mark.parametrize("fence", [f for f in _FENCES if f.unrun], ids=name_of)
def test_verbs_and_options_of_what_is_not_run_are_there(fence: Fence) -> None:
    assert list(unknown_words(fence.body)) == []


def unknown_words(body: str) -> Any:
    """What the lines of a console block ask `rv` for and it does not have."""
    known = dict(commands())
    for line in re.sub(r"\\\n", "", body).splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True) if line.startswith("$ ") else []
        if words[:1] != ["rv"]:
            continue
        verb = max((name for name in known if words[: name.count(" ") + 1] == name.split()), key=len)
        options = {name for p in known[verb].params for name in (*p.opts, *p.secondary_opts)}
        if verb == "rv" and len(words) > 1:
            yield f"verb {words[1]}"
        yield from (word for word in words[1:] if word[0] == "-" and word.partition("=")[0] not in options)


def test_a_verb_or_option_that_is_not_there_is_found() -> None:
    assert list(unknown_words("$ rv run local x.py --spilts 3 \\\n  -a a b\n$ rv walk out\n$ ls -l\n")) == [
        "--spilts",
        "verb walk",
    ]


@pytest.mark.parametrize("fence", of("json"), ids=name_of)
def test_json_is_json(fence: Fence) -> None:
    assert json.loads(fence.body)


@pytest.mark.parametrize("fence", of("toml"), ids=name_of)
def test_settings_are_settings(fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rv_core.settings.sections import explain_settings

    (tmp_path / "default.toml").write_text(fence.body)
    monkeypatch.setenv("RV_CONFIG_DIR", str(tmp_path))
    origins = {setting.origin for setting in explain_settings(cwd=tmp_path)}
    assert any("default.toml" in origin or "profile" in origin for origin in origins)


@pytest.mark.parametrize("fence", [f for f in of("python") if f.page not in _PYTHON_RUN_ELSEWHERE], ids=name_of)
def test_python_runs(fence: Fence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_what_is_named(tmp_path)
    names: dict[str, Any] = {"base": lambda: None}
    exec("from dataclasses import replace\nfrom rv_pipeline_chip_classification import *", names)
    exec(compile(fence.body, fence.name, "exec"), names)
    if "get_config" in names:
        assert names["get_config"]("local").dataset.train_scenes


def write_what_is_named(folder: Path) -> None:
    """The files that the blocks read when a config is made."""
    (folder / "scenes.csv").write_text("image,labels,subset\na.tif,b.tif,train\n")
    assets = {name: {"href": f"{name}.tif"} for name in ("B04", "B08", "B11")}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "i", "properties": {}, "assets": assets, "links": []}
    found = {"type": "FeatureCollection", "features": [item]}
    (folder / "items.json").write_text(json.dumps(found))
    box, june = [8.1, 46.2, 8.4, 46.4], "2024-06-01/2024-06-30"
    search = {"collections": ["sentinel-2-l2a"], "bbox": box, "datetime": june}
    asked = {"api": "https://stac.example.com/v1", "search": search}
    (folder / "june.json").write_text(json.dumps({**found, "rv:search": asked}))


def test_the_tests_that_run_python_elsewhere_read_it_from_the_page() -> None:
    for page, test in _PYTHON_RUN_ELSEWHERE.items():
        text = (ROOT / test).read_text()
        assert all(f'"{part}"' in text for part in page.split("/")[-2:]), test
