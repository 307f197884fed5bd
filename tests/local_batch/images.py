"""Images: what a container finds installed. Nothing is pulled or unpacked; an image is a folder of commands."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def _installed_path() -> dict[str, str]:
    """Packages that this process finds through PYTHONPATH are installed in the image."""
    path = os.environ.get("PYTHONPATH", "")
    entries = [os.path.abspath(entry) for entry in path.split(os.pathsep) if entry]
    return {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}


@dataclass(frozen=True)
class Image:
    """An image.

    Args:
        commands: what is on its PATH before the system's folders: name → words that it stands for.
        environ: its own environment variables (ENV of a Dockerfile).
        pull_error: why it cannot be pulled; "" for an image that can.
    """

    commands: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {"rv": [sys.executable, "-m", "rv_core"], "python": [sys.executable]}
    )
    environ: Mapping[str, str] = field(default_factory=_installed_path)
    pull_error: str = ""


class ImageStore:
    """Images by name; a name that was not set is the default image.

    Args:
        folder: where folders of commands are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, str] = {}
        self._images: dict[str, Image] = {}
        self._lock = threading.Lock()

    def __setitem__(self, name: str, image: Image) -> None:
        self._images[name] = image
        self._paths.pop(name, None)

    def __getitem__(self, name: str) -> Image:
        return self._images.setdefault(name, Image())

    def environ(self, name: str) -> dict[str, str]:
        """The environment that an image gives its containers."""
        image = self[name]
        with self._lock:
            if name not in self._paths:
                self._paths[name] = f"{self._write_commands(image)}:{_SYSTEM_PATH}"
            return {"PATH": self._paths[name], **image.environ}

    def _write_commands(self, image: Image) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = self._folder / str(len(list(self._folder.iterdir())))
        folder.mkdir()
        for command, words in image.commands.items():
            script = folder / command
            # `exec`: the command is the first process of the container, as in an image.
            script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            script.chmod(0o755)
        return folder
