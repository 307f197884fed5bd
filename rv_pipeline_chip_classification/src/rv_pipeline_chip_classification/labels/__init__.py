"""What is known about scenes: areas, polygons and class rasters, and the class of a window."""
