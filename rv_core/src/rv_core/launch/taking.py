"""Before the first task: what the plan takes from other roots is taken, by this process, and what cannot be is planned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rv_core.files import uris
from rv_core.files.outputs import UnusableSourceError
from rv_core.launch import preflight
from rv_core.launch.prepared import PreparedRun, findings_of, plan_again
from rv_core.pipeline.items import WorkItem
from rv_core.plan.shares import split_shares
from rv_core.plan.sharing import Taken
from rv_core.task.taking import Taker
from rv_core.wording import count_text

if TYPE_CHECKING:
    from rv_core.plan.decisions import RunPlan

#: Copies at a time. On this machine each waits three times for the disk, which serves several at once; with a store each
#: waits for some answers.
_LOCAL_THREADS, _STORE_THREADS = 16, 32


class Show(Protocol):
    """What tells people what is being taken."""

    def taking(self, prepared: PreparedRun) -> None:
        """Something is about to be taken from other roots."""

    def planned_again(self, prepared: PreparedRun, why: str) -> None:
        """The plan is another one now."""


def take_from_others(prepared: PreparedRun, show: Show) -> None:
    """Take what the plan takes from other roots. What cannot be taken is to be done, and told.

    Whatever ends this half-way, what was taken by then is done.

    Raises:
        CheckError: if something speaks against what is to be done instead.
        StorageError: if the roots of the run cannot be written to.
    """
    is_other_plan = False
    while prepared.run_plan.num_taken:
        show.taking(prepared)
        failed = _take_all(prepared.run_plan, prepared.run_id)
        prepared.num_taken += prepared.run_plan.num_taken - len(failed)
        if not failed:
            break
        prepared.refused |= failed
        plan_again(prepared)
        show.planned_again(prepared, f"{count_text(len(failed), 'item')} cannot be taken")
        is_other_plan = True
    if is_other_plan:
        preflight.raise_if_wrong(findings_of(prepared))


class _Share(NamedTuple):
    """What one thread takes: items of one command."""

    root_uri: str
    run_id: str
    command: str
    items: Sequence[Taken]

    def take(self, is_over: Event) -> dict[tuple[str, str], str]:
        """(other root, manifest) -> why it cannot be taken."""
        taker = Taker(self.root_uri, self.run_id, self.command, {i.id: i.key for i, _, _ in self.items})
        failed = {}
        for item, source_root, manifest in self.items:
            if is_over.is_set():
                break
            try:
                taker.take(WorkItem(item.id, item.key, item.group, item.value), source_root, manifest)
            except UnusableSourceError as err:
                failed[source_root, manifest.name] = err.one_line()
        taker.close()
        return failed


def _take_all(run_plan: RunPlan, run_id: str) -> Mapping[tuple[str, str], str]:
    """Take everything; (other root, manifest) -> why it cannot be taken."""
    is_local = all(uris.is_local(uris.expand(root)) for root in _roots(run_plan))
    num_threads = _LOCAL_THREADS if is_local else _STORE_THREADS
    is_over = Event()
    pool = ThreadPoolExecutor(num_threads)
    try:
        futures = [pool.submit(share.take, is_over) for share in _shares(run_plan, run_id, num_threads)]
        return _failures(futures)
    finally:
        is_over.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _failures(futures: Sequence[Future[dict[tuple[str, str], str]]]) -> dict[tuple[str, str], str]:
    failed: dict[tuple[str, str], str] = {}
    for future in futures:
        failed |= future.result()
    return failed


def _roots(run_plan: RunPlan) -> Iterator[str]:
    for command in run_plan.commands:
        if command.taken:
            yield run_plan.roots[command.pipeline]
            yield from {taken.root_uri for taken in command.taken}


def _shares(run_plan: RunPlan, run_id: str, num_threads: int) -> Iterator[_Share]:
    for command in run_plan.commands:
        root_uri = run_plan.roots[command.pipeline]
        for share in split_shares(command.taken, min(num_threads, len(command.taken)), lambda taken: ""):
            yield _Share(root_uri, run_id, command.command, share)
