"""`rv batch setup`: a profile from the outputs of a stack."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from rv_core import UsageError
from rv_core.cli.output import print_text
from rv_core.cli.state import GlobalOptions
from rv_runner_batch.setup.profile_file import (
    Change,
    changes,
    profile_path,
    read_profile,
    section_of,
    updated,
    write_profile,
)
from rv_runner_batch.setup.stack import SHOWN_OUTPUTS, outputs_of, settings_of

SECTION = "batch"


def command(
    ctx: typer.Context,
    stack: Annotated[
        str, typer.Option("--stack", metavar="NAME", help="The stack that was made from `rv batch template`.")
    ],
    region: Annotated[
        str | None,
        typer.Option(
            "--region", metavar="REGION", help="Where the stack is; else the profile's, else as for every AWS tool."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference and write nothing.")] = False,
) -> None:
    """Write queues, job definitions and region of a stack into a profile, and show what changes.

    Section [batch] of the profile gets five keys; its other keys, the other sections and all comments stay. Credentials
    are never written: they are those of every AWS tool (AWS_PROFILE, `aws sso login`, roles).

    Examples:
      rv batch setup --stack rv --dry-run
      rv --profile aws batch setup --stack rv --region eu-central-1
    """
    options: GlobalOptions = ctx.obj
    path = profile_path(options.profile, os.environ)
    text = read_profile(path)
    current = section_of(text, SECTION, where=str(path))
    described = _stack(stack, region or str(current.get("region", "")))
    values = settings_of(described)
    planned = changes(current, values)
    print_text(f"{path}{'' if text else ' (new)'}")
    _show(planned, [key for key in current if key not in values])
    if any(change.is_change for change in planned) and not dry_run:
        write_profile(path, updated(text, SECTION, values, where=str(path)))
    print_text(_summary(planned, is_dry_run=dry_run))
    if not dry_run:
        _show_next_steps(outputs_of(described), options.profile)


def _stack(name: str, region: str) -> Mapping[str, Any]:
    from rv_runner_batch.setup.account import AccountClient

    client = AccountClient(region)
    found = client.stack(name)
    if found is None:
        raise UsageError(
            f"there is no stack {name!r} in {client.region} that you may see",
            fix="name its region with --region, the account with AWS_PROFILE; `rv batch template` starts a new one",
        )
    return found


def _show(planned: Sequence[Change], kept: Sequence[str]) -> None:
    print_text(f"  [{SECTION}]")
    for change in planned:
        if change.is_change and change.old is not None:
            print_text(f"- {change.key} = {change.old!r}")
        print_text(f"{'+' if change.is_change else ' '} {change.key} = {change.new!r}")
    if kept:
        print_text(f"  kept as they are: {', '.join(kept)}")


def _summary(planned: Sequence[Change], *, is_dry_run: bool) -> str:
    num_changes = sum(change.is_change for change in planned)
    if not num_changes:
        return "nothing changes"
    return f"{num_changes} of {len(planned)} keys {'would change; nothing is written' if is_dry_run else 'written'}"


def _show_next_steps(outputs: Mapping[str, str], profile: str | None) -> None:
    print_text("")
    for name in SHOWN_OUTPUTS:
        if name in outputs:
            print_text(f"{name}: {outputs[name]}")
    print_text(f"next: rv{f' --profile {profile}' if profile else ''} batch doctor")
