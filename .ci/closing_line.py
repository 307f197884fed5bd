"""Adds up what the sessions of nox left in build/results and prints `N passed, N failed` alone on a line.

Exits 1 if anything failed or nothing passed. With `--forget` it removes the results of earlier runs instead.
"""

import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

RESULTS = Path(__file__).parent.parent / "build" / "results"


def counts_of(path: Path) -> tuple[int, int]:
    """How many passed and failed in one result: pytest's JUnit XML, or a check's JSON."""
    if path.suffix == ".json":
        counts = json.loads(path.read_text())
        return counts["passed"], counts["failed"]
    suites = ElementTree.parse(path).getroot().iter("testsuite")
    total, failed, skipped = 0, 0, 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed


def main(arguments: list[str]) -> int:
    """Print the closing line, or forget earlier results; returns the exit code."""
    results = sorted([*RESULTS.glob("*.xml"), *RESULTS.glob("*.json")])
    if arguments == ["--forget"]:
        for path in results:
            path.unlink()
        return 0
    counts = [counts_of(path) for path in results]
    for path, (passed, failed) in zip(results, counts, strict=True):
        if failed:
            print(f"{path.stem}: {passed} passed, {failed} failed")
    passed, failed = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
    is_green = passed > 0 and failed == 0
    line = f"{passed} passed, {failed} failed"
    is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\033[{32 if is_green else 31}m{line}\033[0m" if is_coloured else line)
    return 0 if is_green else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
