"""Scenes and images that are too large for one item: how many parts they have, and which pixels are whose."""
