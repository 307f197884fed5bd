"""Scores of cells that are made of those around them: overlapping cells averaged, neighbourhoods smoothed."""
