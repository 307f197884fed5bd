"""`rv demo`: an example experiment, written, run and shown."""
