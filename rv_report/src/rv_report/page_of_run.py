"""The page about a run: its results first, then how it came about."""

from __future__ import annotations

from rv_core.status.values import RunStatus
from rv_core.wording import count_text
from rv_report.parts import Page
from rv_report.result_sections import result_sections
from rv_report.run_facts import job_facts, pipeline_facts
from rv_report.run_sections import run_sections


def page_of(status: RunStatus) -> Page:
    """The page about a run.

    Raises:
        StorageError: if a root cannot be read.
    """
    jobs = job_facts(status)
    about, *others = run_sections(status, jobs, pipeline_facts(status))
    names = ", ".join(status.files.roots) or "a pipeline"
    done, total = sum(job.num_done for job in jobs), sum(job.num_items for job in jobs)
    lead = f"{done:,} of {count_text(total, 'item')} done by {count_text(len(jobs), 'command')}; runner {status.files.record.runner}"
    return Page(names, [about, *result_sections(status), *others], status.state, lead)
