"""Every damage to every file of a root: what the looks say, and what the same command makes of it.

The looks never trace back and end within seconds. The same command ends with the right bytes, or with one block that
says what is in the way; it never believes what is damaged, and never hangs.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import RvCli
from tests.e2e.damage import DAMAGES

from rv_core.cli.app import main

MODULE = str(Path(__file__).with_name("share_pipeline.py"))
PLAIN = "for n in names: write(n)"
#: Killed while the third of four items is in hand: its output is there and its manifest is not.
KILLED = "for n in names:\n    write(n)\n    if n == 'c': os.kill(os.getpid(), 9)"
#: ROOT stands for the root.
LOOKS = (
    ["status", "ROOT"],
    ["status", "ROOT", "--json"],
    ["status", "ROOT", "--all"],
    ["status", "ROOT", "--verify"],
    ["logs", "ROOT"],
    ["logs", "ROOT", "work"],
    ["config", "show", "ROOT"],
    ["run", "inprocess", "ROOT/pipeline-config.json", "--dry-run"],
    ["cancel", "ROOT"],
)
LOOK_S, RUN_S = 5.0, 30.0
#: How many times that a loaded machine may take before it is ended.
_LOADED = 6


class TooSlowError(AssertionError):
    """It did not end in time."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Refuse what takes longer, and end what never would; time in which other processes had the cores does not count."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"it was still at it after {_LOADED * seconds} s")

    before, start = signal.signal(signal.SIGALRM, end), _own_time_s()
    signal.setitimer(signal.ITIMER_REAL, _LOADED * seconds)
    try:
        yield
        if (took := _own_time_s() - start) > seconds:
            raise TooSlowError(f"it took {took:.1f} s")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _own_time_s() -> float:
    """The clock, without the time for which this thread was ready and had no core."""
    queued = Path("/proc/thread-self/schedstat")
    return time.monotonic() - (int(queued.read_text().split()[1]) / 1e9 if queued.exists() else 0.0)


class Roots:
    """A finished and an unfinished root, copies of which are damaged.

    Args:
        folder: where they are.
        rv: the command line, for the run that is killed.
    """

    def __init__(self, folder: Path, rv: RvCli) -> None:
        self.folder = folder
        self.place = folder / "work" / "root"
        os.environ["WORK_BODY"], os.environ["FAIL_AT"] = PLAIN, ""
        assert self.run("local") == 0  # which leaves a Makefile, and what make said
        self.want = self.outputs()
        self._keep("finished")
        killed = rv("run", "inprocess", *self._config(), env={"WORK_BODY": KILLED})
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        self._keep("unfinished")

    def _keep(self, name: str) -> None:
        shutil.move(self.place, self.folder / name)

    def run(self, runner: str = "inprocess") -> int:
        """The command that made them."""
        return main(["run", runner, *self._config()])

    def _config(self) -> list[str]:
        return [MODULE, "-a", f"root_uri={self.place}", "-a", "kind=summed"]

    def outputs(self) -> dict[str, bytes]:
        """What the pipeline wrote."""
        names = [*(f"work/{n}.txt" for n in "abcd"), "join.txt"]
        return {name: (self.place / name).read_bytes() for name in names if (self.place / name).is_file()}

    def files(self, kind: str) -> list[str]:
        """Every file of a root; its run is called RUN, and what is called by its content or key KEY."""
        root = self.folder / kind
        return sorted({_plain(path.relative_to(root).as_posix()) for path in root.rglob("*") if path.is_file()})

    def restore(self, kind: str) -> None:
        """Put the root in its place, as it was."""
        shutil.rmtree(self.place.parent, ignore_errors=True)
        shutil.copytree(self.folder / kind, self.place)

    def path(self, plain: str) -> Path:
        """The file of such a name."""
        found = (p for p in self.place.rglob("*") if _plain(p.relative_to(self.place).as_posix()) == plain)
        return next(found)


def _plain(name: str) -> str:
    name = re.sub(r"\.rv/runs/[^/]+/", ".rv/runs/RUN/", name)
    return re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{16}\b", "KEY", name)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roots]:
    folder = tmp_path_factory.mktemp("damaged")
    before = dict(os.environ)
    rv = RvCli(folder)
    try:
        yield Roots(folder, rv)
    finally:
        rv.close()
        os.environ.clear()
        os.environ.update(before)


