"""From a name and a kind to the files of a package. Writing them is the last step; before it everything is checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from rv_core.errors import UsageError, unknown_name
from rv_core.version import __version__

#: Kind -> how its distributions begin, as those of this project do.
KINDS: Mapping[str, str] = {"runner": "rv-runner-", "pipeline": "rv-pipeline-", "commands": "rv-commands-"}
_SUFFIX = ".tmpl"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME_CHARACTERS = 30


@dataclass(frozen=True)
class NewPlugin:
    """The names that a new plugin gets.

    Args:
        name: of the runner, pipeline or verb: lower-case letters, digits and single hyphens.
        kind: a key of `KINDS`.
    """

    name: str
    kind: str

    @property
    def distribution(self) -> str:
        """What pip installs, for instance `rv-runner-threads`."""
        return KINDS[self.kind] + self.name

    @property
    def package(self) -> str:
        """What Python imports, for instance `rv_runner_threads`."""
        return self.distribution.replace("-", "_")

    def values(self) -> dict[str, str]:
        """What the templates may name."""
        major, minor = __version__.split(".")[:2]
        return {
            "name": self.name,
            "identifier": self.name.replace("-", "_"),
            "kind": self.kind,
            "distribution": self.distribution,
            "package": self.package,
            "VARIABLE": self.name.replace("-", "_").upper(),
            "Class": "".join(part.capitalize() for part in self.name.split("-")),
            "core": f"rv-core>={major}.{minor},<{major}.{int(minor) + 1}",
            "core_testing": f"rv-core[testing]>={major}.{minor},<{major}.{int(minor) + 1}",
        }


def new_plugin(name: str, kind: str) -> NewPlugin:
    """The plugin of a name.

    Raises:
        UsageError: for an unknown kind, or a name that could not be one of a package.
    """
    if kind not in KINDS:
        what, fix = unknown_name("kind of plugin", kind, KINDS)
        raise UsageError(what, fix=fix)
    bare = name.removeprefix(KINDS[kind])
    if not _NAME.fullmatch(bare) or len(bare) > _MAX_NAME_CHARACTERS:
        near = re.sub(r"[^a-z0-9]+", "-", bare.lower()).strip("-0123456789")[:_MAX_NAME_CHARACTERS].rstrip("-")
        raise UsageError(
            f"{name!r} cannot be the name of a plugin",
            why=f"names are at most {_MAX_NAME_CHARACTERS} lower-case letters and digits, with single hyphens between words",
            fix=f"did you mean {near!r}?" if _NAME.fullmatch(near) else "",
        )
    return NewPlugin(bare, kind)


def render(plugin: NewPlugin) -> dict[str, str]:
    """The files of the package: relative path -> text."""
    values = plugin.values()
    found = {}
    for folder in ("shared", plugin.kind):
        for path, template in _templates(files("rv_core.scaffold") / folder):
            found[_target(path, plugin)] = Template(template).substitute(values)
    return dict(sorted(found.items()))


def write(plugin: NewPlugin, into: Path) -> tuple[Path, list[str]]:
    """Write the package into a folder of its own.

    Args:
        plugin: the plugin.
        into: the folder that gets the new one.

    Returns:
        (the new folder, the names of its files).

    Raises:
        UsageError: if the new folder is there already, or cannot be written.
    """
    folder = into / plugin.distribution
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} is there already", fix="remove it, or choose another name or another --into")
    rendered = render(plugin)
    try:
        for name, text in rendered.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder} cannot be written", why=str(error)) from error
    return folder, list(rendered)


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield prefix + entry.name, entry.read_text(encoding="utf-8")


def _target(path: str, plugin: NewPlugin) -> str:
    parts = path.removesuffix(_SUFFIX).split("/")
    named = [part.replace("PACKAGE", plugin.package).replace("NAME", plugin.name.replace("-", "_")) for part in parts]
    return "/".join(re.sub(r"^dot-", ".", part) for part in named)
