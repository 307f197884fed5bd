"""What is to be done, and why: keys, manifests, selections, and the graph of jobs made of them.

A plan is the same for every runner. The decisions are functions of values; `planning` looks at the world for them.
"""
