"""Rules: a runner is declared lightly, its settings are known and kept secret, and looking starts nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rv_core.testing.claims import needs
from rv_core.testing.command_lines import Finished
from rv_core.testing.scenarios import failed, run_probe, survey
from rv_core.testing.workbench import Workbench

#: Loads the hooks of a plugin as every `rv` command does, and prints which modules that added.
_HOOKS = """
import importlib, json, sys
import pluggy
before = set(sys.modules)
hooks = importlib.import_module(sys.argv[1])
from rv_core.plugins import hookspecs
manager = pluggy.PluginManager("rv")
manager.add_hookspecs(hookspecs)
manager.register(hooks)
for name in ("rv_runners", "rv_pipelines", "rv_commands", "rv_configs", "rv_stores"):
    getattr(manager.hook, name)()
print(json.dumps(sorted(set(sys.modules) - before)))
"""
#: Parts of the core that only a few verbs need.
_HEAVY_CORE = ("rv_core.cli", "rv_core.launch.execute", "rv_core.config.validation.schemas", "rv_core.testing")


class DeclarationRules:
    """What every command line pays for, whether it uses the runner or not."""

    def test_the_declaration_imports_nothing_heavy(self, rv_bench: Workbench) -> None:
        """The hooks module imports the standard library, rv_core and its own package, and nothing else."""
        module = rv_bench.facts.module
        added = rv_bench.python("-c", _HOOKS, module)
        rv_bench.expect(added.code == 0, f"the hooks module {module} cannot be imported", added)
        names: list[str] = json.loads(added.out.splitlines()[-1])
        light = {*sys.stdlib_module_names, "rv_core", "pluggy", module.partition(".")[0]}
        heavy = {name.partition(".")[0] for name in names} - light
        heavy |= {name for name in names if name.startswith(_HEAVY_CORE) and module.partition(".")[0] != "rv_core"}
        what = f"{module} imports {', '.join(sorted(heavy))}; import it in the module of the runner instead"
        rv_bench.expect(not heavy, what)

    def test_the_runner_is_not_imported_by_its_declaration(self, rv_bench: Workbench) -> None:
        """The hooks name the runner's module; it is imported when the runner is chosen, and not before."""
        module, target = rv_bench.facts.module, rv_bench.facts.target.partition(":")[0]
        added = rv_bench.python("-c", _HOOKS, module)
        rv_bench.expect(added.code == 0, f"the hooks module {module} cannot be imported", added)
        names = json.loads(added.out.splitlines()[-1])
        rv_bench.expect(target == module or target not in names, f"{module} imports {target}")
        rv_bench.expect(target != module, f"the runner's class is in its hooks module {module}")

    def test_everything_declared_can_be_imported(self, rv_bench: Workbench) -> None:
        """`rv plugins check` has nothing to say of the runner's package."""
        check = rv_bench.rv("plugins", "check", "--json")
        report = json.loads(check.out)
        mine = [problem for problem in report["targets"] if problem["distribution"] == rv_bench.facts.distribution]
        rv_bench.expect(not mine, "what the runner's package declares cannot be imported", check)
        shown = json.loads(rv_bench.rv("plugins", "show", rv_bench.facts.distribution, "--json").out)
        problems = [problem for record in shown for problem in (record["error"], *record["problems"]) if problem]
        rv_bench.expect(not problems, f"rv plugins shows problems: {problems}")


