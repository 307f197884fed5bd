"""What plugins say in the report of a run: the functions that they declare, called inside an error boundary.

Code that is found under a root is never imported for it: sections are those of pipelines that installed plugins know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rv_core.config.type_hints import hint_of
from rv_core.errors import RvError
from rv_core.launch.summaries import ReadStorage, done_commands, is_latest, known_pipeline
from rv_core.pipeline.report import ReportOutcomes, ReportSection, ReportSource
from rv_core.plugins.installed import plugin_manager
from rv_core.plugins.targets import resolve
from rv_core.record.layout import RunPaths
from rv_core.wording import shortened

if TYPE_CHECKING:
    from rv_core.status.values import RunStatus

_MAX_REASON = 300


class ToldSections(NamedTuple):
    """What the declared functions say of one pipeline of a run.

    Args:
        pipeline: its name.
        root_uri: where it lies.
        sections: what they said.
        problems: why some of them said nothing, a sentence each.
    """

    pipeline: str
    root_uri: str
    sections: tuple[ReportSection, ...] = ()
    problems: tuple[str, ...] = ()


def told_sections(status: RunStatus) -> list[ToldSections]:
    """The sections of each pipeline of a run, in the order of the plugins."""
    return [_told_of(status, name, root_uri) for name, root_uri in status.files.roots.items()]


def _told_of(status: RunStatus, name: str, root_uri: str) -> ToldSections:
    asked = _asked(status, name, "target", ReportSection)
    return ToldSections(name, root_uri, tuple(asked.answers), asked.problems)


class ToldOutcomes(NamedTuple):
    """What the declared functions say was predicted in one pipeline of a run.

    Args:
        outcomes: by subset.
        problems: why some of them said nothing, a sentence each.
    """

    outcomes: tuple[ReportOutcomes, ...] = ()
    problems: tuple[str, ...] = ()


def told_outcomes(status: RunStatus, name: str) -> ToldOutcomes:
    """The outcomes of one pipeline of a run, by name."""
    asked = _asked(status, name, "outcomes", ReportOutcomes)
    return ToldOutcomes(tuple(asked.answers), asked.problems)


class _Asked(NamedTuple):
    answers: list[Any]
    problems: tuple[str, ...] = ()


def _asked(status: RunStatus, name: str, field: str, kind: type) -> _Asked:
    """What the functions that a field of the declarations names return for a pipeline."""
    root_uri = status.files.roots[name]
    if not is_latest(status, root_uri):
        return _Asked([], ("results are not shown: a later run has been at work under this root",))
    pipeline = known_pipeline(RunPaths(root_uri, status.files.run_id))
    if pipeline is None:
        # A module of the user's own is nothing that a plugin could know.
        return _Asked([])
    source = ReportSource(pipeline.config, ReadStorage(root_uri), frozenset(done_commands(status, name)))
    hint = hint_of(type(pipeline.config))
    answers, problems = list[Any](), list[str]()
    for spec in plugin_manager().report_specs():
        target = getattr(spec, field)
        if not target or spec.config not in ("*", hint):
            continue
        try:
            answers += _checked(resolve(target, declared_by=f"the report sections {spec.name!r}")(source), kind)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin does there, the rest is shown
            problems.append(
                f"the {'sections' if field == 'target' else field} of {spec.name} cannot be made: {_reason(error)}"
            )
    return _Asked(answers, tuple(problems))


def _checked(returned: Any, kind: type) -> Iterator[Any]:
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        raise TypeError(f"a {type(returned).__name__} was returned instead of a list of {kind.__name__}")
    for found in returned:
        if not isinstance(found, kind):
            raise TypeError(f"a {type(found).__name__} is in the list instead of a {kind.__name__}")
        yield found


def _reason(error: BaseException) -> str:
    text = error.block.what if isinstance(error, RvError) else f"{type(error).__name__}: {error}"
    return shortened(" ".join(text.split()), _MAX_REASON)
