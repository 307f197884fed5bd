"""Bytes by URI: stores, whole outputs, fingerprints, downloads, and what to say where a file fails."""
