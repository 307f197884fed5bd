"""Addresses of web servers as plugins sign them (`rv_sign_uri`): made when a file is opened, and kept nowhere."""

from __future__ import annotations

from typing import NamedTuple

from rv_core.errors import PluginError
from rv_core.redaction import register_passing_secret

#: Shorter parts of a query are dates and versions.
_MIN_PART_CHARACTERS = 24


class SignedUri(NamedTuple):
    """How a file is asked for.

    Args:
        uri: with its signature; the address itself where nobody signs it.
        signer: the plugin that signed it, as messages name it; "" for none.
    """

    uri: str
    signer: str


def signed(uri: str) -> SignedUri:
    """The address of a file of a web server as the first plugin that knows it signs it now.

    Args:
        uri: variables filled in.

    Raises:
        PluginError: if the hook of a plugin raises, or what it returns is not the same address with another query.
    """
    from rv_core.plugins.installed import plugin_manager  # what opens local files alone needs none of it
    from rv_core.plugins.loading import cause_of

    for record, sign in plugin_manager().signers:
        try:
            answer = sign(uri=uri)
        except Exception as error:
            raise _failed(record.label, record.name, uri, f"it raised {cause_of(error)}") from error
        if answer is None:
            continue
        if not isinstance(answer, str) or _file_of(answer) != _file_of(uri):
            why = f"it returned {'another address' if isinstance(answer, str) else type(answer).__name__}"
            raise _failed(record.label, record.name, uri, f"{why}; it may add to the query of an address")
        if answer != uri:
            _hide(answer, uri)
            return SignedUri(answer, record.label)
    return SignedUri(uri, "")


def _file_of(uri: str) -> str:
    return uri.partition("?")[0]


def _hide(answer: str, uri: str) -> None:
    """Have nothing print a signature, whole or the long parts of it."""
    query = answer.partition("?")[2]
    register_passing_secret(query)
    for part in query.split("&"):
        value = part.partition("=")[2]
        if len(value) >= _MIN_PART_CHARACTERS and value not in uri:
            register_passing_secret(value)


def _failed(label: str, name: str, uri: str, why: str) -> PluginError:
    what = f"rv_sign_uri of {label} could not sign the address of a file"
    return PluginError(what, where=_file_of(uri), why=why, fix=f"rv plugins show {name}")
