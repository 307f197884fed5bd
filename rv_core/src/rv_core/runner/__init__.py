"""The contract of runners, what one is told and answers, and the runner that needs nothing.

What is done is not a runner's to say: that is read from manifests.
"""
