"""The items of a command: a task's share of them, and their ids."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from rv_core.config.field_types import text_problem
from rv_core.errors import PlanError, TaskError
from rv_core.pipeline.pipeline import Pipeline

T = TypeVar("T")


class WorkItem(NamedTuple, Generic[T]):
    """One item of a share: its id, key and group, and the value that the command gets."""

    id: str
    key: str
    group: str
    value: T


class ItemRecorder(Protocol):
    """What `Items` reports to: it decides what is done already and writes the manifests."""

    def is_done(self, item: WorkItem[Any]) -> bool:
        """Whether the item's manifest and outputs are there under its key."""

    def begin(self, item: WorkItem[Any]) -> None:
        """The command is about to get this item."""

    def finish(self, item: WorkItem[Any]) -> None:
        """The command has asked for the next item, so this one is complete."""


class Items(Generic[T]):
    """This task's share of a command's items; asking for the next item says that the one before is complete.

    Work on each item inside one plain loop over them. An item that has written outputs is done once the next one is
    asked for; the last one, and items that write nothing, are done when the command has returned. Leaving the loop
    early leaves the item in hand, and those after it, not done.

    Raises:
        TaskError: if they are looped over a second time, or inside a loop over them.
    """

    def __init__(self, share: Sequence[WorkItem[T]], recorder: ItemRecorder) -> None:
        self._share = share
        self._recorder = recorder
        self._current: WorkItem[T] | None = None
        self._left = len(share)
        self._is_open = False
        self._is_asked_through = False

    def __len__(self) -> int:
        return len(self._share)

    def __iter__(self) -> Iterator[T]:
        self._refuse_second_loop()
        self._is_open = True
        try:
            for item in self._share[len(self._share) - self._left :]:
                if not self._recorder.is_done(item):
                    self._current = item
                    self._recorder.begin(item)
                    yield item.value
                    self._recorder.finish(item)
                    self._current = None
                self._left -= 1
            self._is_asked_through = True
        finally:
            self._is_open = False

    def _refuse_second_loop(self) -> None:
        if not (self._is_open or self._is_asked_through):
            return
        how = "inside a loop over them" if self._is_open else "a second time"
        raise TaskError(
            f"the items are asked for {how}",
            why="asking for the next item says that the one before is complete; `list(items)`, `sorted(items)`, "
            "`x in items` and a loop of its own ask for all of them",
            fix="work on each item inside one plain loop, `for item in items: …`",
        )

    @property
    def group(self) -> str:
        """The group of the item in hand ("" where items have no groups)."""
        return self._current.group if self._current else ""

    @property
    def num_left(self) -> int:
        """How many items of the share are not done yet, the one in hand included."""
        return self._left


def item_id(item: Any) -> str:
    """The id of an item: its `id` attribute, else its text.

    Raises:
        PlanError: if the item has neither a usable id nor is a plain value.
    """
    own = getattr(item, "id", None)
    if isinstance(own, str) and own:
        return _saveable(own)
    if isinstance(item, (str, int)) and not isinstance(item, bool) and str(item):
        return _saveable(str(item))
    if isinstance(item, str) or isinstance(own, str):
        raise PlanError(
            "the id of an item is empty",
            why="rv names the manifest of every item after its id",
            fix="leave the empty text out of the items" if isinstance(item, str) else "give it an id of its own",
        )
    raise PlanError(
        f"an item of type {type(item).__name__} has no id",
        why="rv names the manifest of every item after its id",
        fix="give the item's class a field `id: str`, or use strings or integers as items",
    )


def _saveable(name: str) -> str:
    if text_problem(name):
        raise PlanError(
            f"the id {name!a:.120} of an item holds bytes that are no UTF-8",
            why="rv writes the id of every item into files of the run",
            fix="rename the file that it comes from, or give the item an id of its own",
        )
    return name


def items_by_id(pipeline: Pipeline, command: str) -> dict[str, tuple[str, Any]]:
    """Item id -> (group, item), in order.

    Raises:
        PlanError: if two items of the command have one id.
    """
    found: dict[str, tuple[str, Any]] = {}
    for group, items in (pipeline.items_of(command) or {}).items():
        for item in items:
            name = item_id(item)
            if name in found:
                raise PlanError(f"two items of {command} have the id {name!r}", fix="give every item an id of its own")
            found[name] = (group, item)
    return found
