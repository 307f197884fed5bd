"""A profile as a file: what would change in one of its sections, and the new text. Everything else stays as it is."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rv_core import ConfigError, UsageError
from rv_core.settings.files import DEFAULT_PROFILE, config_dir

_PROFILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Change:
    """One key of a section.

    Args:
        key: the key.
        old: its value; None where it is not set.
        new: what it becomes.
    """

    key: str
    old: Any
    new: str

    @property
    def is_change(self) -> bool:
        """Whether old and new differ."""
        return bool(self.old != self.new)


def profile_path(profile: str | None, environ: Mapping[str, str]) -> Path:
    """The file of a profile, whether it exists or not.

    Args:
        profile: `--profile`; None for `RV_PROFILE`, else the default profile.
        environ: the environment.

    Raises:
        UsageError: if that is no name of a profile.
    """
    name = profile or environ.get("RV_PROFILE") or DEFAULT_PROFILE
    if not _PROFILE_NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a profile", fix="use letters, digits, '.', '_' and '-'")
    return config_dir(environ) / f"{name}.toml"


def read_profile(path: Path) -> str:
    """The text of a profile; "" if there is none.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the profile cannot be read", where=str(path), why=str(error)) from error


def section_of(text: str, section: str, *, where: str) -> dict[str, Any]:
    """The keys of a section; empty if it is not there.

    Raises:
        ConfigError: if the text is not valid TOML, or the section no table.
    """
    try:
        found = tomllib.loads(text).get(section, {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("the profile is not valid TOML", where=where, why=str(error), fix="mend it first") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{section!r} is no table in the profile", where=where, fix=f"write it as [{section}]")
    return found


def changes(current: Mapping[str, Any], values: Mapping[str, str]) -> list[Change]:
    """What happens to each key of `values`, in their order."""
    return [Change(key, current.get(key), value) for key, value in values.items()]


def updated(text: str, section: str, values: Mapping[str, str], *, where: str) -> str:
    """The text with these values in a section; comments, order and all other keys stay.

    Raises:
        ConfigError: if the profile is laid out in a way that cannot be edited; nothing is lost then.
    """
    wanted = tomllib.loads(text)
    wanted[section] = {**wanted.get(section, {}), **values}
    new = _edited(text, section, values)
    # tomlkit has had trouble with tables that are spread over a file; a profile is never traded for a broken one.
    if _parsed(new) != wanted:
        lines = "\n".join(f"{key} = {value!r}" for key, value in values.items())
        fix = f"write it yourself under [{section}]:\n{lines}"
        raise ConfigError("the profile cannot be edited without changing something else", where=where, fix=fix)
    return new


def _edited(text: str, section: str, values: Mapping[str, str]) -> str:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document: Any = tomlkit.parse(text)
        if section not in document:
            if text.strip():
                document.add(tomlkit.nl())
            document.add(section, tomlkit.table())
        for key, value in values.items():
            document[section][key] = value
        return str(tomlkit.dumps(document))
    except TOMLKitError:
        return ""


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def write_profile(path: Path, text: str) -> None:
    """Replace a profile at once; it is whole at any moment, keeps its permissions, and a link stays a link.

    Raises:
        ConfigError: if it cannot be written.
    """
    target = path.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, delete=False) as file:
            file.write(text)
        os.chmod(file.name, mode)
        os.replace(file.name, target)
    except OSError as error:
        raise ConfigError("the profile cannot be written", where=str(path), why=str(error)) from error
