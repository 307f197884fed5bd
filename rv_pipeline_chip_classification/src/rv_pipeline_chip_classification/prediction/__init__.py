"""Classes and scores for the cells of an image, and the files that hold them."""
