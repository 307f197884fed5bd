"""What `rv run --smoke` runs in place of a config: as little as its pipeline says, in a root beside its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rv_core.config.validation import schemas
from rv_core.errors import ConfigError
from rv_core.files import uris
from rv_core.pipeline.overrides import method_of
from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.pipeline.smoke import root_for_smoke
from rv_core.user_code.failures import explained


def smoke_configs(configs: Sequence[PipelineConfig]) -> list[PipelineConfig]:
    """What `--smoke` runs in place of configs.

    Raises:
        ConfigError: if a pipeline's own way of making its config small is wrong, or if there is no place beside a root.
    """
    return [_smoke_config(config, [other.root_uri for other in configs]) for config in configs]


def _smoke_config(config: PipelineConfig, roots: Sequence[str]) -> PipelineConfig:
    root_uri = _root_beside(config, roots)
    with explained("the config cannot be made small for --smoke", config.name):
        small = method_of(config.build(), "smoke")(config)
        if type(small) is not type(config):
            raise ConfigError(
                f"smoke() of {config.name} returned {schemas.shown(small)}, which is no {type(config).__name__}"
            )
        small = replace(small, root_uri=root_uri, name=config.name)
    wrong = [finding for finding in schemas.check(small) if finding.severity == "error"]
    if wrong:
        raise ConfigError("the config made small for --smoke is wrong", where=config.name, findings=wrong)
    return small


def _root_beside(config: PipelineConfig, roots: Sequence[str]) -> str:
    beside = root_for_smoke(config.root_uri)
    if uris.is_whole_store(config.root_uri):
        raise ConfigError(
            "--smoke has no place beside this root",
            where=config.root_uri,
            why="it is a whole bucket, server or disk: what lies beside it may be somebody else's",
            fix="choose a root that is a folder in it, such as --set root_uri=" + uris.join(config.root_uri, "NAME"),
        )
    if met := next((root for root in roots if uris.same_or_nested(root, beside)), None):
        raise ConfigError(
            "the place of the smoke run is not beside the roots",
            where=beside,
            why=f"it is, or lies in or around, the root {met}, which a smoke run must not touch",
            fix="leave out a slash at the end of a variable in the root, and name no root ROOT.smoke",
        )
    return beside
