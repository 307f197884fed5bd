"""`PipelineConformance`: everything that a pipeline has to do, as tests to inherit."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.testing.pipeline_bench import PipelineBench

#: What a laptop that only submits need not have.
HEAVY_MODULES = ("torch", "rasterio", "boto3", "botocore", "numpy", "shapely", "scipy", "pandas", "tensorflow", "jax")
_IMPORT = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"


class PipelineConformance:
    """Inherit it in a class named `Test…`, say how a config is made, and every rule is a test of that class.

    The config's classes must be in a module that a fresh process can import, not in the test module.
    """

    #: Dotted field -> another value for it. A command that does not declare it must not write anything else for it.
    changed_fields: ClassVar[Mapping[str, Any]] = {}
    #: Patterns (`train/*.log`) of outputs whose bytes may differ from run to run.
    varying_outputs: ClassVar[tuple[str, ...]] = ()
    #: Modules that the module of the config must not import.
    heavy_modules: ClassVar[tuple[str, ...]] = HEAVY_MODULES
    #: How long a single command line may take, in seconds.
    timeout_s: ClassVar[float] = 120.0
    #: How often a run is ended before it may end by itself.
    num_kills: ClassVar[int] = 3

    def make_config(self, root_uri: str) -> PipelineConfig:
        """A config for a root: quick to run, with several items, the same at every call but for the root."""
        raise NotImplementedError

    def test_the_config_is_valid(self, rv_pipeline: PipelineBench) -> None:
        """Nothing is found wrong with the config."""
        from rv_core.config.validation import schemas

        errors = [str(f) for f in schemas.check(self.make_config("/rv/root")) if f.severity == "error"]
        rv_pipeline.cli.expect(not errors, f"the config is not valid: {errors}")

    def test_the_config_survives_json(self, rv_pipeline: PipelineBench) -> None:
        """Saving and loading gives an equal config, and saving that gives the same text."""
        from rv_core.config import saved as config_file

        config = self.make_config("/rv/root")
        text = config_file.dump(config)
        loaded = config_file.parse(text, source="saved", expected=PipelineConfig).config
        rv_pipeline.cli.expect(type(loaded) is type(config), f"a {type(config)} is loaded as a {type(loaded)}")
        again = config_file.dump(loaded)
        rv_pipeline.cli.expect(again == text, "a config that was saved and loaded is saved differently", text, again)

    def test_the_config_is_light(self, rv_pipeline: PipelineBench) -> None:
        """The module of the config imports nothing that a machine which only submits need not have."""
        module = type(self.make_config("/rv/root")).__module__
        asked = rv_pipeline.cli.python("-c", _IMPORT, module)
        rv_pipeline.cli.expect(asked.code == 0, f"{module} cannot be imported by a fresh process", asked)
        heavy = {name.partition(".")[0] for name in json.loads(asked.out.splitlines()[-1])} & set(self.heavy_modules)
        what = f"{module} imports {', '.join(sorted(heavy))}; import it in the module of the pipeline"
        rv_pipeline.cli.expect(not heavy, what)

    def test_keys_do_not_depend_on_the_root(self, rv_pipeline: PipelineBench) -> None:
        """What is done under one root would be the same under another."""
        first, second = (_keys(rv_pipeline.plan(rv_pipeline.save()[0])) for _ in range(2))
        differing = [job for job, key in first.items() if second.get(job) != key]
        rv_pipeline.cli.expect(not differing, f"the keys of these depend on root_uri: {', '.join(differing)}")

    def test_every_command_declares_what_it_reads(self, rv_pipeline: PipelineBench) -> None:
        """All commands run to their end; one that reads a field which it does not declare fails."""
        rv_pipeline.undisturbed()

    def test_every_output_is_recorded(self, rv_pipeline: PipelineBench) -> None:
        """All files under the root are written through `self.storage`: whole or not at all, and known to resume."""
        run = rv_pipeline.undisturbed()
        recorded = {path for _, path in run.recorded()}
        strange = sorted(set(run.evidence.outputs()) - recorded)
        what = f"written past self.storage, so neither atomic nor recorded: {strange[:10]}"
        rv_pipeline.cli.expect(not strange, what, run.finished)

    def test_no_two_items_write_one_file(self, rv_pipeline: PipelineBench) -> None:
        """Every file belongs to one item of one command, so that items can be worked on side by side."""
        owners: dict[str, list[str]] = {}
        for owner, path in rv_pipeline.undisturbed().recorded():
            owners.setdefault(path, []).append(owner)
        shared = {path: names for path, names in owners.items() if len(names) > 1}
        rv_pipeline.cli.expect(not shared, f"files that several items write: {shared}")

    def test_a_second_run_has_nothing_to_do(self, rv_pipeline: PipelineBench) -> None:
        """The same config again finds everything done."""
        run = rv_pipeline.undisturbed()
        again = rv_pipeline.run(run.saved)
        rv_pipeline.cli.expect("Nothing to do" in again.out, "a second run does something again", again)

    @pytest.mark.parametrize("num_splits", [1, 3])
    def test_splits_and_processes_change_nothing(self, rv_pipeline: PipelineBench, num_splits: int) -> None:
        """Task by task, each in a process of its own, in any number of splits: the outputs are the same bytes."""
        run = rv_pipeline.undisturbed()
        saved, root = rv_pipeline.save()
        finished = rv_pipeline.run_by_tasks(saved, num_splits)
        failed = [task for task in finished if task.code != 0]
        rv_pipeline.cli.expect(not failed, f"in {num_splits} splits a task fails that does not in one process", *failed)
        rv_pipeline.expect_same(root, run.root, f"other outputs in {num_splits} splits, a process each")

    @pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
    def test_a_run_that_was_ended_goes_on_to_the_same_end(self, rv_pipeline: PipelineBench, signum: int) -> None:
        """Ended at random moments, the same command ends with the bytes of an undisturbed run, and leaves no litter."""
        run = rv_pipeline.undisturbed()
        saved, root = rv_pipeline.save()
        ended = [rv_pipeline.end_while_running(saved, signum, seed=seed) for seed in range(self.num_kills)]
        finished = rv_pipeline.run(saved)
        rv_pipeline.expect_same(root, run.root, "other outputs after being ended and run again", *ended, finished)
        litter = rv_pipeline.temporary_files(root)
        rv_pipeline.cli.expect(not litter, f"temporary files are left: {litter}", *ended, finished)

    def test_a_changed_field_is_declared_by_some_command(self, rv_pipeline: PipelineBench) -> None:
        """Every field of `changed_fields` enters the key of a command: a change of it is seen."""
        keys = _keys(rv_pipeline.plan(rv_pipeline.undisturbed().saved))
        unseen = [
            path
            for path, value in self._changes().items()
            if _keys(rv_pipeline.plan(rv_pipeline.save(changes={path: value})[0])) == keys
        ]
        rv_pipeline.cli.expect(not unseen, f"a change of these is not seen by any command: {', '.join(unseen)}")

    def test_what_is_not_declared_changes_nothing(self, rv_pipeline: PipelineBench) -> None:
        """A command whose key stays the same writes the same: it does not read a field past its declaration."""
        made = rv_pipeline.undisturbed().made()
        for path, value in self._changes().items():
            saved, root = rv_pipeline.save(changes={path: value})
            changed = rv_pipeline.finished_run(saved, root, rv_pipeline.run(saved))
            differing = [name for name, sums in changed.made().items() if made.get(name, sums) != sums]
            what = f"with another {path} these have the same key and other outputs: {', '.join(differing)}"
            rv_pipeline.cli.expect(not differing, what, changed.finished)

    def _changes(self) -> Mapping[str, Any]:
        if not self.changed_fields:
            pytest.skip("changed_fields is empty: name fields of the config and other values for them")
        return self.changed_fields


def _keys(plan: Any) -> dict[str, str]:
    return {entry["job"]: entry["key"] for pipeline in plan["pipelines"].values() for entry in pipeline["commands"]}
