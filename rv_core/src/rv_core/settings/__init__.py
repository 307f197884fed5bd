"""What the user and the machine set: sections, their files and variables, and where a value came from.

They belong to no experiment, and enter neither a saved config nor a key.
"""
