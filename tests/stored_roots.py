"""Puts roots that an earlier release left into a folder of a test, as if they had been made there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def put_in_place(sample: Path, folder: Path) -> Path:
    """Copy a sample and fill in where it lies, which Python runs it and on which machine; returns its root.

    Large outputs are not stored: files of the recorded size stand for those that a manifest names and that are missing.
    """
    texts = {
        "@ROOT@": str(folder / "root"),
        "@FOLDER@": str(folder),
        "@PYTHON@": sys.executable,
        "@HOST@": os.uname().nodename,
    }
    for path in filter(Path.is_file, sample.rglob("*")):
        data = path.read_bytes()
        for old, new in texts.items():
            data = data.replace(old.encode(), new.encode())
        _write(folder / path.relative_to(sample), data)
    root = folder / "root"
    for manifest in (root / ".rv" / "done").glob("*/*.json"):
        for output in json.loads(manifest.read_text())["outputs"]:
            if not (root / output["path"]).exists():
                _write(root / output["path"], bytes(output["bytes"]))
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a root by its name relative to it."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
