"""`rv run` and `rv check`: from what was typed to a run that has ended."""
