"""What differs between runs: config, data, code, versions, and metrics with intervals."""
