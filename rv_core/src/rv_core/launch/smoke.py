"""What `rv run --smoke` runs in place of a config: as little as its pipeline says, in a root beside its own."""

from __future__ import annotations

from dataclasses import replace

from rv_core.config.validation import schemas
from rv_core.errors import ConfigError
from rv_core.pipeline.overrides import method_of
from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.pipeline.smoke import root_for_smoke


def smoke_config(config: PipelineConfig) -> PipelineConfig:
    """What `--smoke` runs in place of a config.

    Raises:
        ConfigError: if the pipeline's own way of making it small is wrong.
    """
    small = method_of(config.build(), "smoke")(config)
    if type(small) is not type(config):
        raise ConfigError(
            f"smoke() of {config.name} returned {schemas.shown(small)}, which is no {type(config).__name__}"
        )
    small = replace(small, root_uri=root_for_smoke(config.root_uri), name=config.name)
    wrong = [finding for finding in schemas.check(small) if finding.severity == "error"]
    if wrong:
        raise ConfigError("the config made small for --smoke is wrong", where=config.name, findings=wrong)
    return small
