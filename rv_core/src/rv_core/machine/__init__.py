"""This machine: processes and their ends, cores, GPUs, and the folders of its user.

It knows neither plans nor records: what it starts and stops is handed to it.
"""
