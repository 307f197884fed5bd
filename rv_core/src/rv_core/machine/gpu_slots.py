"""One GPU for one task: lock files that all tasks of a user on this machine share, whatever runner started them.

A task takes the lock of a device before its pipeline is imported, sees that device and no other, and holds the lock
until its process ends; the system releases it even after KILL. Whoever is free first is taken first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rv_core.errors import TaskError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_LOCK_PARENT = Path("/tmp")
_POLL_S = 0.1
#: Where a driver shows: Linux, containers without its folder, Windows' Linux.
_DRIVER_TRACES = (Path("/proc/driver/nvidia/gpus"), Path("/dev/nvidiactl"), Path("/dev/dxg"))
_DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/._-]*")
_SMI_GPU = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[0-9a-fA-F-]+)\)")
_SMI_MIG = re.compile(r"\s+MIG .*\(UUID: (MIG-[0-9a-zA-Z/-]+)\)")


@dataclass
class GpuLease:
    """The devices that this process holds; empty where there are none and the task runs on the CPU.

    Args:
        devices: their names, as they stand in `CUDA_VISIBLE_DEVICES`.
    """

    devices: tuple[str, ...] = ()
    _locks: list[int] = field(default_factory=list, repr=False)
    _undo: Callable[[], None] | None = field(default=None, repr=False)

    def release(self) -> None:
        """Give the devices back and restore `CUDA_VISIBLE_DEVICES`; the end of the process gives them back too."""
        while self._locks:
            os.close(self._locks.pop())
        if self._undo is not None:
            self._undo()
            self._undo = None

    def __enter__(self) -> GpuLease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire(
    count: int,
    environ: MutableMapping[str, str] | None = None,
    *,
    on_wait: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> GpuLease:
    """Take `count` devices, waiting until they are free, and make this process see exactly these.

    Call it before anything that uses CUDA is imported. Where there is no device the lease is empty. Devices are those
    of `RV_GPUS` ("0,1"; "" or "none" for none), else of `CUDA_VISIBLE_DEVICES`, else those that exist.

    Args:
        count: how many devices; with 0 nothing is taken and nothing is changed.
        environ: where `CUDA_VISIBLE_DEVICES` is read and set; the environment of this process by default.
        on_wait: called once with a line for the user when no device is free.
        folder: where the lock files are; a folder of this user for this machine by default.

    Raises:
        TaskError: if more devices are wanted than there are, or `RV_GPUS` cannot be read.
    """
    environ = os.environ if environ is None else environ
    if count <= 0:
        return GpuLease()
    listing = _ask_driver()
    devices = known_devices(environ, listing)
    if not devices:
        # What is not found is left alone: devices of another make may answer to the same variable.
        return GpuLease((), [], _show_only(environ, ()) if "RV_GPUS" in environ else None)
    if count > len(devices):
        raise TaskError(
            f"the task wants {count} GPUs, and only {len(devices)} may be used here: {', '.join(devices)}",
            fix="lower the command's gpus, or set RV_GPUS to more devices",
        )
    locks = _wait_for(count, _lock_names(devices, listing), folder or lock_folder(), on_wait)
    held = tuple(device for device in devices if device in locks)
    return GpuLease(held, list(locks.values()), _show_only(environ, held))


def known_devices(environ: MutableMapping[str, str] | None = None, listing: str | None = None) -> tuple[str, ...]:
    """The names of the devices that tasks may use here, each once.

    Args:
        environ: where `RV_GPUS` and `CUDA_VISIBLE_DEVICES` are read; of this process by default.
        listing: what `nvidia-smi -L` prints; asked here by default.

    Raises:
        TaskError: if `RV_GPUS` cannot be read.
    """
    environ = os.environ if environ is None else environ
    if "RV_GPUS" in environ:
        return _parse_rv_gpus(environ["RV_GPUS"])
    if VISIBLE in environ:
        return _parse_visible(environ[VISIBLE])
    return _parse_listing(_ask_driver() if listing is None else listing) or _driver_devices()


def lock_folder() -> Path:
    """The folder of this user's lock files on this machine, made if it is missing.

    It is in `/tmp` whatever `TMPDIR` says, so that a job with a scratch folder of its own shares it too.

    Raises:
        TaskError: if something else is in its place, for instance a link or a folder of another user.
    """
    folder = _LOCK_PARENT / f"rv-gpu-{os.getuid()}-{os.uname().nodename}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise TaskError(f"{folder} is not a folder of this user", fix="remove it; rv keeps the locks of GPUs there")
    return folder


def _parse_rv_gpus(text: str) -> tuple[str, ...]:
    if text.strip().lower() in ("", "none"):
        return ()
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if not _DEVICE_NAME.fullmatch(name)]
    if wrong:
        raise TaskError(
            f"RV_GPUS holds {wrong[0]!r}, which names no device",
            where="RV_GPUS",
            fix="set numbers or UUIDs with commas between them, as in RV_GPUS=0,1, or none",
        )
    return tuple(dict.fromkeys(names))


def _parse_visible(text: str) -> tuple[str, ...]:
    """As CUDA reads it: the first name that is none (-1, say) ends the list."""
    found: dict[str, None] = {}
    for name in text.split(","):
        if not _DEVICE_NAME.fullmatch(name.strip()) or name.strip() == "none":
            break
        found[name.strip()] = None
    return tuple(found)


def _parse_listing(listing: str) -> tuple[str, ...]:
    """Device numbers; where a device is cut into MIG instances, which numbers cannot name, the UUIDs of those."""
    slices = _SMI_MIG.findall(listing)
    return tuple(slices) if slices else tuple(index for index, _ in _SMI_GPU.findall(listing))


def _lock_names(devices: Sequence[str], listing: str) -> dict[str, str]:
    """Device -> the name of its lock: its UUID where it is known.

    The number of a device means another one in every container or cluster job that sees only a part of the machine.
    """
    uuids = dict(_SMI_GPU.findall(listing))
    return {device: re.sub(r"[^A-Za-z0-9-]", "_", uuids.get(device, device)) for device in devices}


def _ask_driver() -> str:
    """What `nvidia-smi -L` prints; "" where there is no driver, which is seen without starting anything."""
    if not any(path.exists() for path in _DRIVER_TRACES):
        return ""
    import subprocess

    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def _driver_devices() -> tuple[str, ...]:
    """Device numbers by the device files, for where `nvidia-smi` is missing."""
    numbers = [path.name[len("nvidia") :] for path in Path("/dev").glob("nvidia[0-9]*")]
    return tuple(sorted((number for number in numbers if number.isdigit()), key=int))


def _wait_for(count: int, names: dict[str, str], folder: Path, on_wait: Callable[[str], None] | None) -> dict[str, int]:
    """Device -> descriptor of its lock. One process looks at a time, the others stand in line and use no CPU."""
    with _turn(folder, names, on_wait) as say_once:
        while not (locks := _try_locks(count, names, folder)):
            say_once()
            time.sleep(_POLL_S)
        return locks


def _try_locks(count: int, names: dict[str, str], folder: Path) -> dict[str, int]:
    """All `count` locks or none."""
    locks: dict[str, int] = {}
    for device, name in names.items():
        lock = _try_lock(folder / f"{name}.lock")
        if lock is not None:
            locks[device] = lock
        if len(locks) == count:
            return locks
    for lock in locks.values():
        os.close(lock)
    return {}


@contextlib.contextmanager
def _turn(folder: Path, names: dict[str, str], on_wait: Callable[[str], None] | None) -> Iterator[Callable[[], None]]:
    said: list[str] = []

    def say_once() -> None:
        if on_wait is not None and not said:
            said.append(f"waiting for a GPU: {', '.join(names)} in use")
            on_wait(said[0])

    # Per set of devices: who waits for device 0 alone must not hold up who waits for device 1.
    digest = hashlib.sha256(",".join(sorted(names.values())).encode()).hexdigest()[:16]
    queue = os.open(folder / f"queue-{digest}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not _locked(queue, fcntl.LOCK_EX | fcntl.LOCK_NB):
            say_once()
            fcntl.flock(queue, fcntl.LOCK_EX)
        yield say_once
    finally:
        os.close(queue)


def _try_lock(path: Path) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
        return lock
    os.close(lock)
    return None


def _locked(lock: int, operation: int) -> bool:
    try:
        fcntl.flock(lock, operation)
    except BlockingIOError:
        return False
    return True


def _show_only(environ: MutableMapping[str, str], devices: Sequence[str]) -> Callable[[], None]:
    before: Any = environ.get(VISIBLE)
    environ[VISIBLE] = ",".join(devices)

    def undo() -> None:
        if before is None:
            environ.pop(VISIBLE, None)
        else:
            environ[VISIBLE] = before

    return undo
