"""`rv areas`: the accuracy of a map and the areas of its classes, with intervals from a probability sample."""
