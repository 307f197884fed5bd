"""`rv cancel`."""

from __future__ import annotations

from rv_core.cli.status import Root, RunId
from rv_core.terminal import say


def cancel(root: Root, run: RunId = None) -> None:
    """End the run that is going on under a root; what is done stays done.

    Example:
      rv cancel out
    """
    from rv_core.launch.cancel import cancel as cancel_active
    from rv_core.record.reading import absolute_root

    say(cancel_active(absolute_root(root), run).message)
