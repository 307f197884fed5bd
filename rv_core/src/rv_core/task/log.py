"""The log of one attempt of a task: everything that its process, and what it starts, prints."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator

from rv_core.files import uris
from rv_core.record.event_writer import EventWriter
from rv_core.record.layout import RunPaths, local_run_dir

UPLOAD_INTERVAL_S = 60.0
#: A log is put whole, so the pauses grow with it: of a log that grows evenly 20 times its size is put in all.
_PAUSE_SHARE = 0.05


@contextlib.contextmanager
def redirected_to(path: str) -> Iterator[None]:
    """Send this process's stdout and stderr to a file until the end of the block."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    saved = _point_output_at(descriptor)
    os.close(descriptor)
    try:
        yield
    finally:
        _restore_output(saved)


@contextlib.contextmanager
def copied_to(path: str, upload_uri: str = "") -> Iterator[None]:
    """Copy this process's stdout and stderr to a file, and put that file to a URI at the end and now and then.

    That is every 60 s, and less often in a task of more than 20 minutes.

    For tasks on other machines, where the engine keeps what is printed as well.
    """
    reading, writing = os.pipe()
    saved = _point_output_at(writing)
    os.close(writing)
    copier = threading.Thread(target=_copy, args=(reading, saved[0], path, upload_uri), daemon=True)
    copier.start()
    try:
        yield
    finally:
        _restore_output(saved, close=False)
        copier.join(timeout=10)
        for descriptor in saved:
            os.close(descriptor)


def _point_output_at(descriptor: int) -> tuple[int, int]:
    sys.stdout.flush()
    sys.stderr.flush()
    saved = (os.dup(1), os.dup(2))
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A file name that is no UTF-8 must not end a task that prints it; C locales write its bytes as they are.
            is_strict = getattr(stream, "errors", "strict") == "strict"
            # Logs are UTF-8, as everything else that rv reads: a locale without umlauts must not end a task either.
            is_ascii = stream.encoding.replace("-", "").lower() in ("ascii", "ansi_x3.41968", "usascii")
            stream.reconfigure(
                line_buffering=True,
                encoding="utf-8" if is_ascii else None,
                errors="backslashreplace" if is_strict else "surrogateescape" if is_ascii else None,
            )
    return saved


def _restore_output(saved: tuple[int, int], *, close: bool = True) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a log on a full disk; why the task ended is in its events
            stream.flush()
    for descriptor, target in zip(saved, (1, 2), strict=True):
        os.dup2(descriptor, target)
        if close:
            os.close(descriptor)


def _copy(reading: int, original: int, path: str, upload_uri: str) -> None:
    """Until every writer has closed the pipe: to the original output, to the file, and now and then to the URI."""
    started = uploaded_at = time.monotonic()
    with open(path, "ab", buffering=0) as file:
        while data := os.read(reading, 65536):
            file.write(data)
            with contextlib.suppress(OSError):
                os.write(original, data)
            now = time.monotonic()
            if upload_uri and now - uploaded_at > upload_pause_s(uploaded_at - started):
                uploaded_at = now
                upload(path, upload_uri)
    os.close(reading)
    if upload_uri:
        upload(path, upload_uri)


def upload_pause_s(age_s: float) -> float:
    """How long a log that was put at this age, in seconds, is not put again."""
    return max(UPLOAD_INTERVAL_S, _PAUSE_SHARE * age_s)


def upload(path: str, uri: str) -> None:
    """Put a log to a URI, redacted; a log that cannot be put never fails its task, and stays in its file."""
    from rv_core.errors import StorageError
    from rv_core.files import by_uri
    from rv_core.redaction import redact
    from rv_core.terminal import say

    try:
        with open(path, "rb") as file:
            # Line by line: what is hidden never goes over a line's end, and the patterns meet no text of many MB.
            lines = (redact(line.decode(errors="surrogateescape")) for line in file)
            by_uri.write_bytes(uri, b"".join(line.encode(errors="surrogateescape") for line in lines))
    except (OSError, StorageError) as error:
        say(f"the log could not be written to {uri}: {error}", file=sys.__stderr__)


