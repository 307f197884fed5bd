"""What is written of a predicted scene: vector files, rasters, and legends for them."""
