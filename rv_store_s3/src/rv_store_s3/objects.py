"""What obstore does alike for every object store: objects by key, conditional puts, listings, downloads by stream."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from rv_core import FileInfo
from rv_core.errors import StorageError
from rv_core.files.stores import Store, StoreAccessError, retry_time_s

_MIN_CHUNK_BYTES = 8 << 20
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist|container does not exist")
_NO_ACCESS = re.compile(r"\b40[13]\b|AccessDenied|Forbidden|[Uu]nauthor|[Cc]redential")
#: What obstore says of the request before it says what came of it. Its key may hold a number or word that looks like an
#: answer, and so may the time that it took: `in 301.3ms`.
_REQUEST = re.compile(r".*?Error performing [A-Z]+ \S+ in [^ ,]+")


class ObjectStore(Store):
    """Reads and writes `scheme://bucket/key`. obstore repeats transient failures itself."""

    #: What the names of the environment variables begin with that a bucket is opened by.
    prefixes: ClassVar[tuple[str, ...]] = ()
    #: What to look at where the store refuses, and where it cannot be reached.
    check_access: ClassVar[str] = "the credentials"
    check_address: ClassVar[str] = "the address"
    #: Up to this size the service copies an object at once, and whole; 0 where it does not.
    max_copy_bytes: ClassVar[int] = 0

    def __init__(self, scheme: str) -> None:
        import obstore  # noqa: F401 - without it this store cannot be made

        self._buckets: dict[tuple[object, ...], Any] = {}
        self._lock = threading.Lock()

    def new_bucket(self, name: str, uri: str) -> Any:
        """Obstore's store of a bucket.

        Args:
            name: what stands between the scheme and the first slash.
            uri: the file that it is opened for, for messages.
        """
        raise NotImplementedError

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

    def read_range(self, uri: str, start: int, end: int) -> bytes | None:
        """A part of the object."""
        import obstore
        from obstore.exceptions import BaseError

        bucket, key = self._open(uri)
        try:
            return bytes(obstore.get_range(bucket, key, start=start, end=end))
        except BaseError:  # what each service answers behind the end is another error
            if obstore.head(bucket, key)["size"] > start:
                raise
            return b""

    def write(self, uri: str, data: bytes) -> str | None:
        """Puts an object; its ETag, of this version alone."""
        import obstore

        bucket, key = self._open(uri)
        tag: str | None = obstore.put(bucket, key, data)["e_tag"]
        return tag

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

    def swap(self, uri: str, old: bytes, new: bytes | None) -> bool:
        """Puts an object on the condition of the ETag (or generation) that came with `old`; an empty line for None."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        bucket, key = self._open(uri)
        try:
            answer = obstore.get(bucket, key)
            if bytes(answer.bytes()) != old:
                return False
            version = {name: answer.meta[name] for name in ("e_tag", "version") if answer.meta.get(name) is not None}
            # obstore removes on no condition: what came in its place meanwhile would go.
            obstore.put(bucket, key, b"\n" if new is None else new, mode=version, use_multipart=False)
        except (FileNotFoundError, AlreadyExistsError, PreconditionError):
            return False
        except NotSupportedError:
            return super().swap(uri, old, new)
        return True

    def copy(self, source: str, target: str) -> bool:
        """Lets the service copy an object within a bucket, up to the size that it copies at once."""
        import obstore

        (bucket, source_key), (other_bucket, target_key) = self._open(source), self._open(target)
        if bucket is not other_bucket or obstore.head(bucket, source_key)["size"] > self.max_copy_bytes:
            return False
        obstore.copy(bucket, source_key, target_key)
        return True

    def delete(self, uri: str) -> None:
        """Removes an object."""
        import obstore

        bucket, key = self._open(uri)
        try:
            obstore.delete(bucket, key)
        except FileNotFoundError as err:
            if _NO_BUCKET.search(answer_in(err)):
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
        """What the service answers, shortened, and what to set."""
        text = first_lines(str(error)) or type(error).__name__
        answer = answer_in(error)
        if _NO_BUCKET.search(answer):
            fix = "create the bucket or correct its name"
            return StorageError(what, where=uri, why="there is no such bucket", fix=fix)
        if isinstance(error, FileNotFoundError):
            return None
        if _NO_ACCESS.search(answer):
            fix = f"check {self.check_access} and the rights on this path"
            return StoreAccessError(what, where=uri, why=text, fix=fix)
        is_unreachable = isinstance(error, OSError) or "error sending request" in text
        fix = f"check the network and {self.check_address}, then run the same command again" if is_unreachable else ""
        return StorageError(what, where=uri, why=text, fix=fix)

    def _open(self, uri: str) -> tuple[Any, str]:
        name, _, key = uri.partition("://")[2].partition("/")
        # Settings may change within a process (tests, notebooks); a store is bound to those it was made with.
        settings = tuple(sorted((key, value) for key, value in os.environ.items() if key.startswith(self.prefixes)))
        identity = (name, os.getpid(), settings, retry_time_s())
        with self._lock:
            if identity not in self._buckets:
                self._buckets[identity] = self.new_bucket(name, uri)
            return self._buckets[identity], key


def connection(endpoint: str | None) -> Mapping[str, Any]:
    """How obstore connects: with bounds on what hangs and on how long is asked again.

    Args:
        endpoint: the address, where it is not the service's own.
    """
    return {
        "client_options": {
            "allow_http": str(endpoint).startswith("http://"),
            "connect_timeout": timedelta(seconds=10),
            # For the whole answer, however large; what hangs is noticed by the read timeout.
            "timeout": timedelta(hours=12),
            "read_timeout": timedelta(seconds=60),
        },
        "retry_config": {"max_retries": 10, "retry_timeout": timedelta(seconds=retry_time_s())},
    }


def _info_of(meta: Any) -> FileInfo:
    return FileInfo(int(meta["size"]), int(meta["last_modified"].timestamp() * 1000) * 1_000_000, meta["e_tag"])


def answer_in(error: Exception) -> str:
    """What the service, or the way to it, answered: the text of an error without what obstore says of the request."""
    return _REQUEST.sub("", first_lines(str(error)), count=1)


def first_lines(text: str) -> str:
    """The text of an error without a dump of state (obstore) and without its XML."""
    text = text.partition("\n\nDebug source")[0]
    xml = re.search(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>", text)
    if xml:
        text = f"{text[: text.find('<')].strip()} {xml[1]}: {xml[2]}"
    return " ".join(text.split())[:500]
