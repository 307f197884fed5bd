"""What the command line costs before it does anything, against a Python that imports three common modules."""

from __future__ import annotations

import sys

from measurement import Report, interleaved, main, usage_of

REFERENCE = [sys.executable, "-c", "import argparse, json, logging"]
CASES = {"rv --version": (["--version"], 1.5), "rv --help, all plugins": (["--help"], 7.0)}


def run(report: Report) -> None:
    """Measure `rv --version` and `rv --help`."""
    for what, (arguments, limit) in CASES.items():
        command = [sys.executable, "-m", "rv_core", *arguments]
        report(what, interleaved(lambda c=command: usage_of(c).cpu_s, lambda: usage_of(REFERENCE).cpu_s), limit)


if __name__ == "__main__":
    sys.exit(main(run))
