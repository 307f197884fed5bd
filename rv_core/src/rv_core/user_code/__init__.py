"""The user's module: finding it, calling its function, and code that travels to other machines.

It ends with config objects, and knows nothing of plans and runs.
"""
