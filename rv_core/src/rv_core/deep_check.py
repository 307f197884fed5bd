"""The child process of a deep check: reads a request from stdin, prints the findings as the last line of stdout."""

from __future__ import annotations

import json
import sys
from importlib import import_module


def main() -> int:
    """Run the check that the request names."""
    request = json.loads(sys.stdin.read())
    for folder in request["path"]:
        if folder not in sys.path:
            sys.path.append(folder)
    from rv_core import config_file

    module, _, name = request["target"].partition(":")
    config = config_file.parse(request["config"], source="the config of this run").config
    findings = getattr(import_module(module), name)(config, request["todo"])
    print(json.dumps([finding.to_json() for finding in findings]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
