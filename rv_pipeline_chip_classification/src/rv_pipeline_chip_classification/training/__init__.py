"""How a network learns: batches, steps, checkpoints, and what its answers are worth."""
