"""The stores of `s3://`, `gs://` and `az://`: objects of Amazon, Google and Azure, through obstore."""

__version__ = "0.1.0"
