"""What the user and the machine set: sections, their files and variables, and where a value came from."""
