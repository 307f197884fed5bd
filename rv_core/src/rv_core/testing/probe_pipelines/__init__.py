"""The small pipelines that the rules of the conformance kit run. They need no more than the core."""
