"""Whether another run has been at work under a root: since a plan was made, or while a task works there."""

from __future__ import annotations

import atexit
from typing import NamedTuple

from rv_core.errors import UsageError
from rv_core.files import by_uri, uris
from rv_core.files.local import FileInfo
from rv_core.record import marker
from rv_core.record.layout import CONFIG_FOR_PEOPLE
from rv_core.record.marker import Marker
from rv_core.record.reading import known_run_ids


class RootSight(NamedTuple):
    """What tells that a run has been at work under a root: every run sets the marker, then writes its config there.

    Args:
        holder: the run that has the root, as its marker says; "" if none has.
        config: size and times of the `pipeline-config.json` of the last run; None if there is none.
    """

    holder: str
    config: FileInfo | None

    @classmethod
    def of(cls, root_uri: str) -> RootSight:
        """A root as it is now.

        Raises:
            StorageError: if the store cannot be asked.
        """
        found = marker.read_marker(root_uri)
        holder = found.run_id if found is not None else ""
        return cls(holder, by_uri.stat(uris.join(root_uri, CONFIG_FOR_PEOPLE)))


class RootWatch:
    """Looks at the marker of a root for a task that finds no marker of its own run.

    Somebody starts it by hand or with `make -f`. It may work while no other run has begun since, and sets the marker while
    it does: then none begins.

    Args:
        root_uri: the root.
        run_id: the task's own run; "" for a task that is planned by hand, which sets no marker.
    """

    def __init__(self, root_uri: str, run_id: str) -> None:
        self._root = root_uri
        self._run_id = run_id
        self._runs = self._known_runs()

    def refuse_beside_another(self) -> Marker | None:
        """The marker, if no other run has the root.

        Raises:
            UsageError: naming the run that has it.
        """
        found = marker.read_marker(self._root)
        if found is not None and found.run_id != self._run_id and not marker.is_marker_stale(found):
            self._refuse(found)
        return found

    def check(self) -> None:
        """Look again.

        Raises:
            UsageError: naming the run that has the root, or that has had it meanwhile.
        """
        found = self.refuse_beside_another()
        if not self._run_id:
            return
        if found is None or found.run_id != self._run_id:
            self._take()
        # After that no run can come and go unseen. Their order says nothing: one may have been planned long ago, or where
        # a clock is behind.
        if others := self._known_runs() - self._runs:
            raise UsageError(
                f"run {max(others)} has worked here since this task began, and this task's run no longer has the root",
                where=self._root,
                why="two runs on one root would undo each other's work",
                fix="run the command of the run that you want again",
            )

    def _known_runs(self) -> set[str]:
        return set(known_run_ids(self._root)) - {self._run_id} if self._run_id else set()

    def _take(self) -> None:
        """Set the marker where none is or one that stands for nobody: damaged, of a run that is over, an empty line."""
        mine = marker.this_process_marker(self._run_id, "run-command", detached=False)
        marker.acquire_marker(self._root, mine, take_over=self._refuse, is_running=lambda _: True)
        atexit.register(by_uri.swap, marker.marker_uri(self._root), mine.to_text().encode(), None)

    def _refuse(self, other: Marker) -> None:
        raise marker.already_running(self._root, other, may_take_over=False)
