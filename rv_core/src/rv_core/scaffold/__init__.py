"""Writes the package of a new plugin: what `rv plugins new` does.

The templates are the files below `shared/` and below the folder of each kind, rendered with `string.Template`; a name
that ends in `.tmpl` loses that, `PACKAGE` in a path becomes the package's name, and `dot-` at its start a dot.
"""
