"""Config objects: classes, the types of their fields, checks, overrides and the saved file."""
