"""What an author of a pipeline writes against: commands, items, and the config as a command sees it."""
