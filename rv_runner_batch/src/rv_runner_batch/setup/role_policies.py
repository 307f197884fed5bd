"""What IAM policy documents allow, as far as a look at the set-up needs it. Pure.

Conditions of what is allowed are taken to hold; statements with NotAction or NotResource allow nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

Document = Mapping[str, Any]

_OBJECTS = re.compile(r"arn:[a-z-]+:s3:::([^/]+)/.*")
#: AWS's own policies that let a role write to every bucket.
WIDE_POLICIES = ("AdministratorAccess", "AmazonS3FullAccess", "PowerUserAccess")


def allows(documents: Sequence[Document], action: str, resource: str) -> bool:
    """Whether some statement allows an action on a resource and none denies it."""
    effects = {
        statement["Effect"]
        for statement in _statements(documents)
        if _fits(statement, "Action", action.lower()) and _fits(statement, "Resource", resource)
    }
    return "Allow" in effects and "Deny" not in effects


def written_buckets(documents: Sequence[Document]) -> list[str]:
    """The buckets whose objects may be written, `*` for every one, sorted."""
    found = set()
    for statement in _statements(documents):
        if statement["Effect"] == "Allow" and _fits(statement, "Action", "s3:putobject"):
            found |= {_bucket_of(resource) for resource in _listed(statement.get("Resource"))}
    return sorted(found - {""})


def trusts(document: Document, service: str) -> bool:
    """Whether a trust policy lets a service of AWS take the role."""
    return any(
        statement["Effect"] == "Allow" and service in _services(statement.get("Principal"))
        for statement in _statements([document])
    )


def _bucket_of(resource: str) -> str:
    """The bucket of a resource that stands for objects; "" for other resources."""
    if resource == "*":
        return "*"
    match = _OBJECTS.fullmatch(resource)
    if match:
        return match[1]
    # `arn:aws:s3:::*` covers objects too.
    return "*" if resource.endswith(":s3:::*") else ""


def _statements(documents: Sequence[Document]) -> Iterator[Mapping[str, Any]]:
    for document in documents:
        yield from _listed(document.get("Statement"))


def _services(principal: Any) -> list[Any]:
    if isinstance(principal, Mapping):
        return _listed(principal.get("Service"))
    return []


def _fits(statement: Mapping[str, Any], key: str, value: str) -> bool:
    patterns = [str(pattern) for pattern in _listed(statement.get(key))]
    if key == "Action":
        patterns = [pattern.lower() for pattern in patterns]
    # IAM knows * and ? only.
    return any(fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in patterns)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
