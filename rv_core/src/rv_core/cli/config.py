"""`rv config`: saved configs, schemas of config types, and where each setting comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from rv_core.cli.output import print_json, print_table, print_text, warn
from rv_core.cli.state import GlobalOptions
from rv_core.errors import UsageError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CONFIG_NAME = "pipeline-config.json"

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def config() -> None:
    """Show saved configs, the schemas of config types, and settings with their origins."""


@app.command()
def show(
    root_or_file: Annotated[
        str, typer.Argument(metavar="ROOT_OR_FILE", help="A root_uri, or a saved pipeline-config.json.")
    ],
    as_json: AsJson = False,
) -> None:
    """Show a saved config as it was saved: one line per field. No code of the run is imported for it.

    Examples:
      rv config show out
      rv config show s3://bucket/out/pipeline-config.json --json
    """
    from rv_core.config.saved import parse_plain

    uri, text = _read(root_or_file)
    saved = parse_plain(text, source=uri)
    if as_json:
        print_json({"uri": uri, "versions": saved.versions, "code": saved.code, "config": saved.plain})
        return
    print_text(f"# {uri}")
    for plugin, version in saved.versions.items():
        print_text(f"# {plugin}: config version {version}")
    for path, value in leaves(saved.plain):
        print_text(f"{path} = {value}")


def _read(root_or_file: str) -> tuple[str, str]:
    """(URI, text) of a saved config, given itself or by the root that it is under."""
    import os

    from rv_core.files import by_uri, uris

    given = uris.absolute(root_or_file, os.getcwd())
    uri = given if given.endswith(".json") else uris.join(given, CONFIG_NAME)
    if not by_uri.exists(uri):
        what = f"there is no {CONFIG_NAME} under {given}" if uri != given else f"there is no file {given}"
        raise UsageError(what, fix="give the root_uri of a pipeline that was run, or a saved config")
    return uri, by_uri.read_text(uri)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, JSON value) of everything in plain JSON values that holds nothing itself, in order."""
    import json

    from rv_core.config.dotted_paths import join

    if isinstance(value, dict | list) and value:
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in children:
            yield from leaves(child, join(path, key))
    else:
        yield path, json.dumps(value, ensure_ascii=False)


@app.command()
def schema(
    config_type: Annotated[
        str | None,
        typer.Argument(
            metavar="[TYPE]",
            help="A registered type, the name of its class, or module:Class; left out: list the registered types.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="A table of the fields: values, defaults and what they mean.")
    ] = False,
) -> None:
    """Print the JSON Schema of a config type, or its fields as a table, or list the registered types.

    Examples:
      rv config schema
      rv config schema HelloConfig --markdown
      rv config schema hello > hello.schema.json
    """
    if config_type is None:
        if as_markdown:
            raise UsageError("--markdown tells of one config type", fix="name one: rv config schema lists them")
        _list_types(as_json=as_json)
        return
    from rv_core.config.type_hints import class_of, hint_named
    from rv_core.config.validation.json_schemas import json_schema

    cls = class_of(hint_named(config_type))
    if not as_markdown:
        print_json(json_schema(cls))
        return
    from rv_core.config.field_tables import markdown_of

    print_text(markdown_of(cls).rstrip("\n"))


def _list_types(*, as_json: bool) -> None:
    from rv_core.plugins.installed import plugin_manager

    rows = [
        {"type": name, "target": target, "plugin": spec.plugin, "version": spec.version}
        for spec in plugin_manager().config_specs().values()
        for name, target in spec.types.items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("type", "class", "plugin", "version"), [tuple(map(str, row.values())) for row in rows])


@app.command()
def settings(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show every setting with its value and where that comes from. Secrets are hidden.

    A value on the command line wins over the environment (RV_<SECTION>_<KEY>), that over the project's rv.toml, that
    over the profile (--profile, RV_PROFILE), that over the default.

    Example:
      rv --profile work config settings
    """
    from rv_core.settings.sections import explain_settings, settings_findings

    options: GlobalOptions = ctx.obj
    origins, findings = explain_settings(options.profile), settings_findings(options.profile)
    if as_json:
        problems = [finding.to_json() for finding in findings]
        print_json({"settings": [origin.to_json() for origin in origins], "problems": problems})
        return
    print_table(("setting", "value", "from"), [(f"{o.section}.{o.key}", _shown(o.value), o.origin) for o in origins])
    for finding in findings:
        warn(str(finding))


def _shown(value: Any) -> str:
    return "–" if value is None or value == "" else str(value)
