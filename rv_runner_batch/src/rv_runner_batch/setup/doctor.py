"""`rv batch doctor`: a look at a live set-up, and what to do about what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rv_core import Finding, UsageError
from rv_core.cli.output import print_json, print_text
from rv_core.cli.state import GlobalOptions
from rv_core.errors import EXIT_DONE, EXIT_ENVIRONMENT, EXIT_USAGE

if TYPE_CHECKING:
    from rv_runner_batch.settings import BatchSettings
    from rv_runner_batch.setup.facts import Facts


@dataclass(frozen=True)
class Check:
    """One part of a set-up that was looked at.

    Args:
        title: what.
        findings: what is wrong with it.
        detail: what was seen, for people.
        is_complete: whether AWS told all that is needed.
    """

    title: str
    findings: tuple[Finding, ...]
    detail: str = ""
    is_complete: bool = True

    @property
    def state(self) -> str:
        """`ok`, or the weightiest of its findings: `error`, `warning`, `skipped`. What was not seen is never `ok`."""
        states = {finding.severity for finding in self.findings}
        best = "ok" if self.is_complete else "skipped"
        return next((state for state in ("error", "warning", "skipped") if state in states), best)

    def to_json(self) -> dict[str, Any]:
        """The check as plain JSON values."""
        findings = [finding.to_json() for finding in self.findings]
        return {"check": self.title, "state": self.state, "detail": self.detail, "findings": findings}


def command(
    ctx: typer.Context,
    root: Annotated[
        str, typer.Option("--root", metavar="URI", help="A root in S3 to look at; else the bucket that jobs may use.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look at what AWS Batch has for the settings of the profile, and say what to fix.

    Credentials, region, queues, compute environments, machines, job definitions, images, roles, logs and the bucket,
    into which an empty object is written and deleted again. Nothing else is changed and no machine is started. Exit
    code 2 if something is wrong or could be better, 3 if AWS cannot be asked, 0 if all is well.

    Examples:
      rv batch doctor
      rv --profile aws batch doctor --root s3://bucket/experiments --json
    """
    from rv_core.settings.sections import load_settings
    from rv_runner_batch.settings import BatchSettings

    options: GlobalOptions = ctx.obj
    if root and not root.startswith("s3://"):
        raise UsageError(f"--root {root!r} is not in S3", fix="write --root s3://BUCKET/NAME")
    settings = load_settings(BatchSettings, "batch", profile=options.profile, environ=os.environ)
    checks = examined(settings, root)
    if as_json:
        print_json({"ok": _exit_code(checks) == EXIT_DONE, "checks": [check.to_json() for check in checks]})
    else:
        _print(checks)
    raise typer.Exit(_exit_code(checks))


def examined(settings: BatchSettings, root_uri: str) -> list[Check]:
    """Ask AWS and judge the answers.

    Args:
        settings: the settings to look at.
        root_uri: where a run's root would be; "" for the bucket of the role that jobs have.
    """
    from rv_core import __version__
    from rv_runner_batch.client import AwsError
    from rv_runner_batch.setup.account import AccountClient
    from rv_runner_batch.setup.facts import gather

    try:
        return diagnosed(gather(AccountClient(settings.region), settings, root_uri, __version__))
    except AwsError as error:
        return [Check("credentials", (error.as_finding("AWS", kind="environment"),))]


def diagnosed(facts: Facts) -> list[Check]:
    """Every check of a set-up. Pure."""
    from rv_runner_batch.setup import definition_checks, queue_checks

    # title, the facts that it needs, what judges them
    parts: Sequence[tuple[str, str, Sequence[Callable[[Facts], Iterable[Finding]]]]] = [
        ("settings", "", [queue_checks.settings_findings]),
        ("job queues", "queues", [queue_checks.queue_findings]),
        ("compute environments", "environments", [queue_checks.environment_findings]),
        ("machines", "launch_templates security_groups", [queue_checks.machine_findings]),
        (
            "job definitions",
            "definitions shapes",
            [definition_checks.definition_findings, queue_checks.placement_findings],
        ),
        ("images", "definitions images", [definition_checks.image_findings]),
        ("job roles", "definitions roles", [definition_checks.role_findings]),
        ("logs", "definitions log_groups", [definition_checks.log_findings]),
        ("bucket", "", [definition_checks.bucket_findings]),
    ]
    checks = [Check("credentials", (), f"{facts.caller}, {facts.region}")]
    for title, needed, judges in parts:
        found = tuple(dict.fromkeys(finding for judge in judges for finding in judge(facts)))
        is_complete = all(getattr(facts, name) is not None for name in needed.split())
        checks.append(Check(title, found, _detail(title, facts), is_complete))
    return [*checks, Check("permissions", facts.unasked)]


def _detail(title: str, facts: Facts) -> str:
    """The names of what a check looked at."""
    names: dict[str, Iterable[str]] = {
        "job queues": (queue["jobQueueName"] for queue in (facts.queues or {}).values()),
        "compute environments": (each["computeEnvironmentName"] for each in (facts.environments or {}).values()),
        "job definitions": (name for name, found in (facts.definitions or {}).items() if found),
        "images": facts.images or (),
        "job roles": (arn.rpartition("/")[2] for arn in facts.roles or ()),
        "logs": facts.log_groups or (),
        "bucket": [facts.bucket.uri] if facts.bucket else (),
    }
    return ", ".join(dict.fromkeys(names.get(title, ())))


def _print(checks: Sequence[Check]) -> None:
    width = max(len(check.title) for check in checks)
    for check in checks:
        print_text(f"{check.state:<8} {check.title:<{width}}  {check.detail}".rstrip())
        for finding in check.findings:
            print_text(f"  {finding.severity}: {f'{finding.where}: ' if finding.where else ''}{finding.what}")
            if finding.fix:
                print_text(f"    fix: {finding.fix}")
    print_text(_summary([finding for check in checks for finding in check.findings]))


def _summary(findings: Sequence[Finding]) -> str:
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in ("error", "warning", "skipped")}
    if not any(counts.values()):
        return "all is well"
    parts = [
        f"{counts['error']} to fix",
        f"{counts['warning']} that could be better",
        f"{counts['skipped']} not checked",
    ]
    return ", ".join(part for part, count in zip(parts, counts.values(), strict=True) if count)


def _exit_code(checks: Sequence[Check]) -> int:
    findings = [finding for check in checks for finding in check.findings if finding.severity != "skipped"]
    if not findings:
        return EXIT_DONE
    return EXIT_ENVIRONMENT if all(finding.kind == "environment" for finding in findings) else EXIT_USAGE
