"""What ends the processes of a run when `rv run` itself is killed and cannot do it.

Beside every engine and every task that is started here waits a guard: a shell of its own session that reads from a
pipe whose writing end `rv run` alone holds. When `rv run` is gone, however it ended, the system closes the pipe; the
guard then sends TERM to the process group, so that every task ends in a state from which the run can go on, and KILL
to what is left after the grace. So not even KILL leaves tasks behind that nobody waits for, and no task has to help.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

DEFAULT_GRACE_S = 5.0

#: Reads the group to end, waits for the end of the pipe, ends the group; $1 is the grace in tenths of a second.
_GUARD = """
read group || exit 0
read more
kill -s TERM -- "-$group" || exit 0
tenths=$1
while [ "$tenths" -gt 0 ] && kill -s 0 -- "-$group"; do sleep 0.1; tenths=$((tenths - 1)); done
kill -s KILL -- "-$group"
"""

#: Names the process that leads the group before that does anything, so that no moment is left in which killing `rv run`
#: would leave it alone; then becomes the program, without the pipe. A shell can only name descriptors below 10, hence 0.
_LEADER = 'echo "$$" >&0; exec "$@" </dev/null'


class Lifeline:
    """Ties one process group to the life of this process.

    Start its leader with `argv` and with `write_fd` as its standard input, and call `close` when the group has ended.

    Args:
        grace_s: seconds that the group has between TERM and KILL when this process is gone.
    """

    def __init__(self, grace_s: float) -> None:
        read_fd, self.write_fd = os.pipe()
        try:
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "rv-guard", str(max(1, round(grace_s * 10)))],
                stdin=read_fd,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            os.close(self.write_fd)
            raise
        finally:
            os.close(read_fd)

    @staticmethod
    def argv(argv: Sequence[str]) -> list[str]:
        """The command line that names itself to the guard and becomes `argv`, with nothing to read on its input."""
        return ["/bin/sh", "-c", _LEADER, "rv-start", *argv]

    def close(self) -> None:
        """The group has ended: the guard may go."""
        self._guard.kill()
        self._guard.wait()
        os.close(self.write_fd)


def read_grace_s(environ: Mapping[str, str] | None = None) -> float:
    """Seconds that a stopped task has before it is killed: `RV_GRACE_S`, else 5.

    Anything that is not a number of seconds counts as not set: ending a process must not fail over it.
    """
    text = (os.environ if environ is None else environ).get("RV_GRACE_S", "")
    try:
        grace_s = float(text)
    except ValueError:
        return DEFAULT_GRACE_S
    return grace_s if 0 <= grace_s < float("inf") else DEFAULT_GRACE_S
