"""The errors that a user can cause or mend, their wording and their exit codes.

Every expected error is an `RvError`: the command line prints it as one block – what, where, why, what to do next –
without a traceback (`--traceback` shows it) and ends with the error's `exit_code`. Anything else is a bug in rv or
in a plugin and prints a traceback.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_ENVIRONMENT = 3
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130

#: What a shell says of a process that the highest signal ended, 128 + 64: a code above it is a program's own.
LAST_SIGNAL_CODE = 192

Severity = Literal["error", "warning", "skipped"]
FindingKind = Literal["config", "environment"]


class Finding(NamedTuple):
    """One thing that is wrong (or could not be looked at) in a config, an input or the environment.

    Args:
        where: the dotted path in the config, a file or a URI, a setting; "" where there is no place to name.
        what: what is wrong, with the value.
        fix: what to do about it; "" where `what` says it already.
        severity: `error` stops the run, `warning` is printed, `skipped` is a check that could not be made.
        kind: `environment` where not what was asked for is wrong but this machine: no credentials, no network.
    """

    where: str
    what: str
    fix: str = ""
    severity: Severity = "error"
    kind: FindingKind = "config"

    def to_json(self) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return self._asdict()

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        fix = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.what}{fix}"


def as_findings(returned: Any) -> Iterator[Finding]:
    """What code of a plugin or of the user returned as findings: several, one alone, texts, or nothing.

    Args:
        returned: the findings. One alone is a tuple, which would be taken for five texts, and a text for its letters.
    """
    for found in (returned,) if isinstance(returned, Finding | str) else returned or ():
        yield found if isinstance(found, Finding) else Finding("", str(found))


class _Block(NamedTuple):
    what: str
    where: str = ""
    why: str = ""
    fix: str = ""
    findings: tuple[Finding, ...] = ()


class RvError(Exception):
    """Base of every error that is explained to the user instead of shown as a traceback.

    Args:
        what: what went wrong, with the value that was refused.
        where: file, URI, dotted config path, plugin or task.
        why: the cause, if it is not plain from `what`.
        fix: the next step for the user.
        findings: several problems found at once, each with its own place.
    """

    exit_code = EXIT_FAILED
    headline = "error"

    def __init__(
        self, what: str, *, where: str = "", why: str = "", fix: str = "", findings: Iterable[Finding] = ()
    ) -> None:
        super().__init__(what)
        self.block = _Block(what, where, why, fix, tuple(as_findings(findings)))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The single problems, when several were found at once."""
        return self.block.findings

    def one_line(self) -> str:
        """What and why on one line, for lists, logs and reasons; `str(error)` is the whole block."""
        return ": ".join(filter(None, map(_in_one_line, (self.block.what, self.block.why))))

    def as_finding(self, where: str = "", *, kind: FindingKind = "config") -> Finding:
        """The error as one of several things that are wrong: what and why on one line, with its next step.

        Args:
            where: the place; "" for the error's own.
            kind: `environment` where this machine is what is wrong.
        """
        return Finding(where or self.block.where, self.one_line(), self.block.fix, kind=kind)

    def __str__(self) -> str:
        """The whole block as plain text: one line of what, then where, why, the findings and the next step."""
        block = self.block
        lines = [f"{self.headline}: {block.what}"]
        if block.where:
            lines.append(f"  where: {block.where}")
        if block.why:
            lines.append(f"  why: {block.why}")
        for finding in block.findings:
            mark = "" if finding.severity == "error" else f"({finding.severity}) "
            lines.append(f"  - {mark}{finding}")
        if block.fix:
            lines.append(f"  next: {block.fix}")
        return "\n".join(lines)


def _in_one_line(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


class UsageError(RvError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = EXIT_USAGE
    headline = "usage error"


class ConfigError(RvError):
    """A config, a settings file or the module that makes them is wrong; all problems are reported at once."""

    exit_code = EXIT_USAGE
    headline = "config error"


class PlanError(RvError):
    """The commands cannot be put into a plan: a missing requirement, a cycle, clashing ids or roots."""

    exit_code = EXIT_USAGE
    headline = "plan error"


class CheckError(RvError):
    """Pre-flight found something that would make the run fail."""

    exit_code = EXIT_USAGE
    headline = "check failed"


class DataError(RvError):
    """An input (image, labels, bundle) cannot be used for what it is asked for."""

    exit_code = EXIT_FAILED
    headline = "data error"


class StorageError(RvError):
    """A URI cannot be read, written or listed. A task ends with 1 for it, a verb of `rv` with 3."""

    exit_code = EXIT_FAILED
    headline = "storage error"


class TaskError(RvError):
    """A task cannot start or cannot be finished, for instance because a job that it requires is not done."""

    exit_code = EXIT_FAILED
    headline = "task error"


class PluginError(RvError):
    """A plugin cannot be loaded, is missing, or clashes with another one."""

    exit_code = EXIT_ENVIRONMENT
    headline = "plugin error"


class RunnerError(RvError):
    """A runner cannot work here: its engine, credentials or services are missing."""

    exit_code = EXIT_ENVIRONMENT
    headline = "runner error"
    #: Set where something of the run goes on in spite of the error: the root then stays taken, for `rv cancel`.
    leaves_running = False


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most likely a misspelling of, or None if none is near; "RED" is near "red"."""
    import difflib

    names = list(known)
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if matches:
        return matches[0]
    folded = {known_name.casefold(): known_name for known_name in names}
    matches = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> tuple[str, str]:
    """What is wrong and what to do for a name that is not among the known ones, near miss included.

    Returns:
        (what, fix), to be passed on to an `RvError` or a `Finding`.
    """
    names = sorted(known)
    near = nearest(name, names)
    fix = f"did you mean {near!r}?" if near else ""
    return f"no {kind} named {name!r}; known: {', '.join(names) or 'none'}", fix
