"""Where caches, run folders of remote roots and scratch files are on this machine; names of temporary files."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from rv_core.errors import StorageError

_MAX_NAME_BYTES = 255
#: `.<name>[.<tag>].<host>-<process>-<number>.tmp`, and claims on a file of a store: names that nobody else gives.
_TEMPORARY = r"(?s)\..+\.(?:(?P<host>[A-Za-z0-9_]+)-(?P<pid>\d+)-\d+|[0-9a-f]{20}\.claim)\.tmp"
#: What Linux calls the processes of a machine that is not within a container.
_FIRST_PID_NAMESPACE = "4026531836"
_counter = itertools.count()
_scratch: tuple[int, Path] | None = None


def cache_folder() -> Path:
    """The user's cache folder: `RV_CACHE_DIR`, else that of the system (`~/.cache/rv` on Linux). Not created.

    Raises:
        StorageError: if the user has no home folder.
    """
    configured = os.environ.get("RV_CACHE_DIR")
    if configured:
        return Path(os.path.abspath(os.path.expanduser(configured)))
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("rv", appauthor=False))
    except RuntimeError as err:
        raise StorageError(
            "there is no place for the cache of rv",
            why=f"the user with the id {os.getuid()} has no name, and HOME is not set: {err}",
            fix="set HOME, or RV_CACHE_DIR to a folder",
        ) from err


def cache_subfolder(*names: str) -> Path:
    """A folder in the cache folder, created for this user alone.

    Raises:
        StorageError: if it cannot be created.
    """
    folder = cache_folder().joinpath(*names)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise StorageError(
            "cannot create the cache folder",
            where=str(folder),
            why=err.strerror or str(err),
            fix="set RV_CACHE_DIR to a folder that can be written to",
        ) from err
    return folder


def resolved(path: str) -> str:
    """An absolute path without links on its way; as it is where one leads nowhere, so that this is told as written."""
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    return os.path.realpath(path) if os.path.exists(there) else path


def text_digest(text: str, num_digits: int = 20) -> str:
    """A name for any text (a root, a URI) that is safe in a file name: the first digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:num_digits]


@lru_cache(maxsize=1)
def host_label() -> str:
    """What process numbers in names of temporary files count on: this machine, and the container if it has its own.

    Letters, digits and `_`. Containers may share one host name, and each sees its own processes alone.
    """
    name = re.sub(r"[^A-Za-z0-9]", "_", os.uname().nodename)[:24] or "host"
    try:
        namespace = re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        return name
    return name if namespace in ("", _FIRST_PID_NAMESPACE) else f"{name}_{namespace}"


def pid_exists(pid: int) -> bool:
    """Whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def scratch_folder() -> Path:
    """The temporary folder of this process (below `TMPDIR`), removed when it ends.

    What killed processes of this user on this machine have left there is removed when the folder is created.
    """
    global _scratch
    if _scratch is None or _scratch[0] != os.getpid():
        _scratch = (os.getpid(), _new_scratch_folder())
    return _scratch[1]


def _new_scratch_folder() -> Path:
    import atexit
    import tempfile

    parent = Path(tempfile.gettempdir())
    _remove_dead_scratch(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"rv-scratch-{host_label()}-{os.getpid()}-", dir=parent))
    except OSError as err:
        raise StorageError(
            "cannot create a folder for temporary files",
            where=str(parent),
            why=err.strerror or str(err),
            fix="set TMPDIR to a folder on a disk with free space",
        ) from err
    atexit.register(_remove_scratch, os.getpid(), folder)
    return folder


def _remove_scratch(pid: int, folder: Path) -> None:
    # A forked child inherits the exit handler, but the folder is its parent's.
    if os.getpid() == pid:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _remove_dead_scratch(parent: Path) -> None:
    import shutil

    pattern = re.compile(rf"rv-scratch-{host_label()}-(\d+)-")
    with os.scandir(parent) as entries:
        dead = [
            entry.path for entry in entries if (match := pattern.match(entry.name)) and not pid_exists(int(match[1]))
        ]
    for path in dead:
        # Another process may be removing it too, and in a shared /tmp it may be another user's.
        shutil.rmtree(path, ignore_errors=True)


def is_temporary(name: str) -> bool:
    """Whether a file name (without folder) is that of a file that rv is writing, or was when it was killed."""
    return name.endswith(".tmp") and re.fullmatch(_TEMPORARY, name) is not None


def temporary_name(name: str, attempt_tag: str = "") -> str:
    """A name for a temporary file that nobody else uses; long names are shortened to what file systems take."""
    tag = re.sub(r"[^A-Za-z0-9_-]", "_", attempt_tag)[:60]
    suffix = f"{'.' if tag else ''}{tag}.{host_label()}-{os.getpid()}-{next(_counter)}.tmp"
    if len(os.fsencode(name)) + len(suffix) + 1 > _MAX_NAME_BYTES:
        name = text_digest(name)
    return f".{name}{suffix}"


def sweep_temporary(folder: str, *, elsewhere_too: bool) -> int:
    """Removes temporary files below a folder that no process writes any more; links are not followed.

    Args:
        folder: where to look, recursively.
        elsewhere_too: also what processes of other machines and containers have left. Only for who knows that none of
            them is at work there: whether they live cannot be seen from here.

    Returns:
        How many were removed.
    """
    num_removed = 0
    for path, _, names in os.walk(folder):
        for name in filter(is_temporary, names):
            if not _may_be_in_use(name, elsewhere_too):
                with suppress(OSError):
                    os.unlink(os.path.join(path, name))
                    num_removed += 1
    return num_removed


def _may_be_in_use(name: str, elsewhere_too: bool) -> bool:
    match = re.fullmatch(_TEMPORARY, name)
    if match is None or match["host"] is None:
        return True
    return pid_exists(int(match["pid"])) if match["host"] == host_label() else not elsewhere_too
