"""Settings of the `local` runner: section `local` of a profile, or `RV_LOCAL_…` in the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """Settings of the `local` runner.

    Args:
        make: name or path of GNU make; "" looks for `make`, then `gmake`, on the PATH.
    """

    make: str = ""
