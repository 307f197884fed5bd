"""From a CloudFormation stack to the settings that a profile needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rv_core import ConfigError, Finding
from rv_core.redaction import redact

#: Setting of section `batch` -> output of the stack that it comes from.
OUTPUT_OF_SETTING: Mapping[str, str] = {
    "region": "Region",
    "cpu_job_queue": "CpuJobQueue",
    "gpu_job_queue": "GpuJobQueue",
    "cpu_job_definition": "CpuJobDefinition",
    "gpu_job_definition": "GpuJobDefinition",
}
#: Outputs that are shown, because the next steps need them.
SHOWN_OUTPUTS = ("Bucket", "Repository", "CpuOnDemandJobQueue", "GpuOnDemandJobQueue", "SubmitterPolicy")
#: Names and ARNs of queues and definitions, and regions.
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/_-]{0,255}")
_USABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of a Stack by their names."""
    return {output["OutputKey"]: str(output["OutputValue"]) for output in stack.get("Outputs", ())}


def settings_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """Key of section `batch` -> value.

    Args:
        stack: Stack, as DescribeStacks answers it.

    Raises:
        ConfigError: with everything that is wrong with the stack.
    """
    findings = [*_status_findings(stack), *_output_findings(outputs_of(stack))]
    if findings:
        raise ConfigError(f"the stack {stack['StackName']} cannot be used", findings=findings)
    return {key: outputs_of(stack)[output] for key, output in OUTPUT_OF_SETTING.items()}


def _status_findings(stack: Mapping[str, Any]) -> Iterator[Finding]:
    status = str(stack["StackStatus"])
    if status in _USABLE:
        return
    why = f": {stack['StackStatusReason']}" if stack.get("StackStatusReason") else ""
    if status.endswith("_IN_PROGRESS"):
        fix = f"wait for it: aws cloudformation wait stack-create-complete --stack-name {stack['StackName']}"
    else:
        fix = "look at its events in the CloudFormation console, delete it, and create it anew"
    yield Finding("", f"it is {status}{why}", fix)


def _output_findings(outputs: Mapping[str, str]) -> Iterator[Finding]:
    missing = [name for name in OUTPUT_OF_SETTING.values() if name not in outputs]
    if missing:
        fix = "was it made from `rv batch template`? If it was made from an older one, update it with the new one"
        yield Finding("", f"it has no output {', '.join(missing)}", fix)
    for key, name in OUTPUT_OF_SETTING.items():
        value = outputs.get(name, "")
        # Whatever a stack says, only names get into a profile: credentials belong to AWS's own tools.
        if value and (not _VALUE.fullmatch(value) or redact(value) != value):
            yield Finding(f"output {name}", f"it is no name that batch.{key} can have", "look at the template")
