"""Scenes from what lists images: tables of files, and catalogues."""
