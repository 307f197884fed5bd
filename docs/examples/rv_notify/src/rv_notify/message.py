"""Posting a message. What goes wrong is raised: rv writes it to the events of the run, and goes on."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

VARIABLE = "RV_NOTIFY_URL"
#: rv leaves a hook behind that takes over a second.
TIMEOUT_S = 0.9


def post(message: Mapping[str, Any]) -> None:
    """Post a message as JSON to the URL in `RV_NOTIFY_URL`; without one nothing happens.

    Raises:
        ConnectionError: if it was not taken. The URL is not named: it often holds a token.
        ValueError: if the URL is none.
    """
    url = os.environ.get(VARIABLE)
    if not url:
        return
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{VARIABLE} is not an http or https URL")
    data = json.dumps(message).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        raise ConnectionError(f"the message was refused: {error.code} {error.reason}") from None
    except OSError as error:
        raise ConnectionError(f"the message could not be posted: {type(error).__name__}") from None
