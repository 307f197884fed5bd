"""`rv cancel`."""

from __future__ import annotations

from rv_core.cli.status import Root, RunId, tell_of_end
from rv_core.terminal import say


def cancel(root: Root, run: RunId = None) -> None:
    """End the run that is going on under a root; what is done stays done.

    Example:
      rv cancel out
    """
    from rv_core.launch.cancel import cancel as cancel_active
    from rv_core.record.reading import absolute_root, find_run
    from rv_core.status.look import status_of

    root_uri = absolute_root(root)
    done = cancel_active(root_uri, run)
    say(done.message)
    files = find_run(root_uri, done.run_id)
    if files.record.capabilities.get("detaches"):
        tell_of_end(status_of(files))
