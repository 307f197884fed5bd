"""Where settings are kept: profiles in the user's config folder, and the project's `rv.toml`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rv_core.errors import ConfigError, Finding, unknown_name
from rv_core.files.problems import open_no_stream

DEFAULT_PROFILE = "default"
PROJECT_FILE = "rv.toml"
_PROFILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z")


class SettingsFile(NamedTuple):
    """One file with settings.

    Args:
        kind: `profile NAME` or `project`.
        path: the file.
        sections: section -> key -> value.
        findings: what stands in it outside of a section, as warnings.
    """

    kind: str
    path: Path
    sections: Mapping[str, Mapping[str, Any]]
    findings: tuple[Finding, ...] = ()

    @property
    def label(self) -> str:
        """Kind and path, for messages."""
        return f"{self.kind} ({self.path})"


def config_dir(environ: Mapping[str, str]) -> Path:
    """The folder of the profiles: `RV_CONFIG_DIR`, else the user's config folder of the platform."""
    if named := environ.get("RV_CONFIG_DIR"):
        return Path(named).expanduser().absolute()
    import platformdirs

    try:
        return platformdirs.user_config_path("rv", appauthor=False)
    except RuntimeError:  # a user without a name and HOME
        return Path(os.devnull)


def profile_names(environ: Mapping[str, str]) -> list[str]:
    """The profiles that exist, sorted."""
    return sorted(path.stem for path in config_dir(environ).glob("*.toml"))


def settings_files(profile: str | None, environ: Mapping[str, str], cwd: str | os.PathLike[str]) -> list[SettingsFile]:
    """The files that hold, weakest first: the profile, then the project's file.

    Args:
        profile: `--profile`; None for `RV_PROFILE`, else the default profile, which need not exist.
        environ: the environment.
        cwd: the working directory; the project's file is there or in a folder above.

    Raises:
        ConfigError: if a profile that was named does not exist, or if a file is not valid TOML.
    """
    found = (_profile_file(profile, environ), _project_file(Path(cwd).absolute()))
    return [file for file in found if file is not None]


def _profile_file(profile: str | None, environ: Mapping[str, str]) -> SettingsFile | None:
    name = profile or environ.get("RV_PROFILE") or DEFAULT_PROFILE
    path = config_dir(environ) / f"{name}.toml"
    # One that cannot be looked at is none: with sudo the home folder may be that of somebody else.
    if _PROFILE_NAME.match(name) and os.path.exists(path):
        return _read(f"profile {name}", path)
    if name == DEFAULT_PROFILE and not profile and not environ.get("RV_PROFILE"):
        return None
    what, fix = unknown_name("profile", name, profile_names(environ))
    raise ConfigError(what, where="--profile" if profile else "RV_PROFILE", fix=fix or f"write {path}")


def _project_file(cwd: Path) -> SettingsFile | None:
    paths = (folder / PROJECT_FILE for folder in (cwd, *cwd.parents))
    path = next((path for path in paths if os.path.exists(path)), None)
    return None if path is None else _read("project", path)


def _read(kind: str, path: Path) -> SettingsFile:
    import tomllib

    # A project's folder may be somebody else's; a profile is the user's own, who may keep it in a pipe.
    opener = open_no_stream if kind == "project" else None
    try:
        with open(path, encoding="utf-8-sig", opener=opener) as file:  # some editors begin with a byte order mark
            data = tomllib.loads(file.read())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise ConfigError("not valid TOML", where=str(path), why=str(err)) from err
    except OSError as err:
        raise ConfigError("the settings cannot be read", where=str(path), why=str(err)) from err
    sections = {name: value for name, value in data.items() if isinstance(value, dict)}
    return SettingsFile(kind, path, sections, tuple(_strays(data, path)))


def _strays(data: Mapping[str, Any], path: Path) -> Iterator[Finding]:
    for name, value in data.items():
        if not isinstance(value, dict):
            what = f"{name!r} stands outside of a section and is ignored"
            yield Finding(str(path), what, "put it under a heading such as [run]", "warning")
