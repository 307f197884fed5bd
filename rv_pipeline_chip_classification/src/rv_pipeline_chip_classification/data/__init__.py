"""Pixels, windows and labels: from scenes to chips."""
