"""From what a training reports to one point an epoch, however often it is killed and goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: Of the epoch before, while the next one is on: `validated_epoch` says which.
_VALIDATED = "validation_"
_NO_CURVES = ("epoch", "num_epochs", "validated_epoch")


class Points:
    """Numbers by epoch, each given once.

    Args:
        last_steps: the last epoch that the tracker already has, by the name of the number. A training that was killed
            repeats some steps, with the same numbers.
    """

    def __init__(self, last_steps: Mapping[str, int]) -> None:
        self._last_steps = dict(last_steps)
        self._epoch, self._current = 0, dict[str, float]()

    def of(self, numbers: Mapping[str, float]) -> Iterator[tuple[int, dict[str, float]]]:
        """The (epoch, numbers) that are known for good after a report of a training."""
        epoch = int(numbers["epoch"])
        if epoch != self._epoch:
            yield from self.rest()
            self._epoch = epoch
        curves = {name: value for name, value in numbers.items() if name not in _NO_CURVES}
        self._current = {name: value for name, value in curves.items() if not name.startswith(_VALIDATED)}
        validated = {name: value for name, value in curves.items() if name.startswith(_VALIDATED)}
        yield from self._new(int(numbers.get("validated_epoch", 0)), validated)

    def rest(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The last numbers of the epoch in hand."""
        yield from self._new(self._epoch, self._current)

    def _new(self, step: int, numbers: Mapping[str, float]) -> Iterator[tuple[int, dict[str, float]]]:
        new = {name: value for name, value in numbers.items() if step > self._last_steps.get(name, 0)}
        if new:
            self._last_steps.update(dict.fromkeys(new, step))
            yield step, new
