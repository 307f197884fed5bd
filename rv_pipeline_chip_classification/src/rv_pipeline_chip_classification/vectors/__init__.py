"""Vector files of any format as tables of geometries and properties, and their polygons in pixels of a scene."""
