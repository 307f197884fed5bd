"""Files in S3 (and what speaks its protocol).

Credentials, region and endpoint are found as boto3 finds them: with a profile or an AWS configuration file by boto3
itself, else from the environment (keys, container and instance roles).
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import Any

from rv_core.errors import StorageError
from rv_core.files.stores import StoreAccessError
from rv_store_s3.objects import ObjectStore, answer_in, connection, first_lines

_REGION_TIMEOUT_S = 5.0
#: S3 names no place in its 301.
_WRONG_REGION = re.compile(
    r"status code: 301\b|redirect without LOCATION|PermanentRedirect|AuthorizationHeaderMalformed"
)
_ON = ("1", "true", "yes", "on")


class S3Store(ObjectStore):
    """Reads and writes `s3://bucket/key`."""

    prefixes = ("AWS_",)
    check_access = "the credentials (AWS_PROFILE or the role of the job)"
    check_address = "the address (AWS_ENDPOINT_URL)"
    max_copy_bytes = 5 << 30  # what CopyObject takes

    def new_bucket(self, name: str, uri: str) -> Any:
        """A bucket of S3."""
        return _new_bucket(name, uri)

    def explain(self, error: Exception, what: str, uri: str) -> StorageError | None:
        """As every object store, and what to set where another region has the bucket."""
        if not isinstance(error, FileNotFoundError) and _WRONG_REGION.search(answer_in(error)):
            why = first_lines(str(error))
            return StorageError(what, where=uri, why=why, fix="set AWS_REGION to the region of the bucket")
        return super().explain(error, what, uri)


def _new_bucket(name: str, uri: str) -> Any:
    from obstore.store import S3Store as Bucket

    options = _from_boto3(uri) if _has_aws_files() else _from_environment()
    endpoint = options.get("endpoint")
    if endpoint is not None:
        options["virtual_hosted_style_request"] = False
    elif not options.get("region"):
        options["region"] = bucket_region(f"https://{name}.s3.amazonaws.com/") or "us-east-1"
    if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() in _ON:  # GDAL's name for it
        options.update(skip_signature=True, credential_provider=None)
    if os.environ.get("AWS_REQUEST_PAYER", "").lower() == "requester":
        options["request_payer"] = True
    return Bucket(
        name,
        **connection(endpoint),
        **options,
    )


def _from_environment() -> dict[str, Any]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = {"endpoint": endpoint, "region": region or ("us-east-1" if endpoint else None)}
    return {key: value for key, value in options.items() if value}


def _has_aws_files() -> bool:
    if "AWS_PROFILE" in os.environ:
        return True
    files = (("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
    return any(os.path.isfile(os.path.expanduser(os.environ.get(name, default))) for name, default in files)


def _from_boto3(uri: str) -> dict[str, Any]:
    if find_spec("boto3") is None:
        raise StoreAccessError(
            "an AWS profile or configuration file is set, and boto3, which reads it, is not installed",
            where=uri,
            fix="pip install boto3",
        )
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        meta = session.client("s3", region_name=session.region_name or "us-east-1").meta
        options: dict[str, Any] = {"region": session.region_name, "credential_provider": None}
        if os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() not in _ON:
            options["credential_provider"] = Boto3CredentialProvider(session)
    except (BotoCoreError, ValueError) as err:
        raise StoreAccessError(
            "no AWS credentials found",
            where=uri,
            why=str(err),
            fix="set AWS_PROFILE, or AWS_NO_SIGN_REQUEST=YES for public data",
        ) from err
    if not re.search(r"\.amazonaws\.com(\.cn)?$", meta.endpoint_url):
        options["endpoint"] = meta.endpoint_url
        options["region"] = meta.region_name
    return {key: value for key, value in options.items() if value is not None}


def bucket_region(bucket_url: str) -> str | None:
    """The region that S3 names for a bucket, to anybody who asks; None if there is no answer."""
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(bucket_url, method="HEAD"), timeout=_REGION_TIMEOUT_S) as answer:
            headers = answer.headers
    except HTTPError as err:
        err.close()
        headers = err.headers
    except (URLError, OSError):
        return None
    region = headers.get("x-amz-bucket-region")
    return None if region is None else str(region)
