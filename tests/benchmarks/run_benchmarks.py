"""Runs every bench_*.py beside this file, or those whose names hold one of the arguments; exits 1 over a limit.

`--beside COMMIT` has those that measure whole commands measure the same of another commit, in turns.
"""

from __future__ import annotations

import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from measurement import Report, beside_of


def main(arguments: list[str]) -> int:
    """Run the benchmarks one after the other and print the figures that are over their limit again at the end."""
    beside, wanted = beside_of(arguments)
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = [name for name in names if not wanted or any(word in name for word in wanted)]
    if not chosen:
        print(
            f"no benchmark is named like {' or '.join(wanted) or 'bench_*.py'}; there are: {', '.join(names) or 'none'}"
        )
        return 2
    report = Report(beside)
    for name in chosen:
        started = time.monotonic()
        print(f"{name.removeprefix('bench_')}", flush=True)
        try:
            import_module(name).run(report)
        except Exception:  # noqa: BLE001 -- one that breaks must not keep the others from running
            traceback.print_exc()
            report.failures.append(f"{name} broke")
        print(f"    {time.monotonic() - started:.0f} s", flush=True)
    if report.failures:
        print("over the limit: " + "; ".join(report.failures))
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
