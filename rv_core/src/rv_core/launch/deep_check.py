"""The child process of a deep check: reads a request from stdin, prints the findings as the last line of stdout."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any


def main() -> int:
    """Run the check that the request names."""
    request = json.loads(sys.stdin.read())
    for folder in request["path"]:
        if folder not in sys.path:
            sys.path.append(folder)
    with tempfile.TemporaryDirectory(prefix="rv-check-") as scratch:
        findings = _findings(request, Path(scratch))
    print(json.dumps([finding.to_json() for finding in findings]))
    return 0


def _findings(request: Mapping[str, Any], scratch: Path) -> list[Any]:
    from rv_core.config import saved
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.user_code import archive as code_archive

    code = json.loads(request["config"])["rv"].get("code") or {}
    archive = scratch / "code.zip"
    archive.write_bytes(base64.b64decode(request["code_archive"]))
    code_archive.activate_code(code, archive, code.get("folder"))
    config = saved.parse(request["config"], source="the config of this run", expected=PipelineConfig).config
    module, _, name = request["target"].partition(":")
    return list(getattr(import_module(module), name)(config, request["todo"]))


if __name__ == "__main__":
    raise SystemExit(main())
