"""Chips on disk: how they are laid out, written and read."""
