"""What a plugin hands over from its hooks: names and import targets, nothing that has to be imported yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RunnerSpec:
    """Declares a runner.

    Args:
        name: what the user types in `rv run NAME`.
        target: `"module:Class"` of a `Runner`, imported only when this runner is chosen.
        summary: one line for `rv plugins` and `--help`.
        settings: `"module:Dataclass"` of the runner's settings (its section of a profile, named like the runner), or "".
    """

    name: str
    target: str
    summary: str = ""
    settings: str = ""


@dataclass(frozen=True)
class PipelineSpec:
    """Declares a pipeline that can be run, shown and documented by name.

    `rv run RUNNER NAME` calls the `get_config` (or `get_configs`) of the module that `target` names; where it has none,
    the arguments are the fields of the class. A file or module that is called NAME goes before.

    Args:
        name: the pipeline's name, for instance `chip_classification`.
        target: `"module:Class"` of its `PipelineConfig`.
        summary: one line for `rv plugins`.
    """

    name: str
    target: str
    summary: str = ""


@dataclass(frozen=True)
class CommandSpec:
    """Declares an extra `rv` verb.

    Args:
        name: the verb.
        target: `"module:app"`, a `typer.Typer` application or a plain function with Typer annotations.
        summary: one line for `rv --help`, which is printed without importing the target.
        panel: the heading under which `rv --help` lists it.
        takes_arguments: whether its `-a KEY VALUE` becomes `-a KEY=VALUE`, as for `rv run`: a verb that takes a module
            with `get_config`, which it loads with `rv_core.user_code.configs.load_configs`.
    """

    name: str
    target: str
    summary: str = ""
    panel: str = "Plugins"
    takes_arguments: bool = False


@dataclass(frozen=True)
class StoreSpec:
    """Declares what serves the files of a scheme.

    Args:
        scheme: the part of a URI before `://`, in lower case, for instance `s3`. A store of several has a declaration
            for each. `*` is the core's own: every scheme that nobody declares.
        target: `"module:Class"` of a `Store`, imported only when a URI of this scheme is opened and called with the
            scheme; one is used for a process and scheme.
        summary: one line for `rv plugins`.
    """

    scheme: str
    target: str
    summary: str = ""

    @property
    def name(self) -> str:
        """The scheme: what must be unique among stores."""
        return self.scheme


@dataclass(frozen=True)
class ReportSectionsSpec:
    """Declares sections of the report of a run, which `rv report` of the package rv-report writes.

    Args:
        name: what they are called in messages, usually the name of the pipeline.
        target: `"module:function"`, called with a `ReportSource`; returns a list of `ReportSection`. It is imported when
            the report of such a pipeline is made.
        config: the registered `type_hint` of the configs that it is for, or `*` for every pipeline whose config the
            installed plugins know.
        summary: one line for `rv plugins`.
        outcomes: `"module:function"`, called likewise; returns a list of `ReportOutcomes`, which `rv compare` compares; ""
            for none.
    """

    name: str
    target: str
    config: str = "*"
    summary: str = ""
    outcomes: str = ""


@dataclass(frozen=True)
class ConfigSpec:
    """Declares the config classes of one plugin, their version and how older ones are brought up to date.

    Args:
        plugin: the name under which the version is stored in a saved config, usually the distribution's name.
        types: registered `type_hint` -> `"module:Class"`.
        version: the current config version of the plugin, from 1.
        upgraders: v -> `"module:function"` that turns a dict of version v into one of v + 1. It is called for every
            config object of this plugin, as plain JSON values with its `type_hint`, outermost first.
    """

    plugin: str
    types: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    upgraders: Mapping[int, str] = field(default_factory=dict)
