"""Asks the store of a URI: which one that is, again where that may help, and what to say where it refuses.

Stores are declared by plugins (`rv_stores`), the core's own by `plugins.builtins`. None is imported before a URI asks for
it. With `RV_OFFLINE=1` every URI that would need a network is refused.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rv_core.errors import Finding, PluginError, StorageError
from rv_core.files.problems import MissingFileError, missing
from rv_core.files.stores import LocalStore, SignatureRefusedError, Store, StoreAccessError, retry_delays
from rv_core.files.uris import name_of, scheme_of

if TYPE_CHECKING:
    from rv_core.files.local import FileInfo
    from rv_core.plugins.declarations import StoreSpec

_Answer = TypeVar("_Answer")

_MAX_WORKERS = 32
_MAX_ERRORS = 8
_NO_NETWORK = frozenset({"memory"})
_NO_ACCESS = re.compile(r"\b40[13]\b|AccessDenied|Forbidden|[Uu]nauthor|[Cc]redential")
_stores: dict[str, Store] = {"file": LocalStore()}


def ask(action: str, uri: str, question: Callable[[Store], _Answer]) -> _Answer:
    """The store's answer; transient failures are asked again with growing pauses, for `RV_RETRY_S` seconds in all.

    Raises:
        MissingFileError: if a file that is to be read is not there.
        StorageError: if the store could not be asked, or refused.
    """
    store = store_for(uri)
    delays = retry_delays()
    while True:
        try:
            return question(store)
        except (StorageError, TypeError):  # explained already, or a mistake in the question
            raise
        except Exception as err:  # each plugin has its own errors
            delay = next(delays, None) if store.is_transient(err) else None
            if delay is None:
                raise explain(store, err, action, uri) from err
        time.sleep(delay)


def ask_many(question: Callable[[str], _Answer], uris: Sequence[str]) -> dict[str, _Answer]:
    """Asks about many URIs at the same time; those whose file is missing are left out.

    Raises:
        StorageError: if any store could not be asked, with a finding for each URI. After some failures the rest is
            not asked any more.
    """
    from concurrent.futures import ThreadPoolExecutor, as_completed

    answers: dict[str, _Answer] = {}
    errors: dict[str, StorageError] = {}
    pool = ThreadPoolExecutor(min(_MAX_WORKERS, len(uris)))
    try:
        futures = {pool.submit(question, uri): uri for uri in uris}
        for future in as_completed(futures):
            try:
                answers[futures[future]] = future.result()
            except MissingFileError:
                continue
            except StorageError as err:
                errors[futures[future]] = err
                if len(errors) >= _MAX_ERRORS:
                    break
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if errors:
        raise all_of(errors, num_not_asked=len(uris) - len(answers) - len(errors))
    return answers


def download_anew(store: Store, uri: str, path: str) -> FileInfo:
    """Stream a file to a path, in place of what an earlier try has left there."""
    Path(path).unlink(missing_ok=True)
    return store.download(uri, path)


def all_of(errors: Mapping[str, StorageError], *, num_not_asked: int = 0) -> StorageError:
    """One error for several URIs: the only one itself, else one with a finding for each.

    A signature that is refused for one file is refused for all: that is one finding.
    """
    first = next(iter(errors.values()))
    if len(errors) == 1:
        return first
    if all(isinstance(err, SignatureRefusedError) for err in errors.values()):
        block, more = first.block, len(errors) - 1 + num_not_asked
        return SignatureRefusedError(
            block.what, where=f"{block.where} and {more} more files", why=block.why, fix=block.fix
        )
    shown = list(errors.items())[:_MAX_ERRORS]
    num_not_asked += len(errors) - len(shown)
    findings = [Finding(uri, err.one_line()) for uri, err in shown]
    rest = f"; {num_not_asked} more were not asked or not found" if num_not_asked else ""
    return StorageError(f"{len(errors)} files could not be asked for{rest}", fix=first.block.fix, findings=findings)


def require_online(uri: str) -> None:
    """Refuses a URI that needs a network when `RV_OFFLINE` is set.

    Raises:
        StorageError: naming the URI.
    """
    if os.environ.get("RV_OFFLINE", "0") not in ("", "0") and scheme_of(uri) not in _NO_NETWORK:
        raise StorageError(
            "this URI needs the network, and RV_OFFLINE is set",
            where=uri,
            fix="use a local copy, or unset RV_OFFLINE",
        )


def store_for(uri: str) -> Store:
    """The store that serves a URI, variables filled in.

    Raises:
        StorageError: if no installed package serves its scheme, its plugin does not work, or `RV_OFFLINE` forbids it.
    """
    scheme = scheme_of(uri) or "file"
    if scheme != "file":
        require_online(uri)
    if scheme not in _stores:
        # Of two threads that make one at once, both use that of the first.
        _stores.setdefault(scheme, _new_store(scheme, uri))
    return _stores[scheme]


def _new_store(scheme: str, uri: str) -> Store:
    from rv_core.plugins.targets import resolve

    try:
        spec = _declared(scheme)
        cls = resolve(spec.target, declared_by=f"the store of {scheme}://")
    except PluginError as err:
        raise StoreAccessError(err.block.what, where=uri, why=err.block.why, fix=err.block.fix) from err
    try:
        store: Store = cls(scheme)
    except (ImportError, ValueError) as err:
        raise _unserved(scheme, uri, err) from err
    return store


def _declared(scheme: str) -> StoreSpec:
    from rv_core.plugins import builtins, installed

    # A built-in scheme is never replaced.
    own = {spec.scheme: spec for spec in builtins.rv_stores()}
    return own.get(scheme) or installed.plugin_manager().store_spec(scheme)


def _unserved(scheme: str, uri: str, err: Exception) -> StoreAccessError:
    from rv_core.plugins.installed import plugin_manager

    plugins = plugin_manager()
    if scheme in plugins.store_specs():
        owner = plugins.owner_of("store", scheme)
        what = f"the store of {scheme}:// cannot be used: {owner.label}"
        return StoreAccessError(what, where=uri, why=str(err), fix=f"rv plugins show {owner.name}")
    block = plugins.missing("store", scheme, plugins.store_specs()).block
    fix = block.fix or "correct the URI, or pip install what serves it: a plugin of rv or of fsspec (gcsfs, adlfs, …)"
    why = "; ".join(filter(None, (block.why, str(err))))
    return StoreAccessError(f"no installed package serves {scheme}://", where=uri, why=why, fix=fix)


def explain(store: Store, err: Exception, action: str, uri: str) -> StorageError:
    """The `StorageError` for an error of a store's library: in the store's words, else in those of its type."""
    what = f"cannot {action} {name_of(uri) or uri!r}"
    if own := store.explain(err, what, uri):
        return own
    if isinstance(err, FileNotFoundError) and action == "read":
        return missing(uri)
    why = " ".join(str(err).split())[:500] or type(err).__name__
    # A path may hold a number or word that looks like an answer.
    if isinstance(err, PermissionError) or _NO_ACCESS.search(why.replace(uri.partition("://")[2], "")):
        return StoreAccessError(what, where=uri, why=why, fix="check the credentials and the rights on this path")
    is_unreachable = isinstance(err, OSError) and not isinstance(err, FileNotFoundError)
    fix = "check the network and the address, then run the same command again" if is_unreachable else ""
    return StorageError(what, where=uri, why=why, fix=fix)
