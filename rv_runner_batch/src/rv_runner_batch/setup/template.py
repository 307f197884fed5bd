"""The CloudFormation template of everything that `rv run batch` needs, and `rv batch template`, which prints it."""

from __future__ import annotations

from importlib.resources import files

import typer

#: CloudFormation takes templates up to this size from a command line; larger ones have to be in a bucket.
MAX_TEMPLATE_BYTES = 51_200


def template_text() -> str:
    """The template as YAML."""
    return files("rv_runner_batch.setup").joinpath("template.yaml").read_text(encoding="utf-8")


def command() -> None:
    """Print a CloudFormation template of everything that `rv run batch` needs in an account.

    Spot machines with and without GPUs that scale to zero, on-demand machines to fall back on, job queues and
    definitions, an image repository, logs, a bucket, and a policy for those who submit.

    Example:
      rv batch template > rv-batch.yaml
    """
    typer.echo(template_text(), nl=False)
