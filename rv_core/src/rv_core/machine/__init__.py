"""This machine: processes and their ends, cores, GPUs, and the folders of its user."""
