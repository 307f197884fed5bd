"""The command line: one module per verb, none of which is imported before it is chosen."""
