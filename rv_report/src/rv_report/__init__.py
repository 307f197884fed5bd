"""Reports: a page about a run that opens offline, and what differs between runs."""

__version__ = "0.1.0"
