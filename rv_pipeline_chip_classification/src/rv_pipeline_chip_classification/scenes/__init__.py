"""Images: their grid, the windows of it, and their pixels, read where they lie."""
