"""A declaration that imports a heavy library."""

import pretend_torch  # noqa: F401

from rv_core import RunnerSpec, hookimpl


@hookimpl
def rv_runners():
    return [RunnerSpec("heavy", "wrong_plugins.runners:SoundRunner")]
