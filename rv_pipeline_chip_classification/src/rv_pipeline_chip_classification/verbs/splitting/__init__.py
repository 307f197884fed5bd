"""`rv split`: subsets of scenes in spatial blocks, from the files that a table names."""
