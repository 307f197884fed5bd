"""The store of `s3://`: objects of Amazon S3, and of what speaks its protocol, through obstore."""

__version__ = "0.1.0"
