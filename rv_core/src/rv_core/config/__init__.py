"""Config objects: classes, the types of their fields, checks, overrides and the saved file.

It knows no pipeline, and no library but within `validation`: a config is a value.
"""
