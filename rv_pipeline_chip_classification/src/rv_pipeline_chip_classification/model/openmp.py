"""How the threads of OpenMP wait for each other. It is read when torch is loaded, so it is said before."""

from __future__ import annotations

import os


def wait_passively() -> None:
    """Let waiting threads sleep, unless the user has said otherwise; to be called before torch is imported.

    They spin. On a machine with other work to do, that made the same training take 130 s instead of 10 s (2 cores,
    4 busy processes).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
