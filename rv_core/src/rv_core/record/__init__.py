"""What a run writes down under its root, and reading it again: layout, marker, events, logs."""
