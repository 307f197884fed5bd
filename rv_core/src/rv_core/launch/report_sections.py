"""What plugins say in the report of a run: the functions that they declare, called inside an error boundary.

Code that is found under a root is never imported for it: sections are those of pipelines that installed plugins know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rv_core.config.type_hints import hint_of
from rv_core.errors import RvError
from rv_core.launch.summaries import ReadStorage, done_commands, is_latest, known_pipeline
from rv_core.pipeline.report import ReportSection, ReportSource
from rv_core.plugins.installed import plugin_manager, resolve
from rv_core.record.layout import RunPaths
from rv_core.wording import shortened

if TYPE_CHECKING:
    from rv_core.status.values import RunStatus

_MAX_REASON = 300


@dataclass(frozen=True)
class ToldSections:
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
    if not is_latest(status, root_uri):
        problem = "results are not shown: a later run has been at work under this root"
        return ToldSections(name, root_uri, problems=(problem,))
    pipeline = known_pipeline(RunPaths(root_uri, status.files.run_id))
    if pipeline is None:
        # A module of the user's own is nothing that a plugin could know.
        return ToldSections(name, root_uri)
    hint = hint_of(type(pipeline.config))
    specs = [spec for spec in plugin_manager().report_specs() if spec.config in ("*", hint)]
    source = ReportSource(pipeline.config, ReadStorage(root_uri), frozenset(done_commands(status, name)))
    sections, problems = list[ReportSection](), list[str]()
    for spec in specs:
        try:
            sections += _checked(resolve(spec.target, declared_by=f"the report sections {spec.name!r}")(source))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a plugin does there, the rest is shown
            problems.append(f"the sections of {spec.name} cannot be made: {_reason(error)}")
    return ToldSections(name, root_uri, tuple(sections), tuple(problems))


def _checked(returned: Any) -> Iterator[ReportSection]:
    if not isinstance(returned, Sequence) or isinstance(returned, str):
        raise TypeError(f"a {type(returned).__name__} was returned instead of a list of ReportSection")
    for section in returned:
        if not isinstance(section, ReportSection):
            raise TypeError(f"a {type(section).__name__} is in the list instead of a ReportSection")
        yield section


def _reason(error: BaseException) -> str:
    text = error.block.what if isinstance(error, RvError) else f"{type(error).__name__}: {error}"
    return shortened(" ".join(text.split()), _MAX_REASON)
