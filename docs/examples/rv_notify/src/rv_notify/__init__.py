"""Posts a message to a URL when a run ends or a task fails."""
