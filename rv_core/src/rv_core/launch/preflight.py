"""What would make a run fail, found before anything is started: all findings of core, pipelines and runner at once."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from rv_core.config import saved
from rv_core.errors import EXIT_ENVIRONMENT, CheckError, Finding, RvError, as_findings
from rv_core.files import by_uri, uris
from rv_core.files.local import leaves_folder
from rv_core.machine.child import answer_of
from rv_core.machine.python import module_argv
from rv_core.pipeline.pipeline import Pipeline
from rv_core.plan.decisions import CommandPlan, RunPlan
from rv_core.plan.graph import Plan
from rv_core.record.layout import CONFIG_FOR_PEOPLE, RUNS_FOLDER
from rv_core.runner.context import RunContext
from rv_core.runner.contract import Runner
from rv_core.wording import count_text

if TYPE_CHECKING:
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.user_code.configs import LoadedModule

#: Opening every raster of a large dataset takes a while; a check that takes longer than this tells nothing early.
DEEP_CHECK_TIMEOUT_S = 600


def items_to_check(run_plan: RunPlan, pipeline_name: str) -> dict[str, list[str]]:
    """The ids of the items that will be worked through, by command."""
    return {
        entry.command: [item.id for item in entry.to_do]
        for entry in run_plan.commands
        if entry.pipeline == pipeline_name and entry.decision == "run"
    }


def unreachable_findings(configs: Mapping[str, PipelineConfig], loaded: LoadedModule) -> list[Finding]:
    """What tasks on other machines would miss: every local URI of the configs, and code that does not travel."""
    from rv_core.config.values import uris_of

    findings = []
    if loaded.siblings:
        what = f"imports {', '.join(loaded.siblings)} from its folder, which other machines do not have"
        findings.append(Finding(loaded.source, what, "send them along with --ship-code"))
    for name, config in configs.items():
        for path, uri in uris_of(config):
            if uris.is_local(uris.expand(uri)):
                kind = "a folder" if path == "root_uri" else "a file"
                fix = "use a root that all machines see" if path == "root_uri" else "upload it and name it there"
                findings.append(Finding(f"{name}.{path}", f"{uri} is {kind} of this machine", fix))
    return findings


def root_findings(roots: Mapping[str, str], *, in_process: bool, is_remote: bool) -> list[Finding]:
    """What is wrong with the roots for this kind of runner, and with each beside the others."""
    findings = []
    for name, root in roots.items():
        if root.startswith("memory:") and not in_process:
            findings.append(
                Finding(f"{name}.root_uri", f"{root} is in the memory of one process", "use the runner `inprocess`")
            )
        if uris.scheme_of(uris.expand(root)) in ("http", "https"):
            what = f"{root} is on a web server, which can only be read from"
            findings.append(Finding(f"{name}.root_uri", what, "choose a folder, or a store such as s3://bucket/root"))
        if uris.is_local(root):
            findings += _leaving(name, uris.local_path(root))
            findings += [] if is_remote else _unwritable(name, uris.local_path(root))
    names = list(roots)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            if uris.same_or_nested(roots[first], roots[second]):
                findings.append(
                    Finding(
                        f"{first}.root_uri, {second}.root_uri",
                        f"{roots[first]} and {roots[second]} are equal or one lies in the other",
                        "give every pipeline a root of its own",
                    )
                )
    return findings


def _leaving(name: str, path: str) -> list[Finding]:
    """A finding for each folder of rv's own state that is a link out of the root: what is written there lands elsewhere."""
    done = os.path.join(path, ".rv", "done")
    commands = [os.path.join(".rv", "done", command) for command in (os.listdir(done) if os.path.isdir(done) else ())]
    return [
        Finding(f"{name}.root_uri", f"{path}/{folder} is a link that leads out of the root", "put a real folder there")
        for folder in (".rv", *(os.path.join(".rv", kind) for kind in ("runs", "done", "code")), *sorted(commands))
        if os.path.islink(os.path.join(path, folder)) and leaves_folder(path, folder.split("/"))
    ]


def foreign_configs(roots: Mapping[str, str]) -> list[Finding]:
    """A finding for each root that holds a `pipeline-config.json` of somebody else, which a run would replace.

    Raises:
        StorageError: if a store cannot be asked.
    """
    return [
        Finding(
            f"{name}.root_uri",
            f"{uris.join(root, CONFIG_FOR_PEOPLE)} is there, was not written by rv and would be replaced",
            "choose another root, or rename that file",
        )
        for name, root in roots.items()
        if _is_foreign(root)
    ]


