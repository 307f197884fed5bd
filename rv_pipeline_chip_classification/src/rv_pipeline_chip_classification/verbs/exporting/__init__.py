"""`rv export`: the maps of all scenes as one layer of cells or polygons, or as one mosaic."""
