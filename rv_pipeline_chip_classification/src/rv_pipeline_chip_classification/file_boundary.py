"""The boundary around the work on one file or scene: whatever a library raises there is said of that file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rv_core.errors import DataError, RvError


@contextmanager
def file_boundary(what: str, *, where: str | Callable[[], str]) -> Iterator[None]:
    """Turn what libraries raise into an error that names the file; what is explained already passes.

    GDAL, GEOS, numpy and torch have errors of many kinds, and a file decides which of them comes.

    Args:
        what: what cannot be done.
        where: the file, for a scene also its place in the config; or what finds it when it is needed.

    Raises:
        DataError: with the library's words; the traceback is kept (`--traceback`).
    """
    try:
        yield
    except RvError:
        raise
    except MemoryError as err:
        why = f"it asks for more memory than there is ({str(err)[:200] or 'no details'})"
        raise DataError(what, where=_place(where), why=why, fix="look at the sizes in the file's header") from err
    except Exception as err:  # every library has its own
        if isinstance(err, OSError) and err.errno is not None:
            raise  # a full disk is not the file's fault, and the core has words for it
        why = f"{type(err).__name__}: {str(err)[:500]}"
        raise DataError(
            what, where=_place(where), why=why, fix="run it again with --traceback to see where it began"
        ) from err


def _place(where: str | Callable[[], str]) -> str:
    return where if isinstance(where, str) else where()
