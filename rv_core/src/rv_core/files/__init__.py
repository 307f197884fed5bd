"""Bytes by URI: stores, whole outputs, fingerprints, downloads, and what to say where a file fails.

It knows no cloud, which is a plugin's, and not what the bytes mean.
"""
