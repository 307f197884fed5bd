"""Files in S3 (and what speaks its protocol) through obstore.

Credentials, region and endpoint are found as boto3 finds them: with a profile or an AWS configuration file by boto3
itself, else from the environment (keys, container and instance roles). obstore repeats transient failures itself.
"""

from __future__ import annotations

import os
import re
import threading
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from rv_core.errors import StorageError
from rv_core.files.local import FileInfo
from rv_core.files.stores import Store, StoreAccessError, retry_time_s

_MIN_CHUNK_BYTES = 8 << 20
_REGION_TIMEOUT_S = 5.0
_NO_ACCESS = re.compile(r"\b40[13]\b|AccessDenied|Forbidden|[Uu]nauthor|[Cc]redential")
_WRONG_REGION = re.compile(r"\b301\b|PermanentRedirect|AuthorizationHeaderMalformed")
_ON = ("1", "true", "yes", "on")


class S3Store(Store):
    """Reads and writes `s3://bucket/key`."""

    def __init__(self, scheme: str = "s3") -> None:
        import obstore  # noqa: F401 - without it this store cannot be made

        self._buckets: dict[tuple[object, ...], Any] = {}
        self._lock = threading.Lock()

    def stat(self, uri: str) -> FileInfo | None:
        """Size and ETag by HEAD; None if there is no such object."""
        import obstore

        bucket, key = self._open(uri)
        try:
            return _info_of(obstore.head(bucket, key))
        except FileNotFoundError:
            return None

    def read(self, uri: str) -> bytes:
        """The whole object."""
        import obstore

        bucket, key = self._open(uri)
        return bytes(obstore.get(bucket, key).bytes())

    def write(self, uri: str, data: bytes) -> None:
        """Puts an object."""
        import obstore

        bucket, key = self._open(uri)
        obstore.put(bucket, key, data)

    def write_once(self, uri: str, data: bytes) -> bool:
        """Puts an object on the condition that there is none (`If-None-Match: *`)."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        bucket, key = self._open(uri)
        try:
            obstore.put(bucket, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        return True

    def delete(self, uri: str) -> None:
        """Removes an object."""
        import obstore

        bucket, key = self._open(uri)
        try:
            obstore.delete(bucket, key)
        except FileNotFoundError as err:
            if "NoSuchBucket" in str(err):
                raise

    def list_files(self, uri: str) -> dict[str, FileInfo]:
        """Every object below the prefix, 1,000 a request."""
        import obstore

        bucket, key = self._open(uri)
        prefix = key.strip("/")
        skipped = len(prefix) + 1 if prefix else 0
        pages = obstore.list(bucket, prefix or None)
        return {meta["path"][skipped:]: _info_of(meta) for page in pages for meta in page}

    def upload(self, path: str, uri: str) -> None:
        """Puts a local file, in parts where it is large."""
        import obstore

        bucket, key = self._open(uri)
        with open(path, "rb") as file:
            obstore.put(bucket, key, file)

    def download(self, uri: str, path: str) -> FileInfo:
        """Streams an object to a new file; its identity is that of the very answer that was written.

        Raises:
            ConnectionError: if fewer bytes came than announced.
        """
        import obstore

        bucket, key = self._open(uri)
        answer = obstore.get(bucket, key)
        info = _info_of(answer.meta)
        with open(path, "wb") as file:
            file.writelines(answer.stream(min_chunk_size=_MIN_CHUNK_BYTES))
            num_bytes = file.tell()
        if num_bytes != info.size:
            raise ConnectionError(f"the connection ended after {num_bytes} of {info.size} bytes")
        return info

    def is_transient(self, error: Exception) -> bool:
        """Whether asking again may help: obstore repeats requests, but not a body that broke off."""
        return isinstance(error, ConnectionError) or "response body" in str(error)

    def explain(self, error: Exception, what: str, uri: str) -> StorageError | None:
        """What AWS answers, shortened, and what to set."""
        text = _first_lines(str(error)) or type(error).__name__
        if re.search(r"NoSuchBucket|bucket does not exist", text):
            fix = "create the bucket or correct its name"
            return StorageError(what, where=uri, why="there is no such bucket", fix=fix)
        if isinstance(error, FileNotFoundError):
            return None
        if _NO_ACCESS.search(text):
            fix = "check the credentials (AWS_PROFILE or the role of the job) and the rights on this path"
            return StoreAccessError(what, where=uri, why=text, fix=fix)
        fix = ""
        if _WRONG_REGION.search(text):
            fix = "set AWS_REGION to the region of the bucket"
        elif isinstance(error, OSError) or "error sending request" in text:
            fix = "check the network and the address (AWS_ENDPOINT_URL), then run the same command again"
        return StorageError(what, where=uri, why=text, fix=fix)

    def _open(self, uri: str) -> tuple[Any, str]:
        name, _, key = uri.partition("://")[2].partition("/")
        # Settings may change within a process (tests, notebooks); a store is bound to those it was made with.
        settings = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith("AWS_")))
        identity = (name, os.getpid(), settings, retry_time_s())
        with self._lock:
            if identity not in self._buckets:
                self._buckets[identity] = _new_bucket(name, uri)
            return self._buckets[identity], key


def _info_of(meta: Any) -> FileInfo:
    return FileInfo(int(meta["size"]), int(meta["last_modified"].timestamp() * 1000) * 1_000_000, meta["e_tag"])


def _first_lines(text: str) -> str:
    # obstore adds a dump of its own state; S3 answers in XML.
    text = text.partition("\n\nDebug source")[0]
    xml = re.search(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>", text)
    if xml:
        text = f"{text[: text.find('<')].strip()} {xml[1]}: {xml[2]}"
    return " ".join(text.split())[:500]


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
        client_options={
            "allow_http": str(endpoint).startswith("http://"),
            "connect_timeout": timedelta(seconds=10),
            # For the whole answer, however large; what hangs is noticed by the read timeout.
            "timeout": timedelta(hours=12),
            "read_timeout": timedelta(seconds=60),
        },
        retry_config={"max_retries": 10, "retry_timeout": timedelta(seconds=retry_time_s())},
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
