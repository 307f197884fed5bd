"""Samples and what they say: subsets in spatial blocks, areas with their intervals. Arithmetic on arrays alone."""
