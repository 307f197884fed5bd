"""Which files a raster consists of, and what GDAL opens for a URI. Names and XML alone: no GDAL is imported."""
