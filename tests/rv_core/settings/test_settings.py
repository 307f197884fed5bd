"""Settings: where they come from, which wins, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from rv_core import ConfigError, Range
from rv_core.config.classes import Secret
from rv_core.redaction import redact
from rv_core.settings.sections import (
    RunSettings,
    explain_settings,
    load_settings,
    run_settings,
    saved_settings,
    settings_findings,
)


@dataclass(frozen=True)
class CloudSettings:
    queue: str = "default-queue"
    attempts: Annotated[int, Range(min=1, max=10)] = 2
    timeout_s: float = 60.0
    tags: tuple[str, ...] = ()
    is_spot: bool = True
    token: Annotated[str | None, Secret()] = None


@dataclass(frozen=True)
class NeedySettings:
    queue: str
    region: str


@dataclass(frozen=True)
class MapSettings:
    limits: dict[str, int] | None = None


class Place:
    """A config folder and a project folder of one test."""

    def __init__(self, tmp_path: Path) -> None:
        self.config = tmp_path / "config"
        self.project = tmp_path / "project"
        self.cwd = self.project / "sub" / "folder"
        self.config.mkdir()
        self.cwd.mkdir(parents=True)
        self.environ = {"RV_CONFIG_DIR": str(self.config)}

    def profile(self, text: str, name: str = "default") -> None:
        (self.config / f"{name}.toml").write_text(text)

    def project_file(self, text: str) -> None:
        (self.project / "rv.toml").write_text(text)

    def load(self, cls: Any = CloudSettings, section: str = "cloud", **options: Any) -> Any:
        return load_settings(cls, section, environ=self.environ, cwd=self.cwd, **options)

    def message(self, *args: Any, **options: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(*args, **options)
        assert caught.value.exit_code == 2
        return str(caught.value)

    def explain(self, **options: Any) -> dict[str, tuple[Any, str]]:
        sections = options.pop("sections", {"cloud": CloudSettings})
        found = explain_settings(environ=self.environ, cwd=self.cwd, sections=sections, **options)
        return {f"{entry.section}.{entry.key}": (entry.value, entry.origin) for entry in found}

    def warnings(self) -> list[str]:
        sections = {"run": RunSettings, "cloud": CloudSettings}
        found = settings_findings(environ=self.environ, cwd=self.cwd, sections=sections)
        assert all(finding.severity == "warning" for finding in found)
        return [str(finding) for finding in found]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_anything_the_defaults_hold(place: Place) -> None:
    assert place.load() == CloudSettings()


def test_each_level_wins_over_the_one_below(place: Place) -> None:
    place.profile('[cloud]\nqueue = "profile"\nattempts = 3\ntimeout_s = 1\nis_spot = false\n')
    place.project_file('[cloud]\nqueue = "project"\nattempts = 4\ntimeout_s = 2\n')
    place.environ.update(RV_CLOUD_QUEUE="environment", RV_CLOUD_ATTEMPTS="5")
    found = place.load(overrides={"queue": "cli", "timeout_s": None})
    assert found == CloudSettings(queue="cli", attempts=5, timeout_s=2.0, is_spot=False)
    assert type(found.timeout_s) is float


def test_origins_are_told(place: Place) -> None:
    place.profile("[cloud]\nattempts = 3\ntimeout_s = 1\n")
    place.project_file("[cloud]\ntimeout_s = 2\n")
    place.environ["RV_CLOUD_QUEUE"] = "q"
    assert place.explain() == {
        "cloud.queue": ("q", "environment RV_CLOUD_QUEUE"),
        "cloud.attempts": (3, f"profile default ({place.config / 'default.toml'})"),
        "cloud.timeout_s": (2.0, f"project ({place.project / 'rv.toml'})"),
        "cloud.tags": ([], "default"),
        "cloud.is_spot": (True, "default"),
        "cloud.token": (None, "default"),
    }


def test_a_named_profile_replaces_the_default_one(place: Place) -> None:
    place.profile('[cloud]\nqueue = "a"\nattempts = 3\n')
    place.profile('[cloud]\nqueue = "b"\n', "gpu")
    assert place.load(profile="gpu") == CloudSettings(queue="b")
    place.environ["RV_PROFILE"] = "gpu"
    assert place.load().queue == "b"
    assert place.load(profile="default").queue == "a"


def test_an_unknown_profile_names_the_near_miss(place: Place) -> None:
    place.profile("", "gpu-spot")
    assert "no profile named 'gpu-sport'; known: gpu-spot" in place.message(profile="gpu-sport")
    assert "did you mean 'gpu-spot'?" in place.message(profile="gpu-sport")
    place.environ["RV_PROFILE"] = "default"
    assert "RV_PROFILE" in place.message()
    place.environ["RV_PROFILE"] = "../project/rv"
    place.project_file("")
    assert "no profile named '../project/rv'" in place.message()


def test_environment_texts_are_converted_by_the_annotation(place: Place) -> None:
    place.environ.update(RV_CLOUD_TAGS="a,b", RV_CLOUD_IS_SPOT="no", RV_CLOUD_TIMEOUT_S="2.5", RV_CLOUD_ATTEMPTS="")
    assert place.load() == CloudSettings(tags=("a", "b"), is_spot=False, timeout_s=2.5)


def test_sections_with_dashes_have_underscores_in_the_environment(place: Place) -> None:
    place.environ["RV_MY_CLOUD_QUEUE"] = "q"
    assert place.load(section="my-cloud").queue == "q"


def test_everything_wrong_is_reported_at_once_with_its_place(place: Place) -> None:
    place.profile('[cloud]\nqueu = "x"\nis_spot = "yes"\ntimeout_s = nan\n')
    place.project_file("[cloud]\nqueue = 3\n")
    place.environ["RV_CLOUD_ATTEMPTS"] = "many"
    text = place.message(overrides={"atempts": 3})
    assert f"{place.config / 'default.toml'} [cloud]: there is no setting 'queu'; did you mean 'queue'?" in text
    assert "default.toml) [cloud] is_spot: expected true or false, got 'yes'" in text
    assert "timeout_s: nan is not a finite number" in text
    assert "rv.toml) [cloud] queue: expected text, got 3" in text
    assert "RV_CLOUD_ATTEMPTS: expected an integer, got 'many'" in text
    assert "command line [cloud]: there is no setting 'atempts'; did you mean 'attempts'?" in text


def test_bounds_hold_wherever_a_value_comes_from(place: Place) -> None:
    place.environ["RV_CLOUD_ATTEMPTS"] = "11"
    assert "11 is above 10" in place.message()
    place.environ.pop("RV_CLOUD_ATTEMPTS")
    assert "0 is below 1" in place.message(overrides={"attempts": 0})


def test_what_is_missing_says_how_to_set_it(place: Place) -> None:
    place.environ["RV_NEEDY_QUEUE"] = "q"
    text = place.message(NeedySettings, "needy")
    assert "[needy] region: is missing; set RV_NEEDY_REGION, or region in a profile" in text


def test_what_no_text_can_say_is_refused_in_the_environment(place: Place) -> None:
    place.environ["RV_MAP_LIMITS"] = "a=1"
    assert "cannot be given in the environment; use a file" in place.message(MapSettings, "map")
    place.environ.pop("RV_MAP_LIMITS")
    place.profile("[map.limits]\na = 1\n")
    assert place.load(MapSettings, "map").limits == {"a": 1}


def test_invalid_toml_names_the_file(place: Place) -> None:
    place.profile("[cloud\n")
    text = place.message()
    assert "not valid TOML" in text
    assert str(place.config / "default.toml") in text


def test_secrets_are_hidden_everywhere(place: Place) -> None:
    place.profile('[cloud]\ntoken = "tok-secret-1"\n')
    found = place.load()
    assert found.token == "tok-secret-1"
    assert redact("using tok-secret-1 now") == "using *** now"
    assert "token" not in saved_settings(found)
    assert saved_settings(found)["queue"] == "default-queue"
    assert place.explain()["cloud.token"][0] == "***"
    place.profile("[cloud]\ntoken = 12345678\n")
    assert "12345678" not in place.message()


def test_unknown_sections_are_warnings(place: Place) -> None:
    place.profile("stray = 1\n[clowd]\nx = 1\n[slurm]\ny = 2\n")
    place.environ["RV_CLOUD_QUEU"] = "x"
    place.environ["RV_RUN_ID"] = "no setting, but used by tasks"
    warnings = place.warnings()
    assert len(warnings) == 4
    assert any("'stray' stands outside of a section" in text for text in warnings)
    assert any("[clowd]; did you mean [cloud]?" in text for text in warnings)
    assert any("[slurm]; install the plugin" in text for text in warnings)
    assert any("RV_CLOUD_QUEU: no setting has this name; did you mean 'RV_CLOUD_QUEUE'?" in text for text in warnings)
    assert place.load() == CloudSettings()


def test_a_file_may_begin_with_a_byte_order_mark(place: Place) -> None:
    place.project_file("\ufeff[cloud]\nattempts = 3\n")
    assert place.load().attempts == 3


def test_a_folder_in_the_place_of_the_projects_file_is_told(place: Place) -> None:
    (place.project / "rv.toml").mkdir()
    assert "the settings cannot be read" in place.message()


def test_settings_without_warnings(place: Place) -> None:
    place.profile("[cloud]\nattempts = 1\n[run]\njobs = 3\n")
    assert place.warnings() == []


def test_the_cores_own_settings_have_short_names_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RV_GRACE_S", "7.5")
    monkeypatch.setenv("RV_GPUS", "0,1")
    monkeypatch.setenv("RV_RUN_JOBS", "3")
    assert run_settings() == RunSettings(jobs=3, grace_s=7.5, gpus="0,1")
    assert run_settings(overrides={"jobs": 5}).jobs == 5
    monkeypatch.setenv("RV_RUN_GRACE_S", "2")
    assert run_settings().grace_s == 2.0


def test_every_section_of_the_installed_plugins_can_be_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {(entry.section, entry.key) for entry in explain_settings()}
    assert {("run", "jobs"), ("run", "grace_s"), ("run", "gpus")} <= keys
    assert all(set(entry.to_json()) == {"section", "key", "value", "origin"} for entry in explain_settings())
