"""What a store of a scheme can do, and how long one is asked again."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import Protocol

from rv_core.errors import EXIT_ENVIRONMENT, ConfigError, StorageError
from rv_core.files.local import FileInfo

_MAX_DELAY_S = 8.0
_DEFAULT_RETRY_S = 30.0


class StoreAccessError(StorageError):
    """A store cannot be used from here at all: its library or the credentials for it are missing."""

    exit_code = EXIT_ENVIRONMENT


class RemoteStore(Protocol):
    """What a store of one scheme can do. Errors are the library's own; a missing file is `FileNotFoundError`."""

    def stat(self, uri: str) -> FileInfo | None:
        """Size and identity of a file without reading it; None if there is none."""

    def read(self, uri: str) -> bytes:
        """The whole file."""

    def write(self, uri: str, data: bytes) -> None:
        """Puts a whole file."""

    def write_once(self, uri: str, data: bytes) -> bool:
        """Puts a whole file if there is none; False if there is one."""

    def delete(self, uri: str) -> None:
        """Removes a file; `FileNotFoundError` if it is not there is fine."""

    def list_files(self, uri: str) -> dict[str, FileInfo]:
        """Every file below the URI by relative path."""

    def upload(self, path: str, uri: str) -> None:
        """Puts a local file."""

    def download(self, uri: str, path: str) -> FileInfo:
        """Streams a file to a new local path; what exactly was downloaded."""

    def is_transient(self, error: Exception) -> bool:
        """Whether asking again may help (and the library has not done so itself)."""


def retry_delays() -> Iterator[float]:
    """Growing pauses in seconds (with jitter) that add up to at most `RV_RETRY_S` seconds from now.

    Raises:
        ConfigError: if `RV_RETRY_S` is not a number.
    """
    import random

    end = time.monotonic() + retry_time_s()
    delay_s = 0.2
    while (left_s := end - time.monotonic()) > 0:
        yield min(delay_s * random.uniform(0.5, 1.0), left_s)
        delay_s = min(2 * delay_s, _MAX_DELAY_S)


def retry_time_s() -> float:
    """For how long a transient failure of a store is asked again: `RV_RETRY_S` seconds.

    Raises:
        ConfigError: if it is not a number of seconds.
    """
    text = os.environ.get("RV_RETRY_S", "")
    if not text:
        return _DEFAULT_RETRY_S
    if not re.fullmatch(r"\d{1,6}(\.\d*)?", text):
        raise ConfigError(f"{text!r} is not a number of seconds", where="environment variable RV_RETRY_S")
    return float(text)
