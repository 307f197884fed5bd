"""What an author of a pipeline writes against: commands, items, and the config as a command sees it.

It knows neither plans nor runs: a command is called with its items, whatever runs it.
"""
