"""Settings: what belongs to a user and a machine, not to an experiment. CLI > environment > project > profile > default.

A section is a dataclass; a runner's section is named like the runner. In files it is a TOML table, in the environment
`RV_<SECTION>_<KEY>`. Saved configs hold no settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, TypeVar

from rv_core.config.classes import Range
from rv_core.config.fields import ConfigField, UnsupportedAnnotationError, fields_of
from rv_core.config.from_text import convert_to
from rv_core.config.values import build, to_plain
from rv_core.errors import ConfigError, Finding, nearest
from rv_core.redaction import HIDDEN, redact_settings, register_mapping, register_secret
from rv_core.settings.files import SettingsFile, settings_files

S = TypeVar("S")

#: The section of the core's own settings.
RUN_SECTION = "run"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The core's own settings: section `run`.

    Args:
        jobs: how many tasks run at once on this machine; None is the number of cores.
        grace_s: seconds that a task has between TERM and KILL; None is what suits the runner.
        gpus: the GPUs that may be used, as for `CUDA_VISIBLE_DEVICES`; None is all that there are.
    """

    jobs: Annotated[int, Range(min=1)] | None = None
    grace_s: Annotated[float, Range(min=0)] | None = field(default=None, metadata={"environ": "RV_GRACE_S"})
    gpus: str | None = field(default=None, metadata={"environ": "RV_GPUS"})

    def environ(self) -> dict[str, str]:
        """The variables by which tasks on this machine learn of what is set, wherever it was set."""
        variables = {}
        if self.grace_s is not None:
            variables["RV_GRACE_S"] = f"{self.grace_s:g}"
        if self.gpus is not None:
            variables["RV_GPUS"] = self.gpus or "none"
        return variables


class SettingOrigin(NamedTuple):
    """One setting, for `rv config settings`.

    Args:
        section: the section.
        key: the key.
        value: its plain value; `***` for a secret.
        origin: where the value comes from: `default`, `profile NAME (file)`, `project (file)`, `environment NAME`
            or `command line`.
    """

    section: str
    key: str
    value: Any
    origin: str

    def to_json(self) -> dict[str, Any]:
        """The setting as plain JSON values."""
        return {"section": self.section, "key": self.key, "value": self.value, "origin": self.origin}


class _Given(NamedTuple):
    value: Any
    origin: str


