"""What pytest collects for `--rv-runner NAME` and `--rv-store SCHEME`."""
