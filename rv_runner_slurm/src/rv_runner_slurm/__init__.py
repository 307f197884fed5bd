"""The `slurm` runner: a plan becomes jobs of a Slurm cluster, which runs them on nodes that share a file system."""

__version__ = "0.1.0"
