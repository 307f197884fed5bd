"""A folder of TensorBoard's event files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class EventFiles:
    """Curves in a folder; each process that goes on with a training adds a file to it.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        self.last_steps: Mapping[str, int] = _last_steps(folder)
        self._writer = EventFileWriter(folder)

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add a point to some curves; it is on the disk then, as the process may be killed."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self, *, succeeded: bool) -> None:
        """TensorBoard knows no end of a training."""
        self._writer.close()


def _last_steps(folder: str) -> dict[str, int]:
    found = EventAccumulator(folder)
    found.Reload()
    return {name: max(event.step for event in found.Scalars(name)) for name in found.Tags()["scalars"]}
