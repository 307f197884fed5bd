"""The `batch` runner: a plan becomes jobs of AWS Batch, which runs them on machines that come and go with the load."""

__version__ = "0.1.0"
