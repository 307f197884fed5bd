"""What the rules work with: the real command line in fresh processes, roots, and failures that explain themselves."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar
from unittest import mock

import pytest

from rv_core.machine.python import module_argv
from rv_core.testing.asked.runner_facts import RunnerFacts
from rv_core.testing.command_lines import Finished, Started
from rv_core.testing.evidence import Evidence

T = TypeVar("T")

MODULE = "rv_core.testing.probes"
PROFILE = "conformance"
#: What `rv run` prints when an engine has everything.
SUBMITTED = "submitted run"
#: Seconds between TERM and KILL in every run of the kit.
GRACE_S = 2.0
#: An engine may be too busy to answer for so long.
_PROBLEM_S = 15.0
_OVER = ("done", "failed", "stopped", "cancelled", "lost")
#: What the shell of a developer, or a run that the kit itself is part of, must not change.
_CLEARED = [
    "CI",
    "CUDA_VISIBLE_DEVICES",
    "FORCE_COLOR",
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "MAKEOVERRIDES",
    "RV_ATTEMPT",
    "RV_CORE_SLOTS",
    "RV_DISABLE_PLUGINS",
    "RV_GPUS",
    "RV_NUM_THREADS",
    "RV_PROFILE",
    "RV_RUN_DIR",
    "RV_RUN_ID",
    "RV_STRICT_PLUGINS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENBLAS_THREAD_TIMEOUT",
    "VECLIB_MAXIMUM_THREADS",
]


class Workbench:
    """Runs the command line for one runner; every rule gets it as `rv_bench`.

    Args:
        runner: the runner's name.
        folder: an empty folder of this machine.
        base_uri: where roots are made: a folder, or a URI that the runner's tasks can reach.
        environ: added to the environment of every command line.
        profile: the profile of the runner's settings; "" for none.
        timeout_s: how long a single command line may take.
    """

    def __init__(
        self,
        runner: str,
        *,
        folder: Path,
        base_uri: str = "",
        environ: Mapping[str, str] | None = None,
        profile: str = "",
        timeout_s: float = 120.0,
    ) -> None:
        self.runner = runner
        self.folder = folder
        self.base_uri = (base_uri or str(folder / "roots")).rstrip("/")
        self.timeout_s = timeout_s
        self.environ = self._make_environ(environ or {}, profile)
        self.profile = profile or PROFILE
        self._started: list[Started] = []
        self._results: dict[str, Any] = {}
        self._facts: RunnerFacts | None = None

    def _make_environ(self, added: Mapping[str, str], profile: str) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if name not in _CLEARED}
        environ |= {
            "RV_CACHE_DIR": str(self.folder / "cache"),
            "RV_GRACE_S": f"{GRACE_S:g}",
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }
        if not profile:
            config_dir = self.folder / "config"
            config_dir.mkdir(exist_ok=True)
            (config_dir / f"{PROFILE}.toml").write_text("")
            environ["RV_CONFIG_DIR"] = str(config_dir)
        return {**environ, **added}

    @property
    def facts(self) -> RunnerFacts:
        """What the runner says of itself; the rule fails if it cannot be loaded."""
        if self._facts is None:
            asked = self.python("-m", "rv_core.testing.asked.runner_facts", self.runner, self.profile)
            self.expect(asked.code == 0, f"the runner {self.runner!r} cannot be loaded", asked)
            self._facts = RunnerFacts(**json.loads(asked.out.splitlines()[-1]))
        return self._facts

    def claims(self, capability: str) -> bool:
        """Whether the runner has a capability; `not NAME` asks for the opposite."""
        return self.facts.claims(capability)

    def python(self, *words: str, environ: Mapping[str, str] | None = None) -> Finished:
        """Run this interpreter in a fresh process to its end."""
        return self._finish(self.start_argv([sys.executable, *words], environ=environ))

    def rv(self, *words: str, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Finished:
        """Run `rv WORDS` in a fresh process to its end; its exit code is not looked at."""
        return self._finish(self.start(*words, environ=environ, folder=folder))

    def start(self, *words: str, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Started:
        """Start `rv WORDS` in a fresh process; whatever still runs after the last rule is killed."""
        return self.start_argv([*module_argv("rv_core"), *words], environ=environ, folder=folder)

    def start_argv(
        self, argv: Sequence[str], *, environ: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> Started:
        """Start any command line."""
        started = Started(argv, {**self.environ, **(environ or {})}, folder or self.folder)
        self._started.append(started)
        return started

    def _finish(self, started: Started) -> Finished:
        finished = started.wait(self.timeout_s)
        if finished is None:
            self.fail(f"a command line took over {self.timeout_s:g} s", started.kill())
        return finished

    def run_words(self, probe: str, root: str, *words: str, **fields: object) -> list[str]:
        """The words of `rv run` for a probe, with the probe's fields as `--set`."""
        sets = [
            word for name, value in fields.items() for word in ("--set", f"{name}={json.dumps(value, default=str)}")
        ]
        start = ["--profile", self.profile, "run", self.runner, MODULE]
        return [*start, "-a", f"probe={probe}", "-a", f"root_uri={root}", *sets, *words]

    def run(
        self, probe: str, root: str, *words: str, environ: Mapping[str, str] | None = None, **fields: object
    ) -> Finished:
        """Run a probe to its end, also where the runner only submits.

        The exit code of what only submits becomes that of the run: 0 if everything is done, else 1.
        """
        finished = self.rv(*self.run_words(probe, root, *words, **fields), environ=environ)
        return self.ended(finished, root)

    def ended(self, finished: Finished, root: str) -> Finished:
        """A submission, once its run has ended; anything else as it is."""
        if finished.code != 0 or not self.claims("detaches") or SUBMITTED not in finished.out:
            return finished
        status = self.wait_until_over(root, finished)
        code = 0 if status["state"] == "done" else 1
        return Finished(finished.argv, code, finished.out, finished.err + f"the run ended as {status['state']}\n")

    def wait_until_over(self, root: str, *details: object) -> Any:
        """Wait until nothing more happens in the run of a root; what `rv status ROOT --json` prints then."""
        asked_at = time.monotonic()

        def look() -> Any:
            nonlocal asked_at
            status = self.status(root)
            if not status["problem"]:
                asked_at = time.monotonic()
            lasts_s = time.monotonic() - asked_at
            self.expect(lasts_s < _PROBLEM_S, f"rv status says for {lasts_s:.0f} s: {status['problem']}", *details)
            return status if status["state"] in _OVER else None

        return self.wait_until(look, f"the run under {root} ends", *details)

    def status(self, root: str, *, environ: Mapping[str, str] | None = None) -> Any:
        """What `rv status ROOT --json` prints."""
        asked = self.rv("status", root, "--json", environ=environ)
        self.expect(asked.code == 0, "rv status cannot tell how a run is", asked)
        return json.loads(asked.out)

    def task_states(self, root: str, *, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Task -> its entry in what `rv status ROOT --json` prints."""
        return {entry["task"]: entry for job in self.status(root, environ=environ)["jobs"] for entry in job["tasks"]}

    def elsewhere(self) -> dict[str, str]:
        """Environment of a command line that finds none of the files which rv keeps on this machine."""
        return {"RV_CACHE_DIR": str(self.folder / f"elsewhere-{secrets.token_hex(3)}")}

    def root(self, name: str = "root") -> str:
        """A root that nothing has been written to."""
        return f"{self.base_uri}/{name}-{secrets.token_hex(3)}"

    def evidence(self, root: str) -> Evidence:
        """What is under a root now."""
        return Evidence(root, self.environ)

    def mark(self, root: str, name: str) -> None:
        """Set a marker that the probes look for."""
        from rv_core.files import by_uri

        with mock.patch.dict(os.environ, self.environ, clear=True):  # a store may be configured there
            by_uri.write_bytes(f"{root}/markers/{name}", b"")

    def markers(self, root: str) -> dict[str, bytes]:
        """The markers under a root now."""
        return self.evidence(root).markers()

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What several rules look at, made by the first of them; its failure is the failure of all."""
        if name not in self._results:
            try:
                self._results[name] = make()
            except BaseException as error:
                self._results[name] = error
                raise
        found = self._results[name]
        if isinstance(found, BaseException):
            raise found
        result: T = found
        return result

    def expect(self, holds: object, what: str, *details: object) -> None:
        """Fail the rule unless something holds.

        Args:
            holds: what has to be true.
            what: what is wrong with the runner if it is not, in words.
            details: command lines that have ended, or anything else that helps to see why.
        """
        if not holds:
            self.fail(what, *details)

    def fail(self, what: str, *details: object) -> NoReturn:
        """Fail the rule."""
        pytest.fail("\n\n".join([what, *map(str, details)]), pytrace=False)

    def wait_until(
        self, look: Callable[[], T | None], what: str, *details: object, timeout_s: float | None = None
    ) -> T:
        """Look until there is something to see; the rule fails if that does not happen in time."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        end = time.monotonic() + limit_s
        while not (found := look()):
            if time.monotonic() > end:
                self.fail(f"this did not happen within {limit_s:g} s: {what}", *self._so_far(details))
            time.sleep(0.1)
        return found

    def _so_far(self, details: Sequence[object]) -> list[object]:
        return [detail.kill() if isinstance(detail, Started) else detail for detail in details]

    def close(self) -> None:
        """Kill what still runs."""
        for started in self._started:
            started.kill()
