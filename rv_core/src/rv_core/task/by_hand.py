"""A task outside of a run."""

from __future__ import annotations

import os

from rv_core.errors import UsageError
from rv_core.files import uris
from rv_core.plan.graph import task_id
from rv_core.plan.manifests import requirement_error, unmet_requirements
from rv_core.record.event_writer import EventWriter
from rv_core.task.inputs import TaskRequest, activate_code_of
from rv_core.task.running import StopSignal, execute, gpu_lease, reported, set_thread_limits


def run_by_hand(
    config_uri: str, command: str, share: tuple[int, int], stop: StopSignal, *, show_traceback: bool
) -> int:
    """A task outside of a run: any saved config, planned here and now.

    Args:
        config_uri: the saved config.
        command: the command's name.
        share: index and number of splits.
        stop: receives TERM.
        show_traceback: print the whole of it for an expected error too.

    Returns:
        The exit code of the task.
    """
    from rv_core.config import saved
    from rv_core.files import by_uri
    from rv_core.files.problems import MissingFileError
    from rv_core.pipeline.pipeline import PipelineConfig
    from rv_core.plan.planning import plan_one_command

    uri = uris.absolute(config_uri, os.getcwd())
    try:
        text = by_uri.read_text(uri)
    except MissingFileError as err:
        raise UsageError(f"there is no saved config {uris.name_of(uri)!r}", where=uri) from err
    root_uri = str(saved.parse_plain(text, source=uri).plain.get("root_uri", ""))
    activate_code_of(text, root_uri)
    pipeline = saved.parse(text, source=uri, expected=PipelineConfig).config.build()
    records = plan_one_command(pipeline, command)
    record = records[command]
    problems = unmet_requirements(root_uri, record, lambda job: records[job.rsplit(".", 1)[1]])
    if problems:
        raise requirement_error(command, problems)
    split_index, num_splits = share
    task = task_id(record["job"], split_index, num_splits)
    request = TaskRequest(task, command, split_index, num_splits, 1, "", record, root_uri)
    set_thread_limits(os.environ)
    resources = record["resources"]

    def run_it() -> None:
        with gpu_lease(resources["gpus"]):
            execute(pipeline, request, events, stop, timeout_s=resources["timeout_s"])

    with EventWriter(os.devnull) as events:
        return reported(request, events, run_it, show_traceback=show_traceback)
