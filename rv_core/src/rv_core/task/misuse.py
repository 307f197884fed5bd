"""Outputs that no item can be credited with: what is wrong, why, and how to write it instead."""

from __future__ import annotations

from rv_core.errors import TaskError
from rv_core.plan.shares import WHOLE

_ORDER = (
    "asking for the next item says that the one before is complete; list(items), sorted(items), pools and whatever "
    "reads ahead ask for items before the ones in front of them are worked on"
)
_LOOP = (
    "work on each item inside the plain loop, `for item in items: …`; what is made of all items belongs into a command "
    "of its own that requires this one"
)


def no_item_in_hand(command: str, name: str, *, is_begun: bool) -> TaskError:
    """A command with items writes an output outside of its loop over them."""
    when = "when all its items were asked for already" if is_begun else "before it has asked for an item"
    why = _ORDER if is_begun else "an output is recorded for the item in hand, and there is none yet"
    return TaskError(f"{command} writes {name!r} {when}", why=why, fix=_LOOP)


def written_late(command: str, name: str, begun: str, now: str) -> TaskError:
    """An output was begun with one item in hand and ended with another, or none."""
    return TaskError(
        f"{command} began to write {name!r} while {begun} was in hand, and ended when "
        f"{f'{now} was' if now else 'all its items were asked for'}",
        why=_ORDER,
        fix=_LOOP,
    )


def asked_again(command: str, item: str) -> TaskError:
    """A new loop begins with an item that has outputs already."""
    return TaskError(
        f"{command} asks for {item} again after it has written outputs of it",
        why="a loop that was left early leaves its item in hand, and a new loop begins with that item",
        fix="keep one iterator for the whole share: `each = iter(items)`, then `itertools.islice(each, n)` for a batch",
    )


def written_elsewhere(command: str, name: str) -> TaskError:
    """A child process of the task writes through a copy of its storage."""
    return TaskError(
        f"{command} writes {name!r} in a child process",
        why="what a child process writes cannot be recorded as an output of the item in hand",
        fix="return the content from the child and write it in the command, or write to a path of "
        "`self.storage.output_file(…)` that the command has opened",
    )


def shared_output(command: str, name: str, first: str, second: str) -> TaskError:
    """Two items of a command write one file."""
    return TaskError(
        f"{name!r} is an output of two items of {command}: {first} and {second}",
        why="the one that is written last would replace the other, and neither could be told to be done",
        fix="give every item files of its own, for instance by its id as it is",
    )


def in_words(item: str) -> str:
    """An item as messages name it; the whole command where it has no items."""
    return "the command" if item == WHOLE else item
