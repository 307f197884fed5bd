"""The version of the core, where everything inside reads it: the public names lie above all that uses it."""

__version__ = "0.1.0"