class BytesTee:
    """The `buffer` of a `Tee`."""

    def __init__(self, stream: object, log: object) -> None:
        self._stream = stream
        self._log = log

    def write(self, data: bytes) -> int:
        """Write to both."""
        for target in (self._log, self._stream):
            target.flush()  # type: ignore[attr-defined]  # text that was written before comes before
            target.buffer.write(data)  # type: ignore[attr-defined]
            target.buffer.flush()  # type: ignore[attr-defined]
        return len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream.buffer, name)  # type: ignore[attr-defined]


class Tee:
    """A text stream that also writes to a log; for tasks that share the process of `rv run`."""

    def __init__(self, stream: object, log: object) -> None:
        self._stream = stream
        self._log = log

    def write(self, text: str) -> int:
        """Write to both."""
        self._log.write(text)  # type: ignore[attr-defined]
        return int(self._stream.write(text))  # type: ignore[attr-defined]

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them to both."""
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> BytesTee:
        """What takes bytes, for both."""
        return BytesTee(self._stream, self._log)

    def close(self) -> None:
        """Nothing: the streams are those of `rv run`, which goes on."""
        self._stream.flush()  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def teed_to(path: str) -> Iterator[None]:
    """Copy what Python prints in the block to a file as well; the terminal, and a debugger, keep working."""
    with open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1) as log:
        before = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = Tee(before[0], log), Tee(before[1], log)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def print_library_logs(verbosity: int) -> None:
    """Print to stderr what Python's `logging` gets: information with `-v`, everything with `-vv`, else only warnings.

    Args:
        verbosity: how often `-v` was given.
    """
    if verbosity <= 0:
        return  # Python prints warnings by itself, and the import costs every task
    import logging

    from rv_core.terminal import say

    class ToStderr(logging.Handler):
        """Looks stderr up each time: the log of a task takes its place."""

        def emit(self, record: logging.LogRecord) -> None:
            say(self.format(record), file=sys.stderr)

    handler = ToStderr()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)


@contextlib.contextmanager
def opened_record(paths: RunPaths, task: str, attempt: int) -> Iterator[tuple[EventWriter, int, str]]:
    """The events and the log of one attempt; an attempt number that is taken already (a second copy) is counted up.

    Yields:
        (events, attempt, local path of the log).
    """
    run_dir = os.environ.get("RV_RUN_DIR") or local_run_dir(paths)
    events_dir, logs_dir = os.path.join(run_dir, "events"), os.path.join(run_dir, "logs")
    try:
        os.makedirs(events_dir, exist_ok=True)
        os.makedirs(logs_dir, exist_ok=True)
        path, attempt = _first_free(events_dir, task, attempt)
    except OSError as err:
        from rv_core.errors import StorageError

        raise StorageError(
            "the record of the run cannot be written",
            where=run_dir,
            why=str(err),
            fix="let the user who started the run go on with it, or run the same command with a root of your own",
        ) from err
    remote = "" if uris.is_local(paths.root_uri) else uris.join(paths.folder, "events", f"{task}.{attempt}.jsonl")
    with EventWriter(path, remote_uri=remote) as events:
        yield events, attempt, os.path.join(logs_dir, f"{task}.{attempt}.log")


def _first_free(events_dir: str, task: str, attempt: int) -> tuple[str, int]:
    """The file of events of the first attempt from a number on that nobody has begun, made; and its number."""
    while True:
        path = os.path.join(events_dir, f"{task}.{attempt}.jsonl")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return path, attempt
        except FileExistsError:
            attempt += 1


def output_of_task(paths: RunPaths, log_path: str, task: str, attempt: int) -> contextlib.AbstractContextManager[None]:
    """Where the task's output goes: to its log, and for an engine on another machine also to that engine."""
    if os.environ.get("RV_RUN_DIR"):
        if uris.is_local(paths.root_uri):
            return redirected_to(log_path)
        return _redirected_and_uploaded(log_path, uris.join(paths.folder, "logs", f"{task}.{attempt}.log"))
    upload = "" if uris.is_local(paths.root_uri) else uris.join(paths.folder, "logs", f"{task}.{attempt}.log")
    return copied_to(log_path, upload)


@contextlib.contextmanager
def _redirected_and_uploaded(path: str, uri: str) -> Iterator[None]:
    try:
        with redirected_to(path):
            yield
    finally:
        upload(path, uri)