def _is_foreign(root: str) -> bool:
    place = uris.join(root, CONFIG_FOR_PEOPLE)
    if not by_uri.exists(place):
        return False
    if saved.plain_in(by_uri.read_bytes(place)) is not None:
        return False
    # In a root that runs have worked in it is rv's own, and damaged.
    return not by_uri.list_files(uris.join(root, RUNS_FOLDER))


def _unwritable(name: str, path: str) -> list[Finding]:
    """A finding if the root, or the nearest folder above it that exists, cannot be written to."""
    folder = path
    while not os.path.lexists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return [Finding(f"{name}.root_uri", f"{folder} is not a folder", "choose another root")]
    if os.access(folder, os.W_OK | os.X_OK) and not os.statvfs(folder).f_flag & os.ST_RDONLY:
        return []
    return [
        Finding(f"{name}.root_uri", f"{folder} cannot be written to", "choose another root or mend its permissions")
    ]


class CheckRequest(NamedTuple):
    """What the deep check of a pipeline is asked.

    Args:
        pipeline: the pipeline.
        todo: ids of items by command.
        config_text: the saved config.
        code_archive: the zip of the code that travels.
        path: folders to import from besides, for tasks that run in this very process.
        commands: all commands of the pipeline, as planned.
        is_fresh: look again all the same.
    """

    pipeline: Pipeline
    todo: Mapping[str, Sequence[str]]
    config_text: str
    code_archive: bytes
    path: Sequence[str]
    commands: Sequence[CommandPlan]
    is_fresh: bool = False

    @property
    def is_needed(self) -> bool:
        """Whether the pipeline has a deep check and something to do."""
        return bool(self.pipeline.deep_check and any(self.todo.values()))


def pipeline_findings(request: CheckRequest) -> list[Finding]:
    """The pipeline's own findings: the cheap ones, then those of its deep check in a child process."""
    pipeline = request.pipeline
    findings = list(as_findings(pipeline.preflight(request.todo)))
    if not request.is_needed:
        return findings
    missing = [name for name in pipeline.requires_modules if not _is_installed(name)]
    if missing:
        skipped = f"the inputs were not opened: {', '.join(missing)} is not installed here"
        return [*findings, Finding("", skipped, "", "skipped")]
    return findings + _deep_findings(request)


def _deep_findings(request: CheckRequest) -> list[Finding]:
    """What the deep check finds, or has found when it was asked the same before."""
    from rv_core.launch import known_checks

    config_text, code = request.config_text, (request.code_archive, request.path)
    subject = known_checks.subject_of(request.pipeline, request.commands, config_text, *code)
    known = known_checks.findings_before(subject, request.todo) if subject and not request.is_fresh else None
    if known is not None:
        # Whether tasks can import the code depends on more than is known: its own files, the network.
        wrong = run_deep_check("", config_text, {}, *code) if request.code_archive and not request.path else []
        return [*wrong, *known]
    findings, is_answer = _ask_child(request.pipeline.deep_check, config_text, request.todo, *code)
    if subject and is_answer:
        known_checks.remember(subject, request.todo, findings)
    return findings


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # an import hook that forbids it
        return False


def run_deep_check(
    target: str,
    config_text: str,
    todo: Mapping[str, Sequence[str]],
    code_archive: bytes,
    path: Sequence[str],
) -> list[Finding]:
    """Run a pipeline's deep check in a child process, which alone imports what opens images.

    The child imports the code that travels as a task does, and what that raises is a finding.

    Args:
        target: `"module:function"`; "" to do no more than import the code and load the config.
        config_text: the saved config.
        todo: ids of items by command.
        code_archive: the zip of the code that the config names, if it names any.
        path: folders to import from besides, for tasks that run in this very process.
    """
    return _ask_child(target, config_text, todo, code_archive, path)[0]


