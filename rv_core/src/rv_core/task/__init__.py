"""One task: the process that a runner starts, from its command line to its last event."""