class SettingRules:
    """What a runner makes of its settings."""

    def test_settings_are_listed_with_their_origin(self, rv_bench: Workbench) -> None:
        """`rv config settings` lists every setting of the runner, secret ones hidden."""
        self._skip_without_settings(rv_bench)
        asked = rv_bench.rv("--profile", rv_bench.profile, "config", "settings", "--json")
        rv_bench.expect(asked.code == 0, "rv config settings fails", asked)
        own = {str(entry["key"]): entry for entry in _entries(asked.out) if entry["section"] == rv_bench.runner}
        missing = set(rv_bench.facts.settings) - set(own)
        rv_bench.expect(not missing, f"settings that are not listed: {sorted(missing)}", asked)
        shown = [name for name, entry in own.items() if self._is_shown_secret(rv_bench, name, entry)]
        rv_bench.expect(not shown, f"secret settings are shown: {shown}")

    def _is_shown_secret(self, bench: Workbench, name: str, entry: dict[str, object]) -> bool:
        return bool(bench.facts.settings[name]["secret"]) and entry["value"] not in ("***", "", None)

    def test_an_unknown_setting_is_refused(self, rv_bench: Workbench) -> None:
        """A key in the runner's section of a profile that is none of its settings is an error that names it."""
        self._skip_without_settings(rv_bench)
        folder = rv_bench.folder / "misspelt"
        folder.mkdir(exist_ok=True)
        (folder / "rv.toml").write_text(f"[{json.dumps(rv_bench.runner)}]\nno_such_setting = 1\n")
        words = rv_bench.run_words("fault", rv_bench.root(), "--dry-run")
        refused = rv_bench.rv(*words, folder=folder)
        rv_bench.expect(refused.code == 2, f"an unknown setting ends with {refused.code}, not 2", refused)
        rv_bench.expect("no_such_setting" in refused.said, "the unknown setting is not named", refused)

    def test_secret_settings_are_written_nowhere(self, rv_bench: Workbench) -> None:
        """No secret setting, and no secret in a mapping, is in a record, event or log of a run, or is printed."""
        settings = rv_bench.facts.settings
        values = {name: str(s["value"]) for name, s in settings.items() if s["secret"]} | dict(
            rv_bench.facts.secret_entries
        )
        secrets = {name: value for name, value in values.items() if len(value) >= 4}
        if not secrets:
            _skip(f"no secret setting of {rv_bench.runner!r} has a value here")
        run = survey(rv_bench)
        dry = rv_bench.rv(*rv_bench.run_words("fault", rv_bench.root(), "--dry-run", "-v"))
        texts = {"rv run": run.finished.said, "rv run --dry-run": dry.said}
        texts |= {name: data.decode("utf-8", "replace") for name, data in run.evidence.records().items()}
        found = [
            f"{name} in {place}" for place, text in texts.items() for name, value in secrets.items() if value in text
        ]
        rv_bench.expect(not found, f"secret settings are written: {', '.join(found)}")

    def _skip_without_settings(self, bench: Workbench) -> None:
        if not bench.facts.settings:
            _skip(f"the runner {bench.runner!r} has no settings (RunnerSpec.settings)")


class LookingRules:
    """What a runner may do while it is only looked at, and what it has to refuse."""

    def test_dry_run_has_no_side_effects(self, rv_bench: Workbench) -> None:
        """`--dry-run` prints the plan and what the runner would make of it; nothing is written and nothing started."""
        root = rv_bench.root("dry")
        folder = rv_bench.folder / "dry"
        folder.mkdir()
        dry = rv_bench.rv(*rv_bench.run_words("survey", root, "-s", "2", "--dry-run"), folder=folder)
        rv_bench.expect(dry.code == 0, "--dry-run of a sound plan does not end with 0", dry)
        rv_bench.expect("probe.first" in dry.out, "--dry-run does not show the plan", dry)
        written = sorted(rv_bench.evidence(root).files)
        rv_bench.expect(not written, f"--dry-run wrote under the root: {written[:10]}", dry)
        own = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        rv_bench.expect(not own, f"--dry-run wrote into the folder that it was called from: {own}", dry)

    def test_dry_run_json_is_the_same_for_every_runner(self, rv_bench: Workbench) -> None:
        """The plan is no matter of the runner: `--dry-run --json` prints what it prints for `inprocess`."""
        root = rv_bench.root("plan")
        words = rv_bench.run_words("survey", root, "-s", "3", "--dry-run", "--json", num_items=7)
        mine = rv_bench.rv(*words)
        rv_bench.expect(mine.code == 0, "--dry-run --json does not end with 0", mine)
        other = rv_bench.rv(*["inprocess" if word == rv_bench.runner else word for word in words])
        rv_bench.expect(mine.out == other.out, "the plan differs from that for inprocess", mine, other)

    def test_check_finds_nothing_and_starts_nothing(self, rv_bench: Workbench) -> None:
        """`rv check --runner NAME` of a sound plan ends with 0 and writes nothing."""
        root = rv_bench.root("checked")
        words = ["check", "rv_core.testing.probes", "-a", "probe=survey", "-a", f"root_uri={root}"]
        check = rv_bench.rv("--profile", rv_bench.profile, *words, "--runner", rv_bench.runner)
        rv_bench.expect(check.code == 0, "rv check finds fault with a sound plan", check)
        rv_bench.expect(not rv_bench.evidence(root).files, "rv check wrote under the root", check)

    @needs("not in_process")
    def test_a_root_in_memory_is_refused(self, rv_bench: Workbench) -> None:
        """A root in the memory of one process is refused with 2: tasks in other processes would not see it."""
        refused = rv_bench.rv(*rv_bench.run_words("fault", "memory://conformance"))
        rv_bench.expect(refused.code == 2, f"a root in memory ends with {refused.code}, not 2", refused)

    @needs("in_process")
    def test_a_root_in_memory_works(self, rv_bench: Workbench) -> None:
        """A root in the memory of this process is enough for tasks that run in it."""
        done = rv_bench.rv(*rv_bench.run_words("fault", "memory://conformance", "-s", "2"))
        rv_bench.expect(done.code == 0, "a root in memory does not work", done)

    @needs("is_remote")
    def test_a_root_on_this_machine_is_refused(self, rv_bench: Workbench) -> None:
        """A root that only this machine has is refused with 2, before anything is submitted."""
        folder = rv_bench.folder / "only-here"
        refused = run_probe(rv_bench, "fault", root=str(folder))
        what = f"a root on this machine ends with {refused.finished.code}, not 2"
        rv_bench.expect(refused.finished.code == 2, what, refused.finished)
        rv_bench.expect(not folder.exists(), "a root on this machine was refused after it was made", refused.finished)

    @needs("is_remote", "detaches")
    def test_a_run_can_be_looked_at_from_any_machine(self, rv_bench: Workbench) -> None:
        """`rv status` and `rv logs` need the root and the settings, and no file of the machine that submitted."""
        run = failed(rv_bench)
        environ = rv_bench.elsewhere()
        seen = rv_bench.task_states(run.root, environ=environ)
        facts = ("state", "exit_code", "reason")
        other = {
            name: [(task[fact], seen[name][fact]) for fact in facts]
            for name, task in run.tasks.items()
            if any(task[fact] != seen[name][fact] for fact in facts)
        }
        rv_bench.expect(not other, f"(seen where it was submitted, seen elsewhere): {other}", run.finished)
        logs = rv_bench.rv("logs", run.root, "work.2-of-3", environ=environ)
        rv_bench.expect("about to work on item-1" in logs.out, "the log of a task is not found elsewhere", logs)


