"""The user's module: finding it, calling its function, and code that travels to other machines."""
