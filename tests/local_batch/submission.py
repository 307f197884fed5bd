"""A SubmitJob request and its definition made one: overrides, parameters, defaults; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.local_batch.api_model import coerced
from tests.local_batch.jobs import JobSpec, Request

_PLACEHOLDER = "Ref::"


def spec_of(params: Mapping[str, Any], queue: Mapping[str, Any], definition: Mapping[str, Any]) -> JobSpec:
    """What a request asks for."""
    parameters = {**definition.get("parameters", {}), **params.get("parameters", {})}
    container = _container(definition["containerProperties"], params.get("containerOverrides", {}), parameters)
    timeout = params.get("timeout") or definition.get("timeout") or {}
    return JobSpec(
        name=params["jobName"],
        queue=queue["jobQueueArn"],
        queue_name=queue["jobQueueName"],
        definition=definition["jobDefinitionArn"],
        definition_name=definition["jobDefinitionName"],
        container=container,
        request=_request(container),
        array_size=params.get("arrayProperties", {}).get("size", 0),
        depends_on=params.get("dependsOn", ()),
        retry=_retry(params.get("retryStrategy") or definition.get("retryStrategy") or {}),
        timeout_s=timeout.get("attemptDurationSeconds", 0),
        described=_described(params, definition, parameters),
    )


def _container(base: Mapping[str, Any], overrides: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    merged = {
        **base,
        "command": _substituted(overrides.get("command") or base.get("command", []), parameters),
        "environment": _merged(base, overrides, "environment", "name"),
        "resourceRequirements": _merged(base, overrides, "resourceRequirements", "type"),
    }
    has_requirements = {requirement["type"] for requirement in base.get("resourceRequirements", [])}
    # The old members override their like, never a resource requirement of the definition.
    for old, kind in (("vcpus", "VCPU"), ("memory", "MEMORY")):
        if old in overrides and kind not in has_requirements:
            merged[old] = overrides[old]
    typed: dict[str, Any] = coerced("ContainerDetail", merged)
    return typed


def _substituted(command: Sequence[str], parameters: Mapping[str, str]) -> list[str]:
    """`Ref::NAME` replaced by the parameter; left as it is where there is none."""
    return [
        parameters.get(word.removeprefix(_PLACEHOLDER), word) if word.startswith(_PLACEHOLDER) else word
        for word in command
    ]


def _merged(base: Mapping[str, Any], overrides: Mapping[str, Any], member: str, key: str) -> list[dict[str, str]]:
    entries = {entry[key]: entry for entry in [*base.get(member, []), *overrides.get(member, [])]}
    return list(entries.values())


def _request(container: Mapping[str, Any]) -> Request:
    amounts = {entry["type"]: int(float(entry["value"])) for entry in container["resourceRequirements"]}
    return Request(
        vcpus=amounts.get("VCPU", container.get("vcpus", 1)),
        memory_mib=amounts.get("MEMORY", container.get("memory", 4)),
        gpus=amounts.get("GPU", 0),
    )


def _retry(strategy: Mapping[str, Any]) -> dict[str, Any]:
    return {"attempts": strategy.get("attempts", 1), "evaluateOnExit": list(strategy.get("evaluateOnExit", []))}


def _described(
    params: Mapping[str, Any], definition: Mapping[str, Any], parameters: Mapping[str, str]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "parameters": dict(parameters),
        "platformCapabilities": definition.get("platformCapabilities") or ["EC2"],
        "propagateTags": params.get("propagateTags", definition.get("propagateTags", False)),
        "tags": dict(params.get("tags", {})),
    }
    optional = {"shareIdentifier": "shareIdentifier", "schedulingPriorityOverride": "schedulingPriority"}
    described.update({shown: params[given] for given, shown in optional.items() if given in params})
    return described
