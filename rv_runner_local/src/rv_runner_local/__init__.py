"""The `local` runner: a plan becomes one Makefile, and GNU make starts its tasks on this machine."""

__version__ = "0.1.0"
