"""One function before every log, event, error and JSON output: it hides what must not be shown.

Hidden are user info and signed queries in URLs, AWS keys, values that are assigned to names such as `password`, and
every value that a setting declared secret. What is hidden is replaced by `***`. Pure but for the registered values.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"
#: Shorter values would garble unrelated words.
_MIN_SECRET_CHARACTERS = 4

_registered: set[str] = set()
#: Secrets of one opening of a file, of which a run has one per file: the last ones.
_passing: deque[str] = deque(maxlen=512)

# Texts, which `re` compiles at their first use: most commands hide nothing, and these would be 3 ms of their start.
# The second form is a password with a slash in it: what stands behind the colon is then no port.
_USER_INFO = (
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.\-]{0,20}://)"
    r"(?:[^\s/?#\"'<>]+|[^\s/?#\"'<>@:\[]*:(?!\d+[/?#]|\$\{)[^\s\"'<>]{1,200})@"
)
_SECRET_NAME = (
    r"(?:x-(?:amz|goog)-(?:signature|credential|security-token|algorithm|signedheaders)"
    r"|awsaccesskeyid|signature|sig|sas|se|skoid|credential|(?:access|private|auth|session|id|job|deploy|refresh|api|secret)[-_]?(?:token|key)|subscription[-_]?key"
    r"|client[-_]?secret|secret|token|key|password|passwd|pwd|auth(?:orization)?)"
)
_QUERY = rf"(?i)(?P<name>[?&;#]{_SECRET_NAME})=(?!\*\*\*)[^&;#\s\"'<>]+"
_ACCESS_KEY = r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{12,}\b"
_ASSIGNED_NAME = (
    r"[A-Za-z0-9_.\-]{0,40}(?:secret[-_]?access[-_]?key|session[-_]?token|secret[-_]?key|access[-_]?key(?:[-_]?id)?"
    r"|account[-_]?key|api[-_]?key|private[-_]?key|client[-_]?secret|auth[-_]?token|access[-_]?token"
    r"|password|passwd|secret|token)"
)
#: One of these is in every name that `_ASSIGNED_NAME` finds.
_NAME_PARTS = ("key", "token", "secret", "passw")
_SECRET_WORDS = frozenset(
    {"password", "passwd", "passphrase", "pwd", "pw", "pass", "secret", "secrets", "token", "tokens", "credential"}
    | {"credentials", "key", "keys", "apikey", "auth", "authorization", "cookie", "signature", "sas", "dsn"}
)
_MIN_VARIABLE_CHARACTERS = 8
_TAKES_TWO_WORDS = ("-a", "--arg", "--set")
_ASSIGNMENT = (
    rf"(?i)(?P<name>(?<![A-Za-z0-9_]){_ASSIGNED_NAME}(?P<quote>\\?[\"']?))(?P<sign>\s*[:=]\s*)"
    r"(?:(?P<open>\\?[\"'])(?P<quoted>.*?)(?P=open)|(?P<bare>[^\s\"',;&}\])]+))"
)
_AUTHORIZATION = r"(?i)(?P<name>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/\-]{8,}=*"


def register_secret(value: str | None) -> None:
    """Hide this value wherever it occurs from now on, in this process. Values below 4 characters are not hidden."""
    if value and len(value.strip()) >= _MIN_SECRET_CHARACTERS:
        _registered.add(value)


def register_passing_secret(value: str) -> None:
    """Hide this value for a while: until some hundred others have come."""
    if len(value.strip()) >= _MIN_SECRET_CHARACTERS and value not in _passing:
        _passing.append(value)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without secrets. Redacting twice changes nothing more.

    Args:
        text: any text, for instance a log line or a line of JSON.
        secrets: values to hide besides the registered ones.
    """
    for value in _spellings([*_registered, *list(_passing), *secrets]):
        text = text.replace(value, HIDDEN)
    if "://" in text:
        text = re.sub(_USER_INFO, rf"\g<scheme>{HIDDEN}@", text)
        text = re.sub(_QUERY, rf"\g<name>={HIDDEN}", text)
    text = re.sub(_ACCESS_KEY, HIDDEN, text)
    if ":" in text or "=" in text:
        text = re.sub(_ASSIGNMENT, _hide_assigned, text)
    return re.sub(_AUTHORIZATION, rf"\g<name>{HIDDEN}", text)


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
            found.update(_escaped(value))
    return sorted(found, key=len, reverse=True)


