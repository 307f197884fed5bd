"""Weights that were trained elsewhere: their cards, where their files are kept, and how they reach a new model."""
