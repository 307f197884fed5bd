"""What rules ask a fresh process: scripts that are run with `python -m`."""
