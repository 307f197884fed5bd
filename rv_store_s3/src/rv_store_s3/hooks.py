"""What this package declares to rv."""

from __future__ import annotations

from rv_core import StoreSpec, hookimpl

RV_HOOK_API_VERSION = 1

_S3 = "rv_store_s3.store:S3Store"
_GOOGLE = "rv_store_s3.google:GoogleStore"
_AZURE = "rv_store_s3.azure:AzureStore"


@hookimpl
def rv_stores() -> list[StoreSpec]:
    """The stores that obstore knows, with puts on condition."""
    return [
        StoreSpec("s3", _S3, "Amazon S3 and what speaks its protocol"),
        StoreSpec("s3a", _S3, "the same as s3"),
        StoreSpec("gs", _GOOGLE, "Google Cloud Storage"),
        StoreSpec("gcs", _GOOGLE, "the same as gs"),
        StoreSpec("az", _AZURE, "Azure Blob Storage, az://container/name"),
        StoreSpec("abfs", _AZURE, "the same, abfs://container@account.dfs.core.windows.net/name"),
        StoreSpec("abfss", _AZURE, "the same as abfs"),
    ]
