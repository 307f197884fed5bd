"""What this package declares to rv."""

from __future__ import annotations

from rv_core import StoreSpec, hookimpl

RV_HOOK_API_VERSION = 1

_STORE = "rv_store_s3.store:S3Store"


@hookimpl
def rv_stores() -> list[StoreSpec]:
    """The store of Amazon S3."""
    return [
        StoreSpec("s3", _STORE, "Amazon S3 and what speaks its protocol"),
        StoreSpec("s3a", _STORE, "the same as s3"),
    ]