def load_settings(
    cls: type[S],
    section: str,
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> S:
    """The settings of one section.

    Args:
        cls: its dataclass.
        section: its name.
        profile: `--profile`.
        overrides: values of the command line; those that are None were not given.
        environ: the environment; that of this process when None. Empty variables count as not set.
        cwd: the working directory; that of this process when None.

    Raises:
        ConfigError: if the profile does not exist, or with every unknown key (near miss and file), every value of a
            wrong kind and every missing one.
    """
    variables = os.environ if environ is None else environ
    files = settings_files(profile, variables, os.getcwd() if cwd is None else cwd)
    given, findings = _collect(cls, section, files, variables, overrides or {})
    return _made(cls, section, given, findings)


def run_settings(profile: str | None = None, overrides: Mapping[str, Any] | None = None) -> RunSettings:
    """The core's own settings.

    Raises:
        ConfigError: as `load_settings`.
    """
    return load_settings(RunSettings, RUN_SECTION, profile=profile, overrides=overrides)


def environment_names(section: str, key: str, metadata: Mapping[str, Any] | None = None) -> list[str]:
    """The variables that set a key, strongest first: `RV_<SECTION>_<KEY>`, and the short name that some keys have."""
    names = [f"RV_{section}_{key}".upper().replace("-", "_")]
    short = (metadata or {}).get("environ")
    return [*names, short] if short else names


def _collect(
    cls: type, section: str, files: list[SettingsFile], environ: Mapping[str, str], overrides: Mapping[str, Any]
) -> tuple[dict[str, _Given], list[Finding]]:
    """The value of every key that is set anywhere, by precedence, and what is wrong with the way it is set."""
    given: dict[str, _Given] = {}
    findings: list[Finding] = []
    for file in files:
        table = file.sections.get(section, {})
        findings.extend(_unknown_keys(cls, section, table, str(file.path)))
        given.update({key: _Given(value, file.label) for key, value in table.items() if key in fields_of(cls)})
    for key, setting in fields_of(cls).items():
        found, problem = _from_environment(setting, section, environ)
        findings.extend([problem] if problem else [])
        given.update({key: found} if found else {})
    findings.extend(_unknown_keys(cls, section, overrides, "command line"))
    chosen = {key: value for key, value in overrides.items() if value is not None and key in fields_of(cls)}
    given.update({key: _Given(value, "command line") for key, value in chosen.items()})
    return given, findings


def _unknown_keys(cls: type, section: str, table: Mapping[str, Any], place: str) -> Iterator[Finding]:
    for key in table:
        if key not in fields_of(cls):
            near = nearest(key, fields_of(cls))
            fix = f"did you mean {near!r}?" if near else f"known keys: {', '.join(fields_of(cls)) or 'none'}"
            yield Finding(f"{place} [{section}]", f"there is no setting {key!r}", fix)


def _from_environment(
    setting: ConfigField, section: str, environ: Mapping[str, str]
) -> tuple[_Given | None, Finding | None]:
    for name in environment_names(section, setting.name, setting.field.metadata):
        text = environ.get(name)
        if not text:
            continue
        try:
            return _Given(convert_to(setting.type, text), f"environment {name}"), None
        except ValueError as err:
            what = f"expected {setting.type.describe()}" if _is_secret(setting) else str(err)
            return None, Finding(name, what)
        except UnsupportedAnnotationError:
            return None, Finding(name, f"{setting.type.describe()} cannot be given in the environment", "use a file")
    return None, None


def _made(cls: type[S], section: str, given: Mapping[str, _Given], findings: list[Finding]) -> S:
    for key, setting in fields_of(cls).items():
        if _is_secret(setting) and key in given and isinstance(given[key].value, str):
            register_secret(given[key].value)
        if key in given:
            _know_secrets_in(given[key].value)
    # Types and bounds are checked by the same schemas as configs; without values there is nothing to check.
    if given or any(setting.is_required for setting in fields_of(cls).values()):
        findings = [*findings, *_wrong_values(cls, section, given)]
    if findings:
        raise ConfigError(f"the settings of section {section!r} are wrong", findings=findings)
    try:
        return cls(**{key: build(fields_of(cls)[key].type, value.value) for key, value in given.items()})
    except Exception as err:  # the __post_init__ of a plugin raises what it likes
        why = f"{type(err).__name__}: {err}"
        raise ConfigError(f"the settings of section {section!r} are refused by {cls.__name__}", why=why) from err


def _know_secrets_in(value: Any) -> None:
    """Hide from now on, wherever they occur, the secrets in mappings such as `[batch.environment]`, at any depth."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, dict):
        register_mapping({str(name): child for name, child in value.items() if isinstance(child, str)})
    for child in children:
        _know_secrets_in(child)


def _wrong_values(cls: type, section: str, given: Mapping[str, _Given]) -> Iterator[Finding]:
    from rv_core.config.validation.schemas import structural_findings

    for finding in structural_findings(cls, {key: value.value for key, value in given.items()}):
        key = finding.where.partition(".")[0].partition("[")[0]
        place = f"{given[key].origin} [{section}] {finding.where}" if key in given else f"[{section}] {finding.where}"
        fix = finding.fix if key in given else f"set {environment_names(section, key)[0]}, or {key} in a profile"
        is_hidden = key in given and _is_secret(fields_of(cls)[key])
        yield Finding(place, "is not a value that this secret can have" if is_hidden else finding.what, fix)


def _is_secret(setting: ConfigField) -> bool:
    return setting.type.is_secret


def saved_settings(settings: Any) -> dict[str, Any]:
    """The settings of a section as plain JSON values for `run.json`, without those that are secret."""
    fields = fields_of(type(settings))
    return {
        key: _without_secrets(key, to_plain(getattr(settings, key)))
        for key, setting in fields.items()
        if not _is_secret(setting)
    }


def known_sections() -> dict[str, type]:
    """Section -> dataclass, of the core and of every installed runner whose settings can be imported."""
    from rv_core.errors import RvError
    from rv_core.plugins.installed import plugin_manager
    from rv_core.plugins.targets import resolve

    found: dict[str, type] = {RUN_SECTION: RunSettings}
    for name, spec in plugin_manager().runner_specs().items():
        if spec.settings:
            try:
                cls = resolve(spec.settings, declared_by=name)
            except RvError:
                continue  # `rv plugins` shows it; the settings of the others can be shown all the same
            if isinstance(cls, type):
                found[name] = cls
    return found


def explain_settings(
    profile: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    sections: Mapping[str, type] | None = None,
) -> list[SettingOrigin]:
    """Every setting of every known section, with where its value comes from; secrets are hidden.

    Args:
        profile: `--profile`.
        environ: the environment; that of this process when None.
        cwd: the working directory; that of this process when None.
        sections: section -> dataclass; the known ones when None.

    Raises:
        ConfigError: as `load_settings`.
    """
    variables = os.environ if environ is None else environ
    files = settings_files(profile, variables, os.getcwd() if cwd is None else cwd)
    shown: list[SettingOrigin] = []
    for section, cls in (known_sections() if sections is None else sections).items():
        given, findings = _collect(cls, section, files, variables, {})
        made: Any = _made(cls, section, given, findings)
        for key, setting in fields_of(cls).items():
            origin = given[key].origin if key in given else "default"
            shown.append(SettingOrigin(section, key, _shown(setting, getattr(made, key)), origin))
    return shown


def _shown(setting: ConfigField, value: Any) -> Any:
    return HIDDEN if _is_secret(setting) and value else _without_secrets(setting.name, to_plain(value))


def _without_secrets(key: str, value: Any) -> Any:
    """A plain value as it may be shown and saved: what has the name of a secret is hidden, in mappings at any depth."""
    return redact_settings({key: value})[key]


def settings_findings(
    profile: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    sections: Mapping[str, type] | None = None,
) -> list[Finding]:
    """Warnings: sections that no installed plugin knows, keys outside of sections, misspelt variables.

    Args:
        profile: as for `explain_settings`.
        environ: as for `explain_settings`.
        cwd: as for `explain_settings`.
        sections: as for `explain_settings`.

    Raises:
        ConfigError: if the profile does not exist, or if a file is not valid TOML.
    """
    variables = os.environ if environ is None else environ
    known = known_sections() if sections is None else sections
    found: list[Finding] = []
    for file in settings_files(profile, variables, os.getcwd() if cwd is None else cwd):
        found.extend(file.findings)
        for name in file.sections:
            if name not in known:
                near = nearest(name, known)
                fix = f"did you mean [{near}]?" if near else "install the plugin that it is for, or remove it"
                what = f"no installed plugin has settings in a section [{name}]"
                found.append(Finding(str(file.path), what, fix, "warning"))
    return [*found, *_misspelt_variables(known, variables)]


def _misspelt_variables(known: Mapping[str, type], environ: Mapping[str, str]) -> Iterator[Finding]:
    names = [
        name
        for section, cls in known.items()
        for key, setting in fields_of(cls).items()
        for name in environment_names(section, key, setting.field.metadata)
    ]
    prefixes = tuple(f"RV_{section}_".upper().replace("-", "_") for section in known if section != RUN_SECTION)
    for name in environ:
        if name.startswith(prefixes or "\0") and name not in names:
            near = nearest(name, names)
            yield Finding(
                name, "no setting has this name", f"did you mean {near!r}?" if near else "", severity="warning"
            )
