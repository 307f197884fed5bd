"""The version of the core, where everything inside reads it: the public names lie above all that uses it; and Python's."""

import sys

__version__ = "0.1.0"


def python_version() -> str:
    """The version of Python, for instance `3.11.7`; with the implementation's name where that is not CPython."""
    version = ".".join(map(str, sys.version_info[:3]))
    return version if sys.implementation.name == "cpython" else f"{sys.implementation.name} {version}"
