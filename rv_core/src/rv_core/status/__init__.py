"""The state of a run, worked out from what is written down, and showing it.

It reads JSON alone: no module, config or pipeline of a user is imported to look at a run.
"""
