"""The core's own plugin: it declares runners, pipelines, verbs, configs and stores through the same hooks as any other."""

from __future__ import annotations

from rv_core.plugins.declarations import CommandSpec, ConfigSpec, PipelineSpec, RunnerSpec, StoreSpec
from rv_core.plugins.hookspecs import hookimpl

_RUN, _LOOK, _EXTEND = "Run", "Look", "Extend"


@hookimpl
def rv_runners() -> list[RunnerSpec]:
    """The runner that needs nothing."""
    summary = "every task in order in this process, for trying out and debugging"
    return [RunnerSpec("inprocess", "rv_core.runner.inprocess:InProcessRunner", summary)]


@hookimpl
def rv_pipelines() -> list[PipelineSpec]:
    """The pipeline for trying a runner."""
    return [PipelineSpec("hello", "rv_core.hello:HelloConfig", "a tiny pipeline for trying any runner")]


@hookimpl
def rv_commands() -> list[CommandSpec]:
    """The verbs of `rv`, in the order of the help page."""
    return [
        CommandSpec("run", "rv_core.cli.run:run", "Run a pipeline with a runner", _RUN),
        CommandSpec("check", "rv_core.cli.run:check", "Find what would make a run fail, before it starts", _RUN),
        CommandSpec("status", "rv_core.cli.status:status", "Show what is done, running and failed", _LOOK),
        CommandSpec("logs", "rv_core.cli.logs:logs", "Show what tasks printed", _LOOK),
        CommandSpec("cancel", "rv_core.cli.cancel:cancel", "Stop a run that is on", _LOOK),
        CommandSpec("plugins", "rv_core.cli.plugins:app", "List, show and check plugins", _EXTEND),
        CommandSpec("config", "rv_core.cli.config:app", "Show saved configs, schemas and settings", _EXTEND),
    ]


@hookimpl
def rv_configs() -> list[ConfigSpec]:
    """The config of the hello pipeline."""
    return [ConfigSpec("rv-core", {"hello": "rv_core.hello:HelloConfig"})]


@hookimpl
def rv_stores() -> list[StoreSpec]:
    """Files of this machine, of web servers, and of whatever else fsspec has a plugin for."""
    http = "rv_core.files.http_store:HttpStore"
    return [
        StoreSpec("file", "rv_core.files.stores:LocalStore", "files of this machine"),
        StoreSpec("http", http, "files of web servers, read-only"),
        StoreSpec("https", http, "files of web servers, read-only"),
        StoreSpec("*", "rv_core.files.fsspec_store:FsspecStore", "every other scheme that fsspec has a plugin for"),
    ]
