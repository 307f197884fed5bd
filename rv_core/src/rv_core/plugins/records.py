"""What is known about each plugin: where it comes from, what it provides, and why it does not work."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Status = Literal["ok", "broken", "disabled"]
Kind = Literal["runner", "pipeline", "command", "store", "report", "config", "type"]


def word_of(kind: Kind) -> str:
    """The word for a kind in messages: what a plugin declares as `rv_commands` are verbs; pipelines have commands."""
    return {"command": "verb", "report": "report sections"}.get(kind, kind)


class Provided(NamedTuple):
    """One thing that a plugin declares.

    Args:
        kind: `runner`, `pipeline`, `command`, `store`, `report` (sections of one), `config` (the plugin's config version) or
            `type` (a config type).
        name: what users type or what a saved config holds.
        target: `"module:attribute"`, or "" for a `config`.
        summary: one line.
    """

    kind: Kind
    name: str
    target: str = ""
    summary: str = ""

    @property
    def key(self) -> tuple[Kind, str]:
        """What must be unique among all plugins."""
        return self.kind, self.name

    def __str__(self) -> str:
        return f"{word_of(self.kind)} {self.name}"


class PluginRecord(NamedTuple):
    """One entry point of the group `rv`, whether it works or not.

    Args:
        name: the entry point's name.
        distribution: the installed package that has it.
        version: that package's version.
        module: the module that the entry point names.
        status: `ok`, `broken` or `disabled`.
        error: why it is broken, in one line.
        traceback: where that was raised, for `rv plugins show`; "" where no exception was.
        provides: what it declares and what is usable: names that clash are left out.
        hooks: the hooks that it implements.
        problems: what is wrong with a plugin that is usable otherwise, for instance a name that clashes.
    """

    name: str
    distribution: str
    version: str
    module: str = ""
    status: Status = "ok"
    error: str = ""
    traceback: str = ""
    provides: tuple[Provided, ...] = ()
    hooks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The plugin with its distribution and version, as messages name it."""
        return f"plugin {self.name!r} ({self.distribution} {self.version})"

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        plain = self._asdict()
        plain["provides"] = [provided._asdict() for provided in self.provides]
        plain["hooks"], plain["problems"] = list(self.hooks), list(self.problems)
        return plain


class HookFailure(NamedTuple):
    """A lifecycle hook of one plugin that raised or took too long.

    Args:
        plugin: the plugin with its distribution and version.
        hook: the hook's name.
        reason: what happened, in one line.
        traceback: where it was raised; "" for one that took too long.
    """

    plugin: str
    hook: str
    reason: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.hook} of {self.plugin} {self.reason}"
