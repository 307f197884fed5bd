"""Files that people look at: predicted cells as GeoJSON and GeoTIFF, and quicklooks."""
