"""What a runner says that it does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Capabilities:
    """What a runner does; the core and the conformance kit go by these, never by a runner's name.

    Args:
        is_remote: tasks run on other machines: no local file, no local interpreter.
        detaches: `run` returns after submission; `observe` tells how the tasks are.
        parallel: tasks of one plan may run at the same time.
        cancels: `cancel` ends a run from any machine.
        retries: a task that exits 75 (stopped with its state saved) is started again, up to its `attempts`.
        retries_signals: so is one that dies by a signal; says nothing where `retries` is not claimed.
        times_out: a task is ended after its `timeout_s`.
        gpu_slots: tasks that want a GPU get one each.
        in_process: tasks run in the process of `rv run` itself (a debugger works, and so does a `memory://` root).
    """

    is_remote: bool = False
    detaches: bool = False
    parallel: bool = True
    cancels: bool = True
    retries: bool = True
    retries_signals: bool = True
    times_out: bool = True
    gpu_slots: bool = True
    in_process: bool = False
