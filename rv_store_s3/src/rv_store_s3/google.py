"""Files in Google Cloud Storage: `gs://bucket/key`. Credentials are found as obstore finds them, from `GOOGLE_…`."""

from __future__ import annotations

import os
from typing import Any

from rv_store_s3.objects import ObjectStore, connection


class GoogleStore(ObjectStore):
    """Reads and writes `gs://bucket/key`."""

    prefixes = ("GOOGLE_",)
    check_access = "the credentials (GOOGLE_APPLICATION_CREDENTIALS or the role of the machine)"
    check_address = "the address (GOOGLE_BASE_URL)"

    def new_bucket(self, name: str, uri: str) -> Any:
        """A bucket of Google Cloud Storage."""
        from obstore.store import GCSStore

        return GCSStore(name, **connection(os.environ.get("GOOGLE_BASE_URL")))
