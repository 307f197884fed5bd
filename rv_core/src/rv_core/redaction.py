"""One function before every log, event, error and JSON output: it hides what must not be shown.

Hidden are user info and signed queries in URLs, AWS keys, values that are assigned to names such as `password`, and
every value that a setting declared secret. What is hidden is replaced by `***`. Pure but for the registered values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "***"
#: Shorter values would garble unrelated words.
_MIN_SECRET_CHARACTERS = 4

_registered: set[str] = set()

# The second form is a password with a slash in it: what stands behind the colon is then no port.
_USER_INFO = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]{0,20}://)"
    r"(?:[^\s/?#\"'<>]+|[^\s/?#\"'<>@:\[]*:(?!\d+[/?#]|\$\{)[^\s\"'<>]{1,200})@"
)
_SECRET_NAME = (
    r"(?:x-(?:amz|goog)-(?:signature|credential|security-token|algorithm|signedheaders)"
    r"|awsaccesskeyid|signature|sig|sas|se|skoid|credential|access[-_]?token|api[-_]?key|subscription[-_]?key"
    r"|client[-_]?secret|secret|token|key|password|passwd|pwd|auth(?:orization)?)"
)
_QUERY = re.compile(rf"(?P<name>[?&;#]{_SECRET_NAME})=(?!\*\*\*)[^&;#\s\"'<>]+", re.IGNORECASE)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{12,}\b")
_ASSIGNED_NAME = (
    r"[A-Za-z0-9_.\-]{0,40}(?:secret[-_]?access[-_]?key|session[-_]?token|secret[-_]?key|access[-_]?key(?:[-_]?id)?"
    r"|account[-_]?key|api[-_]?key|private[-_]?key|client[-_]?secret|auth[-_]?token|access[-_]?token"
    r"|password|passwd|secret|token)"
)
_ASSIGNMENT = re.compile(
    rf"(?P<name>(?<![A-Za-z0-9_]){_ASSIGNED_NAME}(?P<quote>\\?[\"']?))(?P<sign>\s*[:=]\s*)"
    r"(?:(?P<open>\\?[\"'])(?P<quoted>.*?)(?P=open)|(?P<bare>[^\s\"',;&}\])]+))",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(r"(?P<name>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/\-]{8,}=*", re.IGNORECASE)


def register_secret(value: str | None) -> None:
    """Hide this value wherever it occurs from now on, in this process. Values below 4 characters are not hidden."""
    if value and len(value.strip()) >= _MIN_SECRET_CHARACTERS:
        _registered.add(value)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without secrets. Redacting twice changes nothing more.

    Args:
        text: any text, for instance a log line or a line of JSON.
        secrets: values to hide besides the registered ones.
    """
    for value in _spellings([*_registered, *secrets]):
        text = text.replace(value, HIDDEN)
    if "://" in text:
        text = _USER_INFO.sub(rf"\g<scheme>{HIDDEN}@", text)
        text = _QUERY.sub(rf"\g<name>={HIDDEN}", text)
    text = _ACCESS_KEY.sub(HIDDEN, text)
    if ":" in text or "=" in text:
        text = _ASSIGNMENT.sub(_hide_assigned, text)
    return _AUTHORIZATION.sub(rf"\g<name>{HIDDEN}", text)


def _hide_assigned(match: re.Match[str]) -> str:
    value = match["quoted"] if match["open"] else match["bare"]
    # Numbers and words of JSON are counts and switches ("token": 12), not secrets; ${NAME} is written on purpose.
    if not value or value in ("null", "None", "true", "false", "True", "False") or _is_harmless(value):
        return match[0]
    quote = match["open"] or ""
    return f"{match['name']}{match['sign']}{quote}{HIDDEN}{quote}"


def _is_harmless(value: str) -> bool:
    return value.startswith((HIDDEN, "${")) or (len(value) < 10 and value.replace(".", "", 1).isdigit())


def _spellings(values: Iterable[str]) -> list[str]:
    """The values as text, in JSON and in URLs, longest first so that one that holds another goes first."""
    found: set[str] = set()
    for value in values:
        if len(value.strip()) < _MIN_SECRET_CHARACTERS:
            continue
        found.add(value)
        if not value.isalnum():
            import json
            from urllib.parse import quote, quote_plus

            found.update((json.dumps(value)[1:-1], quote(value, safe=""), quote_plus(value)))
    return sorted(found, key=len, reverse=True)


def redact_values(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Plain JSON values with every text in them redacted; keys stay."""
    known = tuple(secrets)
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, dict):
        return {key: redact_values(child, known) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(child, known) for child in value]
    return value
