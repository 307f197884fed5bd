"""What a task that does nothing costs beyond bare Python, and 64 of them under `rv run local`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measurement import Report, main, usage_of

from rv_core.record.layout import MARKER
from rv_core.record.marker import this_process_marker

BARE = [sys.executable, "-c", "pass"]
LIMIT_CPU_S, LIMIT_MIB = 0.07, 25.0
#: For each task of a whole run, with what `make` and the runner cost.
LIMIT_IN_RUN_CPU_S = 0.25
#: Without what `PYTHON…` variables change, such as not to keep compiled modules.
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
NUM_SPLITS, JOBS = 64, 2


def run(report: Report) -> None:
    """Measure one task, then the whole of 64 splits."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "root"
        rv_run = [sys.executable, "-m", "rv_core", "-q", "run", "local", "rv_core.hello", "-a", f"root_uri={root}"]
        before = usage_of_children()
        subprocess.run(
            [*rv_run, "-a", f"num_items={NUM_SPLITS}", "--splits", str(NUM_SPLITS), "-j", str(JOBS)],
            check=True,
            env=ENVIRON,
        )
        whole = usage_of_children() - before
        report(f"{NUM_SPLITS} splits of hello under local", whole, (NUM_SPLITS + 1) * LIMIT_IN_RUN_CPU_S, unit="s")
        measure_task(report, root)


def measure_task(report: Report, root: Path) -> None:
    """One task again and again, its manifest removed before each time."""
    (run_dir,) = (root / ".rv" / "runs").iterdir()
    # As while the run is on; a task that finds no marker looks further.
    (root / MARKER).write_text(this_process_marker(run_dir.name, "local", detached=False).to_text())
    argv = [sys.executable, "-m", "rv_core", "run-command", str(run_dir / "pipeline-config.json"), "cpu_task"]
    argv += ["--runner", "local", "--split-index", "0", "--num-splits", str(NUM_SPLITS)]
    environ = {**ENVIRON, "RV_RUN_ID": run_dir.name, "RV_RUN_DIR": str(run_dir), "RV_NUM_THREADS": "1"}
    costs, sizes = [], []
    for _ in range(25):
        for manifest in (root / ".rv" / "done" / "cpu_task").glob("item-0.*"):
            manifest.unlink()
        task, bare = usage_of(argv, environ=environ), usage_of(BARE, environ=ENVIRON)
        costs.append(task.cpu_s - bare.cpu_s)
        sizes.append(task.max_rss_mib - bare.max_rss_mib)
    report("a task that does nothing, beyond bare Python", statistics.median(costs), LIMIT_CPU_S, unit="s")
    report("its memory, beyond bare Python", statistics.median(sizes), LIMIT_MIB, unit="MiB")


def usage_of_children() -> float:
    """CPU seconds of all child processes that have ended so far."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main(run))