def check(roots: Roots, kind: str, name: str, damage: str, said: Callable[[], str]) -> None:
    """Damage one file, look at the root in every way, and run the same command."""
    os.environ["WORK_BODY"], os.environ["FAIL_AT"] = PLAIN, ""
    for look in LOOKS:
        if look in (LOOKS[0], LOOKS[-1]):
            roots.restore(kind)
            DAMAGES[damage](roots.path(name))
        with at_most(LOOK_S):
            code = main([word.replace("ROOT", str(roots.place)) for word in look])
        assert_clear(code, said(), f"rv {' '.join(look)}")
    roots.restore(kind)
    DAMAGES[damage](roots.path(name))
    with at_most(RUN_S):
        code = roots.run()
    text = said()
    assert_clear(code, text, "the same command")
    if code == 0 and roots.outputs() != roots.want:
        # A plan looks at sizes: other bytes of the right size are what --verify is for.
        assert len(roots.outputs()[name]) == len(roots.want[name]), text
        assert main(["status", str(roots.place), "--verify"]) == 1
        assert f"{name}: it has other bytes" in said()
    elif code:
        # It says which file is in the way.
        assert roots.path(name).name in text or name.split("/")[1] in text, text


def assert_clear(code: int, text: str, what: str) -> None:
    assert code in (0, 1, 2, 3), f"{what} ended with {code}: {text}"
    assert "Traceback" not in text and "this is a bug" not in text, f"{what}: {text[-3000:]}"
    assert len(text) < 50_000, f"{what} printed {len(text)} characters"


KINDS = ("finished", "unfinished")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    return lambda: "".join(capsys.readouterr())


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_a_damaged_file_is_no_evidence_and_no_traceback(
    roots: Roots, said: Callable[[], str], data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    name = data.draw(st.sampled_from(roots.files(kind)))
    check(roots, kind, name, data.draw(st.sampled_from(sorted(DAMAGES))), said)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_to_every_file(roots: Roots, said: Callable[[], str], kind: str, damage: str) -> None:
    problems = []
    for name in roots.files(kind):
        try:
            check(roots, kind, name, damage, said)
        except Exception as error:  # noqa: BLE001 - all files are tried, then told together
            problems.append(f"{name}: {type(error).__name__}: {str(error)[-1500:]}")
    assert not problems, "\n\n".join(problems)


OF_TASKS = (".rv/runs/RUN/plan.json", ".rv/runs/RUN/items/summed.work.json", ".rv/runs/RUN/pipeline-config.json")
FOR_TASKS = ("empty", "cut in half", "nested objects", "texts as lists", "a folder")


@pytest.mark.parametrize("name", OF_TASKS, ids=lambda name: name.rpartition("/")[2])
def test_a_task_tells_what_of_its_record_is_damaged(roots: Roots, rv: RvCli, name: str) -> None:
    for damage in FOR_TASKS:
        roots.restore("unfinished")
        run_id = next((roots.place / ".rv" / "runs").iterdir()).name
        DAMAGES[damage](roots.path(name))
        config = roots.place / ".rv" / "runs" / run_id / "pipeline-config.json"
        done = rv("run-command", config, "work", env={"WORK_BODY": PLAIN, "FAIL_AT": "", "RV_RUN_ID": run_id})
        said = done.stdout + done.stderr
        assert done.returncode in (1, 2), f"{damage}: {said}"
        assert "Traceback" not in said and roots.path(name).name in said, f"{damage}: {said}"
        assert "  where: " in said, f"{damage}: {said}"


@pytest.mark.parametrize("damage", ["a pipe", "a link to a device"])
def test_nothing_waits_for_what_lies_in_place_of_the_state(roots: Roots, rv: RvCli, damage: str) -> None:
    roots.restore("unfinished")
    DAMAGES[damage](roots.path(OF_TASKS[0]))
    (run_dir,) = (roots.place / ".rv" / "runs").iterdir()
    for words in (("run-command", run_dir / "pipeline-config.json", "work"), ("status", roots.place)):
        done = rv(*words, env={"WORK_BODY": PLAIN}, timeout_s=30)
        assert done.returncode in (1, 3) and "it is a pipe, a device or a socket" in done.stderr, done.stdout
