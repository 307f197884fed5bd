"""One task: the process that a runner starts, from its command line to its last event.

It knows the record of its run, and nothing of the runner that started it: every start of a task pays for what it imports.
"""