def _ask_child(
    target: str, config_text: str, todo: Mapping[str, Sequence[str]], code_archive: bytes, path: Sequence[str]
) -> tuple[list[Finding], bool]:
    """What a child process finds, and whether that is its answer and not that there was none."""
    code = base64.b64encode(code_archive).decode()
    request = json.dumps(
        {"target": target, "config": config_text, "todo": todo, "path": list(path), "code_archive": code}
    )
    try:
        done = answer_of(module_argv("rv_core.launch.deep_check"), request, timeout_s=DEEP_CHECK_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        what = f"the check of the inputs took over {DEEP_CHECK_TIMEOUT_S} s and was ended"
        return [Finding("", what, "", "skipped")], False
    except OSError as err:  # no room for its question, or no more processes
        return [Finding("", f"the check of the inputs cannot be started: {err}", kind="environment")], False
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        last = "\n".join(done.stderr.strip().splitlines()[-3:]) or "it gave no answer"
        return [Finding("", f"the check of the inputs failed itself (exit code {done.returncode}): {last}")], False
    return [Finding(**entry) for entry in json.loads(lines[-1])], True


def all_findings(
    run_plan: RunPlan,
    pipelines: Mapping[str, Pipeline],
    config_texts: Mapping[str, str],
    runner: Runner,
    context: RunContext,
    todo_of: Mapping[str, Mapping[str, Sequence[str]]],
    code_archive: bytes = b"",
    *,
    is_fresh: bool = False,
) -> list[Finding]:
    """Everything that speaks against the run. With several pipelines the place of a finding starts with its name.

    Args:
        run_plan: the plan.
        pipelines: the pipelines, by name.
        config_texts: their saved configs, by name.
        runner: the runner.
        context: its context.
        todo_of: ids of items by pipeline and command.
        code_archive: the zip of the code that travels.
        is_fresh: look at everything again, whatever is known.
    """
    findings = []
    path = sys.path if context.capabilities.in_process else ()
    requests = {}
    for name, pipeline in pipelines.items():
        commands = [entry for entry in run_plan.commands if entry.pipeline == name]
        requests[name] = CheckRequest(
            pipeline, todo_of[name], config_texts[name], code_archive, path, commands, is_fresh
        )
    # In this process the module is loaded already, from its own file.
    imports_code = bool(code_archive) and (is_fresh or not path)
    if imports_code and not any(request.is_needed for request in requests.values()):
        findings += run_deep_check("", next(iter(config_texts.values())), {}, code_archive, path)
    for name, request in requests.items():
        own = pipeline_findings(request)
        findings += [_placed(finding, name) for finding in own] if len(pipelines) > 1 else own
    return findings + _runner_findings(runner, run_plan, context)


def findings_without_plan(runner: Runner, context: RunContext, error: RvError) -> list[Finding]:
    """What the runner finds although there is no plan, and why there is none.

    Args:
        runner: the runner.
        context: its context.
        error: what kept the run from being planned.
    """
    own = _runner_findings(runner, RunPlan(Plan(()), (), {}), context)
    # Who has no credentials, or no such bucket, is told so by the runner in fewer words.
    is_told = any(finding.kind == "environment" or finding.where.endswith("root_uri") for finding in own)
    return own if is_told else [*own, error.as_finding()]


def _placed(finding: Finding, name: str) -> Finding:
    where = f"{name}: {finding.where}" if finding.where else name
    return finding._replace(where=where)


def _runner_findings(runner: Runner, run_plan: RunPlan, context: RunContext) -> list[Finding]:
    try:
        return list(as_findings(runner.preflight(run_plan.plan, context)))
    except RvError as error:
        if error.findings:
            return list(error.findings)
        raise


def raise_if_wrong(findings: Iterable[Finding]) -> None:
    """Refuse to go on.

    Raises:
        CheckError: with all findings, if one of them is an error; its exit code is 3 where only the environment is wrong.
    """
    found = list(findings)
    errors = [finding for finding in found if finding.severity == "error"]
    if errors:
        count = f"{len(errors)} problem{'s' if len(errors) > 1 else ''}"
        error = CheckError(f"{count} found before anything was started", findings=found)
        if all(finding.kind == "environment" for finding in errors):
            error.exit_code = EXIT_ENVIRONMENT
        raise error


def found_text(findings: Sequence[Finding]) -> str:
    """What a check without errors has found, in words."""
    num_warnings = sum(finding.severity == "warning" for finding in findings)
    found = f"No errors, {count_text(num_warnings, 'warning')}" if num_warnings else "Nothing found"
    skipped = any(finding.severity == "skipped" for finding in findings)
    return found + (" in what could be checked" if skipped else "")


def report_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings as `rv check --json` prints them."""
    return {"ok": not any(f.severity == "error" for f in findings), "findings": [f.to_json() for f in findings]}
