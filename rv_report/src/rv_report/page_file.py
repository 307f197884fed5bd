"""Where a page goes: a file of its own, never over one that is not ours."""

from __future__ import annotations

import os

from rv_core.errors import UsageError
from rv_core.files import by_uri, uris
from rv_core.files.problems import MissingFileError
from rv_report.page import MARK


def checked_target(out: str) -> str:
    """The place of a page: a local path or a URI.

    Raises:
        UsageError: if something lies there that is no page of ours.
        StorageError: if it cannot be looked at.
    """
    target = uris.absolute(out, os.getcwd())
    try:
        is_ours = by_uri.read_bytes(target).startswith(MARK.encode())
    except MissingFileError:
        return target
    if not is_ours:
        raise UsageError("what lies there is no page of rv report", where=target, fix="give another name with -o")
    return target


def write_page(target: str, text: str) -> int:
    """Put a page in place, whole.

    Returns:
        Its size in bytes.

    Raises:
        StorageError: if it cannot be written.
    """
    data = text.encode("utf-8", "backslashreplace")
    by_uri.write_bytes(target, data)
    return len(data)
