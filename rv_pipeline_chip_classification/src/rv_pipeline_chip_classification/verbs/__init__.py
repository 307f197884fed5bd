"""`rv predict`, `rv demo` and the pictures that they draw."""
