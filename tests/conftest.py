"""Fixtures for every test: an environment of its own, the command line in a fresh process, the real scenes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from tests.quick_rules import mark_long_rules

_REPOSITORY = Path(__file__).parent.parent
#: Read before a test's environment is cleared.
_REAL_DATA = Path(os.environ.get("RV_TEST_DATA") or _REPOSITORY.parent / "shared" / "data")
_REAL_SETS = ("zion-landsat8-nlcd", "atlanta-spacenet-buildings")

#: What a developer's shell or a build server may have set and no test may see.
_CLEARED_PREFIXES = ("RV_", "AWS_", "GDAL_", "CPL_")
_CLEARED_NAMES = (
    "CI",
    "CUDA_VISIBLE_DEVICES",
    "FORCE_COLOR",
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_THREAD_TIMEOUT",
    "VECLIB_MAXIMUM_THREADS",
)

with suppress(ImportError):  # the check of import circles does without it
    from hypothesis import settings

    # A test is not to fail because the machine is loaded; pytest-timeout ends what hangs.
    settings.register_profile("rv", deadline=None)
    settings.load_profile("rv")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and nohup that the terminal is closed; so would
# all that they start: rv honours that.
for _signum, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _handler)

Argument = str | os.PathLike[str] | int


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark_long_rules(items)


class RvCli:
    """Runs the real command line in fresh processes, each in a session of its own.

    Args:
        cwd: the folder that commands run in unless a call names another.
    """

    def __init__(self, cwd: Path) -> None:
        self._cwd = cwd
        self._started: list[subprocess.Popen[str]] = []

    def __call__(
        self,
        *arguments: Argument | Sequence[Argument],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout_s: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run `rv ARGUMENTS` to its end; `env` is added to the environment. The exit code is not checked."""
        process = self.start(*arguments, cwd=cwd, env=env, stdin=subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            pytest.fail(f"{process.args!r} took longer than {timeout_s} s\n--- stdout\n{out}\n--- stderr\n{err}")
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(
        self,
        *arguments: Argument | Sequence[Argument],
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start `rv ARGUMENTS` and return at once; what still runs after the test is killed with its group."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rv_core", *_flat(arguments)],
            cwd=cwd or self._cwd,
            env={**os.environ, **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill what is still running and close the pipes."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None and not stream.closed:
                    stream.close()


def _flat(arguments: Sequence[Argument | Sequence[Argument]]) -> list[str]:
    flat: list[str] = []
    for argument in arguments:
        if isinstance(argument, list | tuple):
            flat.extend(os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in argument)
        else:
            flat.append(os.fspath(argument) if isinstance(argument, os.PathLike) else str(argument))
    return flat


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No setting, credential or cache of this machine reaches a test; returns the folder of its config and cache."""
    home = tmp_path_factory.mktemp("rv-home")
    for name in list(os.environ):
        if name.startswith(_CLEARED_PREFIXES) or name in _CLEARED_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("RV_CONFIG_DIR", str(home / "config"))
    monkeypatch.setenv("RV_CACHE_DIR", str(home / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    return home


@pytest.fixture
def rv(tmp_path: Path) -> Iterator[RvCli]:
    """`rv("run", "local", …)` runs the command line in a fresh process, in `tmp_path` unless told otherwise."""
    cli = RvCli(tmp_path)
    yield cli
    cli.close()


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """The folder with the real scenes: RV_TEST_DATA, else shared/data beside the repository; skips where missing."""
    missing = [name for name in _REAL_SETS if not (_REAL_DATA / name / "scenes.csv").is_file()]
    if missing:
        pytest.skip(f"no real scenes ({', '.join(missing)}) in {_REAL_DATA}; set RV_TEST_DATA to their folder")
    return _REAL_DATA
