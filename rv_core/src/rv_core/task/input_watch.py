"""Whether the inputs of an item are those that it was planned with, from its begin to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rv_core.errors import TaskError
from rv_core.files import uris


class InputWatch:
    """Sees whether the inputs of an item are those that it was planned with, from its begin to its end.

    What a key says of an input is its content at plan time. An input that was replaced since, and is put back later,
    would leave a result of the other content under that key for good.

    Args:
        states: URI -> `fingerprints.state_of` it at plan time.
        tokens: URI -> its fingerprint at plan time, of the inputs of the item.
        root_uri: the root that URIs such as `./chip/a.npy` are relative to.
    """

    def __init__(self, states: Mapping[str, Any], tokens: Mapping[str, str], root_uri: str) -> None:
        places = {name: f"{root_uri}{name[1:]}" if name.startswith("./") else name for name in tokens if name in states}
        self._tokens = {uri: tokens[name] for name, uri in places.items()}
        self._states = {uri: states[name] for name, uri in places.items()}

    def begin(self) -> None:
        """The item is about to be worked on.

        Raises:
            TaskError: if the content of an input is another one than at plan time.
        """
        from rv_core.files.fingerprints import state_of

        for uri, planned in self._states.items():
            # Elsewhere the question costs a request: there the end of the item tells as well.
            if uris.is_local(uris.expand(uri)) and (state := state_of(uri)) != planned:
                self._expect_content(uri)
                self._states[uri] = state  # touched or copied: the content is the same

    def end(self) -> None:
        """The item is complete.

        Raises:
            TaskError: if an input was changed or replaced meanwhile.
        """
        from rv_core.files.fingerprints import state_of

        for uri, begun in self._states.items():
            state = state_of(uri)
            if state == begun:
                continue
            self._expect_content(uri)
            # A new mode, owner or hard link changes the last of a local file's times; its content was there all along.
            if state is None or not uris.is_local(uris.expand(uri)) or state[:2] != begun[:2]:
                raise _changed(uri, "was replaced while the task worked with it")

    def _expect_content(self, uri: str) -> None:
        from rv_core.files.fingerprints import fingerprint_many

        if fingerprint_many([uri])[uri].token != self._tokens[uri]:
            raise _changed(uri, "has changed since the run was planned")


def _changed(uri: str, what: str) -> TaskError:
    return TaskError(
        f"{uris.name_of(uri)} {what}",
        where=uri,
        why="the result would be kept as that of the content that was planned with",
        fix="run the same command again: it plans with what is there then",
    )
