"""A model bundle applied to images of the user: which channels, which names, what fits, the same for every way in."""
