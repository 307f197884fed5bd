"""What a long computation needs of the task that it runs in. A running `Pipeline` offers it."""

from __future__ import annotations

from typing import NoReturn, Protocol


class Control(Protocol):
    """Whom a computation tells how far it is, and who may ask it to stop."""

    @property
    def key(self) -> str:
        """The key of the job: a checkpoint belongs to exactly one."""
        ...

    @property
    def stop_requested(self) -> bool:
        """Whether to stop as soon as the state is saved."""
        ...

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Report how far it is: steps, cells or scenes done, and in all."""
        ...

    def record(self, **counts: float) -> None:
        """Put numbers into the manifest."""
        ...

    def stopped(self) -> NoReturn:
        """End the task: its state is saved, it will be run again."""
        ...


class Unheard:
    """A `Control` of what runs in no task: nobody is told, and what ends it is an interrupt where it comes."""

    key, stop_requested = "", False

    def progress(self, done: int, total: int, **numbers: float) -> None:
        """Nothing is shown."""

    def record(self, **counts: float) -> None:
        """Nothing keeps counts."""

    def stopped(self) -> NoReturn:
        """Never called, as nobody asks it to stop."""
        raise KeyboardInterrupt
