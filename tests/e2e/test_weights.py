"""Tasks that want several cores, or much memory, count for so many of those that run at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rv_core.machine.core_slots import available_memory_mib, weight_of

if TYPE_CHECKING:
    from tests.conftest import RvCli

MODULE = """
import os, time
from dataclasses import dataclass
from rv_core import Items, Pipeline, PipelineConfig, command

@dataclass
class C(PipelineConfig):
    def build(self): return P(self)

class P(Pipeline):
    @command(items=lambda config: [str(n) for n in range(4)]{options})
    def heavy(self, items: Items[str]) -> None:
        for item in items:
            with open({journal!r}, "a") as file:
                file.write(f"+{{os.environ['OMP_NUM_THREADS']}}\\n")
            time.sleep(0.4)
            with open({journal!r}, "a") as file:
                file.write("-\\n")
            self.storage.write_text(f"{{item}}.txt", "")

def get_config(runner, root_uri: str = "out"):
    return C(root_uri=root_uri)
"""


def most_at_once(journal: Path) -> int:
    now = most = 0
    for line in journal.read_text().splitlines():
        now += 1 if line[0] == "+" else -1
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("options", "at_most"), [(", cpus=64", 1), (", memory_mib=10**9", 1), (", cpus=32", 2), (", cpus=2", 4), ("", 4)]
)
def test_tasks_count_for_what_they_want(rv: RvCli, tmp_path: Path, options: str, at_most: int) -> None:
    journal = tmp_path / "journal"
    (tmp_path / "exp.py").write_text(MODULE.format(options=options, journal=str(journal)))
    done = rv("run", "local", "exp.py", "-s", "4", "-j", "64", cwd=tmp_path)  # 64 slots, whatever the machine has
    assert done.returncode == 0, done.stderr
    assert most_at_once(journal) <= at_most
    assert len(list((tmp_path / "out").glob("*.txt"))) == 4


@pytest.mark.parametrize(
    ("cpus", "memory_mib", "weight"),
    [(None, None, 1), (4, None, 4), (64, None, 8), (None, 1000, 1), (None, 1001, 2), (2, 4000, 4), (None, 10**6, 8)],
)
def test_a_weight_is_that_of_what_is_scarcer(cpus: int | None, memory_mib: int | None, weight: int) -> None:
    assert weight_of(cpus, memory_mib, slots=8, machine_mib=8000) == weight


def test_a_machine_whose_memory_is_unknown_goes_by_cores() -> None:
    assert weight_of(2, 10**6, slots=8, machine_mib=0) == 2
    assert available_memory_mib() > 0
