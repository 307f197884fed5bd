"""Runners that are wrong on purpose, one fault each, and a sound one: the conformance kit is tested with them."""