@lru_cache(maxsize=1024)
def _escaped(value: str) -> tuple[str, str, str]:
    import json
    from urllib.parse import quote, quote_plus

    return json.dumps(value)[1:-1], quote(value, safe=""), quote_plus(value)


def redact_values(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Plain JSON values with every text in them redacted, and text under the name of a secret hidden; names stay."""
    known = tuple(secrets)
    if isinstance(value, str):
        return redact(value, known)
    if isinstance(value, dict):
        return {key: _redact_entry(str(key), child, known) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(child, known) for child in value]
    return value


def _redact_entry(name: str, value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str) and value and not _is_harmless(value) and is_secret_name(name):
        return HIDDEN
    return redact_values(value, secrets)


def is_secret_name(name: str) -> bool:
    """Whether what is assigned to this name is a secret: `password`, `db.password`, `API_TOKEN`, `aws_secret_access_key`."""
    folded = name.casefold()
    return any(part in folded for part in _NAME_PARTS) and bool(re.fullmatch(_ASSIGNED_NAME, name, re.IGNORECASE))


def is_secret_variable(name: str) -> bool:
    """Whether an environment variable, or an entry of a mapping of settings, is to be hidden; wider than `is_secret_name`.

    Nothing but settings is judged by it: a `key` elsewhere is rarely a secret, and hiding it would hide what is wanted.
    """
    words = re.split(r"[^a-z0-9]+", name.casefold())
    return is_secret_name(name) or not _SECRET_WORDS.isdisjoint(words)


def redact_settings(value: Any) -> Any:
    """Plain values of settings: as `redact_values`, and what stands under the name of a secret is hidden."""
    if isinstance(value, dict):
        return {key: _hidden_setting(str(key), child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [redact_settings(child) for child in value]
    return redact_values(value)


def _hidden_setting(name: str, value: Any) -> Any:
    is_secret = isinstance(value, str) and value and is_secret_variable(name)
    return HIDDEN if is_secret and not value.startswith("${") else redact_settings(value)


def register_mapping(values: Mapping[str, str]) -> None:
    """Hide from now on the values of variables whose names are those of secrets, wherever they occur."""
    for name, value in values.items():
        # A word such as "team" under a name that ends in "key" is no secret, and hiding it would garble paths.
        if is_secret_name(name) or (is_secret_variable(name) and len(value) >= _MIN_VARIABLE_CHARACTERS):
            register_secret(value)


def register_environment(environ: Mapping[str, str]) -> None:
    """Hide from now on what this process was given as secrets: variables such as `API_TOKEN` and `DB_PASSWORD`.

    Fewer names count than in settings, and only values that are no word: a process has many variables that are not ours.
    """
    for name, value in environ.items():
        if len(value) >= _MIN_VARIABLE_CHARACTERS and is_secret_name(name):
            register_secret(value)


def redact_words(words: Iterable[str]) -> list[str]:
    """The words of a command line. Hidden is also what follows a name: `-a password VALUE`, `--api-token VALUE`."""
    found: list[str] = []
    before = ("", "")
    for word in words:
        is_option = before[1].startswith("--") and is_secret_name(before[1][2:])
        is_argument = before[0] in _TAKES_TWO_WORDS and is_secret_name(before[1])
        found.append(HIDDEN if (is_option or is_argument) and not _is_harmless(word) else redact(word))
        before = (before[1], word)
    return found
