"""Files in Azure Blob Storage: `az://container/key`, `abfs://container@account.dfs.core.windows.net/key`.

Credentials are found as obstore finds them, from `AZURE_…`.
"""

from __future__ import annotations

import os
from typing import Any

from rv_core.files.stores import StoreAccessError
from rv_store_s3.objects import ObjectStore, connection

_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")


class AzureStore(ObjectStore):
    """Reads and writes blobs of a container."""

    prefixes = ("AZURE_", "MSI_", "IDENTITY_")
    check_access = "the credentials (AZURE_STORAGE_ACCOUNT_KEY, AZURE_CLIENT_ID or the identity of the machine)"
    check_address = "the address (AZURE_STORAGE_ENDPOINT)"

    def new_bucket(self, name: str, uri: str) -> Any:
        """A container of a storage account: that of the URI, else that of the environment."""
        from obstore.store import AzureStore as Container

        container, _, host = name.partition("@")
        account = host.partition(".")[0] or next(filter(None, map(os.environ.get, _ACCOUNTS)), None)
        if account is None:
            fix = "set AZURE_STORAGE_ACCOUNT_NAME, or write abfs://container@account.dfs.core.windows.net/…"
            raise StoreAccessError("the storage account of this container is not known", where=uri, fix=fix)
        endpoint = os.environ.get("AZURE_STORAGE_ENDPOINT") or os.environ.get("AZURE_ENDPOINT")
        return Container(container, account_name=account, **connection(endpoint))
