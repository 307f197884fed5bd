"""The formats of vector files that maps are written in: what their names end with, and who writes them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from rv_core.errors import Finding

#: Format -> end of the name of a file.
ENDINGS = {"geojson": "geojson", "geojsonseq": "geojsonl", "gpkg": "gpkg", "fgb": "fgb", "parquet": "parquet"}
#: Format -> modules of the extra `vector` that write it.
MODULES = {"gpkg": ("pyarrow", "pyogrio"), "fgb": ("pyarrow", "pyogrio"), "parquet": ("pyarrow",)}
INSTALL = "pip install 'rv-pipeline-chip-classification[vector]', here and where tasks run"


def check_vector(where: str, kind: str) -> Iterator[Finding]:
    """Whether a format can be written here; a warning, as tasks may run elsewhere.

    Args:
        where: the field that names it.
        kind: the format.
    """
    if missing := missing_modules(kind):
        yield Finding(
            where,
            f"{kind!r} is written with {' and '.join(missing)}, which cannot be imported here",
            INSTALL,
            "warning",
        )


def missing_modules(kind: str) -> list[str]:
    """The modules that a format needs and that are not installed here."""
    return [name for name in MODULES.get(kind, ()) if find_spec(name) is None]
