"""How the benchmarks measure: CPU seconds of interleaved pairs, printed beside the limit and beside the noise.

A benchmark is a file `bench_<what>.py` with `run(report)`, where `report` is a `Report`, and ends with

    if __name__ == "__main__":
        sys.exit(main(run))

A ratio compares a candidate with a reference that does the least possible. The two take turns, so that whatever else
the machine does hits both; the median of the ratios counts. The spread is that of the reference against itself: a
ratio closer to its limit than the spread proves nothing either way.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Usage:
    """What a process and the children it waited for used.

    Args:
        cpu_s: user and system time in seconds.
        max_rss_mib: the largest resident set of a single process, in MiB.
    """

    cpu_s: float
    max_rss_mib: float


@dataclass(frozen=True)
class Ratio:
    """The median ratio of interleaved pairs, and how far the reference strays from itself.

    Args:
        median: candidate over reference.
        spread: half the distance between the quartiles of reference over reference.
        candidate: median of the candidate, in the unit that was measured.
        reference: median of the reference.
    """

    median: float
    spread: float
    candidate: float
    reference: float


@dataclass
class Report:
    """Prints each figure beside its limit as it comes and remembers whether all limits were kept.

    Args:
        beside: a commit of this repository that a benchmark may measure beside what is installed; "" for none.
        failures: what is over its limit.
    """

    beside: str = ""
    failures: list[str] = field(default_factory=list)

    def __call__(
        self,
        what: str,
        measured: float | Ratio,
        limit: float | None,
        *,
        unit: str = "×",
        at_least: bool = False,
        note: str = "",
    ) -> None:
        """Report one figure.

        Args:
            what: what was measured.
            measured: a value, or a `Ratio`, of which the median counts.
            limit: what it may be at most; None where it is told for information alone.
            unit: the unit of `measured` and `limit`.
            at_least: the limit is what it must be at least.
            note: printed behind the figure.
        """
        value = measured.median if isinstance(measured, Ratio) else measured
        is_kept = limit is None or (value >= limit if at_least else value <= limit)
        if not is_kept:
            self.failures.append(what)
        bound = "" if limit is None else f"{'>=' if at_least else '<='} {limit:g} {unit}"
        mark = "  " if limit is None else "ok" if is_kept else "NO"
        if isinstance(measured, Ratio):
            noise = f"± {measured.spread:.3f}; {measured.candidate:.4g} against {measured.reference:.4g}"
            note = f"{noise}; {note}" if note else noise
        print(f"{mark}  {what:<56} {value:>9.3f} {unit:<4} {bound:<14} {note}".rstrip(), flush=True)


def usage_of(argv: Sequence[str], *, environ: Mapping[str, str] | None = None, cwd: str | None = None) -> Usage:
    """Run a command to its end with its output thrown away; raises CalledProcessError unless it exits 0."""
    process = subprocess.Popen(argv, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, argv)
    # Linux counts the resident set in KiB, macOS in bytes
    per_mib = 2**20 if sys.platform == "darwin" else 2**10
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss / per_mib)


def interleaved(candidate: Callable[[], float], reference: Callable[[], float], *, rounds: int = 9) -> Ratio:
    """Measure both in turns; each callable does its work once and returns what it cost.

    Each round runs the reference twice, before and after the candidate: once to divide by, once to learn the spread.
    One round before that warms caches and is thrown away.
    """
    reference(), candidate()
    triples = [(reference(), candidate(), reference()) for _ in range(rounds)]
    with_itself = [second / first for first, _, second in triples]
    low, _, high = statistics.quantiles(with_itself, n=4)
    return Ratio(
        median=statistics.median(2 * cost / (first + second) for first, cost, second in triples),
        spread=(high - low) / 2,
        candidate=statistics.median(cost for _, cost, _ in triples),
        reference=statistics.median([value for first, _, second in triples for value in (first, second)]),
    )


def beside_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The commit that `--beside COMMIT` names, "" for none, and the other arguments."""
    rest = list(arguments)
    if "--beside" not in rest[:-1]:
        return "", rest
    place = rest.index("--beside")
    commit = rest[place + 1]
    return commit, rest[:place] + rest[place + 2 :]


@contextmanager
def sources_of(commit: str, folder: Path) -> Iterator[list[Path]]:
    """The source folders of a commit of this repository, checked out below a folder for the time of the block."""
    worktree = folder / "commit"
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(worktree), commit], check=True)
    try:
        yield sorted(worktree.glob("rv_*/src"))
    finally:
        subprocess.run([*git, "remove", "--force", str(worktree)], check=True)


def main(run: Callable[[Report], None]) -> int:
    """Run one benchmark by itself; returns the exit code."""
    report = Report(beside_of(sys.argv[1:])[0])
    run(report)
    return 1 if report.failures else 0
