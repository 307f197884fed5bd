"""The child process of a deep check: reads a request from a file, prints the findings as the last line of stdout."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

_ADVICE = (
    "tasks import a copy of the module from an archive, where `__file__` names no folder: read the files beside it in "
    "get_config, or make it a module of a package and run that by its dotted name"
)


def main() -> int:
    """Run the check that the request names, which is in the file that the command line names, and removed."""
    request_file = Path(sys.argv[1])
    request = json.loads(request_file.read_text(encoding="utf-8"))
    request_file.unlink()
    signal.signal(signal.SIGTERM, lambda signum, _frame: sys.exit(128 + signum))  # so that the scratch folder goes
    for folder in request["path"]:
        if folder not in sys.path:
            sys.path.append(folder)
    # What the module and the check print must not be taken for the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory(prefix="rv-check-") as scratch:
        findings = _findings(request, Path(scratch))
    print(json.dumps([finding.to_json() for finding in findings]), file=answer)
    return 0


def _findings(request: Mapping[str, Any], scratch: Path) -> list[Any]:
    from rv_core.config import saved
    from rv_core.errors import as_findings
    from rv_core.pipeline.pipeline import PipelineConfig

    code = json.loads(request["config"])["rv"].get("code") or {}
    wrong = _import_code(code, base64.b64decode(request["code_archive"]), scratch / "code.zip")
    if wrong:
        return wrong
    config = saved.parse_trusted(request["config"], source="the config of this run", expected=PipelineConfig).config
    if not request["target"]:
        return []
    module, _, name = request["target"].partition(":")
    return list(as_findings(getattr(import_module(module), name)(config, request["todo"])))


def _import_code(code: Mapping[str, Any], data: bytes, archive: Path) -> list[Any]:
    """Import the module that travels from its archive, as every task does; what it raises is a finding."""
    from rv_core.errors import Finding
    from rv_core.user_code import archive as code_archive
    from rv_core.user_code.failures import user_lines

    archive.write_bytes(data)
    code_archive.activate_code(code, archive, code.get("folder"))
    if not code.get("archive"):
        return []
    try:
        import_module(code["module"])
    except (Exception, SystemExit) as err:  # noqa: BLE001 - a user's module raises what it likes
        way = "; ".join(user_lines(err)).replace(f"{archive}{os.sep}", "")
        what = f"cannot be imported by tasks: {type(err).__name__}: {err} ({way})".replace(str(archive), "the archive")
        return [Finding(f"{code['module']}.py", what, _ADVICE)]
    return []


if __name__ == "__main__":
    raise SystemExit(main())
