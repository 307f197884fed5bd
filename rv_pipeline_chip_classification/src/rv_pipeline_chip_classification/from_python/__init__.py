"""What scripts and notebooks read: the results of a root as records and frames, a bundle that predicts."""