_LISTENER = """
import os
from rv_core import hookimpl

@hookimpl
def rv_run_finished(run_id, succeeded, summary):
    with open(os.environ["CONFORMANCE_TOLD"], "a") as file:
        file.write(f"{run_id} {succeeded}\\n")
"""


class EndRules:
    """What is told of the end of a run, and what is left where it was started."""

    def test_plugins_are_told_of_the_end_once(self, rv_bench: Workbench) -> None:
        """`rv_run_finished` is called once: by `rv run` where that waits, else where the end is seen first, anywhere."""
        root, told, finished = self._listened(rv_bench)
        rv_bench.expect(finished.code == 0, "a run does not end well where a plugin listens", finished)
        if rv_bench.claims("detaches"):
            rv_bench.expect(not told.exists(), "plugins are told of the end of a run that was only submitted", finished)
            rv_bench.wait_until_over(root, finished)
        for place in (rv_bench.elsewhere(), {}, rv_bench.elsewhere()):
            rv_bench.status(root, environ={**self._environ(rv_bench), **place})
        lines = told.read_text().splitlines() if told.exists() else []
        wanted = [f"{rv_bench.evidence(root).run_ids[-1]} True"]
        rv_bench.expect(lines == wanted, f"of the end of a run plugins were told {lines}, not {wanted}", finished)

    def test_nothing_is_left_in_the_folder_of_the_user(self, rv_bench: Workbench) -> None:
        """A run writes nothing into the folder that it was started from; runners have `RunContext.run_dir`."""
        root, _, finished = self._listened(rv_bench)
        rv_bench.ended(finished, root)
        # What the kit itself keeps of a command line begins with a dot.
        left = sorted(path.name for path in (rv_bench.folder / "from here").iterdir() if path.name[0] != ".")
        rv_bench.expect(not left, f"left in the folder that rv run was called from: {left}", finished)

    def _listened(self, bench: Workbench) -> tuple[str, Path, Finished]:
        """(root, what the plugin was told, the `rv run`) of a run from an empty folder."""
        return bench.once("listened", lambda: self._listen(bench))

    def _listen(self, bench: Workbench) -> tuple[str, Path, Finished]:
        root, folder, info = bench.root("told"), bench.folder / "from here", self._site(bench) / "told-1.0.dist-info"
        folder.mkdir()
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: told\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[rv]\ntold = conformance_listener\n")
        (info.parent / "conformance_listener.py").write_text(_LISTENER)
        words = bench.run_words("fault", root, "aside")
        return root, bench.folder / "told", bench.rv(*words, environ=self._environ(bench), folder=folder)

    def _site(self, bench: Workbench) -> Path:
        return bench.folder / "listening"

    def _environ(self, bench: Workbench) -> dict[str, str]:
        """The environment in which a plugin of the kit listens."""
        path = filter(None, [str(self._site(bench)), bench.environ.get("PYTHONPATH")])
        return {"PYTHONPATH": os.pathsep.join(path), "CONFORMANCE_TOLD": str(bench.folder / "told")}


def _entries(out: str) -> list[dict[str, object]]:
    found = json.loads(out)
    entries: list[dict[str, object]] = found["settings"] if isinstance(found, dict) else found
    return entries


def _skip(reason: str) -> None:
    import pytest

    pytest.skip(reason)
