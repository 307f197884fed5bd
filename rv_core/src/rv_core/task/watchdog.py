"""The end of a task that does not heed its time limit.

At its limit an exception is raised in the command. A command may swallow that (a bare `except:` around a retry), may have
taken the alarm for itself, may be stuck in C code, or may leave a thread behind that keeps the process alive. So a thread
of this process waits a little longer and then ends the process whatever it does. Only a command with `timeout_s` pays.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import threading
import time

from rv_core.errors import EXIT_FAILED
from rv_core.machine.lifeline import read_grace_s
from rv_core.record.event_writer import EventWriter

#: What the thread may need for the last words of a process whose interpreter is held by something else.
_LAST_WORDS_S = 2.0


def end_this_process_after(timeout_s: float, events: EventWriter) -> None:
    """End this process with exit code 1 where it still is there after its time and the grace.

    Args:
        timeout_s: the time limit, from now on.
        events: where to say so.
    """
    wait_s = timeout_s + read_grace_s()
    threading.Thread(target=_end_after, args=(wait_s, timeout_s, events), name="rv-timeout", daemon=True).start()
    # It needs no interpreter: it also ends what never lets the thread run.
    faulthandler.dump_traceback_later(wait_s + _LAST_WORDS_S, exit=True, file=sys.__stderr__ or sys.stderr)


def _end_after(wait_s: float, timeout_s: float, events: EventWriter) -> None:
    time.sleep(wait_s)
    reason = f"timed out after {timeout_s} s and went on; its process was ended"
    with contextlib.suppress(Exception):  # whatever is in the way: the process ends
        faulthandler.dump_traceback(all_threads=True)
        print(reason, file=sys.stderr, flush=True)
        events.reopen()
        events.write("failed", reason=reason, exit_code=EXIT_FAILED)
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.2)  # for the thread that copies the log, where there is one
    os._exit(EXIT_FAILED)
