"""What the commands of the pipeline do, as plain functions of values."""
