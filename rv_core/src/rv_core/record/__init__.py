"""What a run writes down under its root, and reading it again: layout, marker, events, logs.

It knows no runner and no config; nothing that it finds under a root is ever imported.
"""
