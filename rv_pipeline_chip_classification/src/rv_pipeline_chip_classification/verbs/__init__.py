"""`rv predict` and `rv demo`."""
