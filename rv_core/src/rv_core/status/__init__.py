"""The state of a run, worked out from what is written down, and showing it."""
